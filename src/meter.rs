//! What one message took: counted while it is worked on, told in its outcome line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// One message at work: when its time is up, and what it took so far.
#[derive(Debug)]
pub struct Meter {
    /// When the message must be answered.
    pub deadline: Instant,
    received: Instant,
    pub(crate) calls: Counter,
    pub(crate) pages: Counter,
    pub(crate) nulls: Counter,
    pub(crate) doubles: Counter,
    pub(crate) malformed: Counter,
    pub(crate) undated: Counter,
    pub(crate) throttled_ms: Counter,
    pub(crate) extraction_ms: Counter,
    pub(crate) load_ms: Counter,
    /// Items that the listing at work says it has, and items read of it.
    pub(crate) listed: Counter,
    pub(crate) read: Counter,
}

impl Meter {
    /// A message that has `time` from now on.
    pub fn new(time: Duration) -> Self {
        let received = Instant::now();
        Self {
            deadline: received + time,
            received,
            calls: Counter::default(),
            pages: Counter::default(),
            nulls: Counter::default(),
            doubles: Counter::default(),
            malformed: Counter::default(),
            undated: Counter::default(),
            throttled_ms: Counter::default(),
            extraction_ms: Counter::default(),
            load_ms: Counter::default(),
            listed: Counter::default(),
            read: Counter::default(),
        }
    }

    /// Milliseconds since the message was received.
    pub(crate) fn age_ms(&self) -> u64 {
        u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How far the message came, for the one whose time is up.
    pub(crate) fn progress(&self) -> String {
        match (self.listed.get(), self.read.get()) {
            (0, _) if self.calls.get() == 0 => {
                "it waited for its turn, behind other messages or a cooldown".to_owned()
            }
            (0, _) => {
                format!("{} pages were read in {} calls", self.pages.get(), self.calls.get())
            }
            (listed, read) if read < listed => {
                format!("{read} of {listed} episodes were read in {} calls", self.calls.get())
            }
            (listed, _) => format!("all {listed} episodes were read, the load had not ended"),
        }
    }
}

/// A number that several tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn add_since(&self, start: Instant) {
        self.add(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_made_no_call_waited() {
        let meter = Meter::new(Duration::ZERO);
        assert!(meter.progress().contains("waited for its turn"));
        meter.calls.add(2);
        assert_eq!(meter.progress(), "0 pages were read in 2 calls");
    }
}
