//! Counters of the work on one message, for its log line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync;

#[derive(Debug, Default)]
pub struct Meter {
    pub(crate) calls: Counter,
    pub(crate) pages: Counter,
    pub(crate) nulls: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) malformed: Counter,
    pub(crate) undated: Counter,
    pub(crate) throttled_ms: Counter,
    pub(crate) extraction_ms: Stopwatch,
    pub(crate) load_ms: Stopwatch,
}

/// A counter that several tasks increment.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn add_since(&self, start: Instant) {
        self.add(millis(start.elapsed()));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Measures a duration that can be read while it still grows, so that a canceled message reports it, too.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(Mutex<(Duration, Option<Instant>)>);

impl Stopwatch {
    /// Measures until the guard is dropped.
    pub(crate) fn timed(&self) -> Timed<'_> {
        self.lock().1 = Some(Instant::now());
        Timed(self)
    }

    /// Returns the milliseconds measured so far.
    pub(crate) fn get(&self) -> u64 {
        let (total, running_since) = *self.lock();
        millis(total + running_since.map(|since| since.elapsed()).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, (Duration, Option<Instant>)> {
        sync::lock(&self.0)
    }
}

/// Stops its stopwatch when dropped.
pub(crate) struct Timed<'a>(&'a Stopwatch);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let mut watch = self.0.lock();
        if let Some(since) = watch.1.take() {
            watch.0 += since.elapsed();
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
