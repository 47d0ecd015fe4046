//! What one message took: counted while it is worked on, told in its outcome line.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;
use crate::names::ChosenShow;
use crate::text;

/// One message at work: when its time is up, and what it took so far.
#[derive(Debug)]
pub struct Meter {
    /// When the message must be answered.
    pub deadline: Instant,
    /// Until when the message may wait to start.
    start_by: Instant,
    gone: AtomicBool,
    received: Instant,
    pub(crate) calls: Counter,
    pub(crate) pages: Counter,
    pub(crate) nulls: Counter,
    pub(crate) doubles: Counter,
    pub(crate) malformed: Counter,
    pub(crate) undated: Counter,
    pub(crate) throttled_ms: Counter,
    pub(crate) extraction_ms: Counter,
    pub(crate) load_ms: Stopwatch,
    /// Items that the listing at work says it has, and items read of it.
    pub(crate) listed: Counter,
    pub(crate) read: Counter,
    /// The show whose episodes the message wants, once it is known.
    pub(crate) show: OnceLock<ChosenShow>,
    stage: Mutex<(Stage, Option<FollowedJob>)>,
}

/// What a message is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for its table or for a place among the messages at work.
    Waiting,
    /// Looking up its earlier loads.
    LookingUp,
    /// Reading Spotify.
    Reading,
    /// Loading the rows.
    Loading,
    /// Publishing the event of a load that is done.
    Telling,
}

/// A load job that a message waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowedJob {
    pub(crate) id: String,
    /// As BigQuery spells it.
    pub(crate) state: String,
    /// When the state began.
    pub(crate) since: SystemTime,
}

impl Meter {
    /// A message that has `time` from now on, of which it may wait `max_wait` to start.
    pub fn new(time: Duration, max_wait: Duration) -> Self {
        let received = Instant::now();
        Self {
            deadline: received + time,
            start_by: received + max_wait,
            gone: AtomicBool::new(false),
            received,
            calls: Counter::default(),
            pages: Counter::default(),
            nulls: Counter::default(),
            doubles: Counter::default(),
            malformed: Counter::default(),
            undated: Counter::default(),
            throttled_ms: Counter::default(),
            extraction_ms: Counter::default(),
            load_ms: Stopwatch::default(),
            listed: Counter::default(),
            read: Counter::default(),
            show: OnceLock::new(),
            stage: Mutex::new((Stage::Waiting, None)),
        }
    }

    /// Waits for what the message needs before it can start. Fails if it would start too late to finish in
    /// time; `cause` then says what it waited for.
    pub(crate) async fn wait_to_start<T>(
        &self,
        wait: impl Future<Output = T>,
        cause: impl FnOnce() -> String,
    ) -> Result<T, Failure> {
        timeout_at(self.start_by, wait).await.map_err(|_| self.overloaded(&cause()))
    }

    /// Fails if it is too late to read Spotify, since BigQuery took too long before that.
    pub(crate) fn check_time_left(&self) -> Result<(), Failure> {
        let half = self.received + (self.deadline - self.received) / 2;
        if Instant::now() < half {
            return Ok(());
        }
        Err(self.overloaded("BigQuery's answers and an earlier load job took too long"))
    }

    fn overloaded(&self, cause: &str) -> Failure {
        let age = self.received.elapsed().as_secs();
        Failure::Overloaded(format!(
            "after {age} s there is not enough time left to start: {cause}"
        ))
    }

    /// Records that the message is given up or answered: its work makes no further change.
    pub(crate) fn give_up(&self) {
        self.gone.store(true, Relaxed);
    }

    /// Returns whether the message is given up or answered.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Records what the message is doing now.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).0 = stage;
    }

    /// Records the load job that the message waits for, if any.
    pub(crate) fn follow(&self, job: Option<FollowedJob>) {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).1 = job;
    }

    /// Returns the id of the load job that the message waits for.
    pub(crate) fn followed(&self) -> Option<String> {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.1.as_ref().map(|job| job.id.clone())
    }

    /// Milliseconds since the message was received.
    pub(crate) fn age_ms(&self) -> u64 {
        u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns how far the message came, for one whose time is up. It states facts and guesses no
    /// cause.
    pub(crate) fn progress(&self) -> String {
        let (stage, job) = self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(FollowedJob { id, state, since }) = job {
            return format!("the load job {id} is {state} since {}", text::moment(since));
        }
        let (pages, calls) = (self.pages.get(), self.calls.get());
        match (stage, self.listed.get()) {
            (Stage::Waiting, _) => "it waited for its turn, behind other messages".to_owned(),
            (Stage::LookingUp, _) => "its earlier loads were being looked up".to_owned(),
            (Stage::Reading, 0) if calls == 0 => "no call to Spotify was made".to_owned(),
            (Stage::Reading, 0) => format!("{pages} pages were read in {calls} calls"),
            (Stage::Reading, listed) => {
                format!("{} of {listed} episodes were read in {calls} calls", self.read.get())
            }
            (Stage::Loading, _) => {
                "Spotify was read, BigQuery had not answered to the load job".to_owned()
            }
            (Stage::Telling, _) => {
                "the table is loaded, Pub/Sub had not answered to its event".to_owned()
            }
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

/// The time that one thing took so far. It is read while it runs if its message is given up.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(Mutex<(Duration, Option<Instant>)>);

impl Stopwatch {
    /// Runs until the guard is dropped.
    pub(crate) fn timed(&self) -> Timed<'_> {
        self.lock().1 = Some(Instant::now());
        Timed(self)
    }

    /// Returns the milliseconds so far.
    pub(crate) fn get(&self) -> u64 {
        let (took, since) = *self.lock();
        let took = took + since.map(|since| since.elapsed()).unwrap_or_default();
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, (Duration, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops its watch.
pub(crate) struct Timed<'a>(&'a Stopwatch);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let mut watch = self.0.lock();
        if let Some(since) = watch.1.take() {
            watch.0 += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_what_was_seen() {
        let meter = Meter::new(Duration::ZERO, Duration::ZERO);
        assert!(meter.progress().contains("waited for its turn"));
        meter.enter(Stage::Reading);
        assert_eq!(meter.progress(), "no call to Spotify was made");
        meter.calls.add(2);
        assert_eq!(meter.progress(), "0 pages were read in 2 calls");
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123);
        let job = FollowedJob { id: "j".to_owned(), state: "PENDING".to_owned(), since };
        meter.follow(Some(job));
        assert_eq!(meter.progress(), "the load job j is PENDING since 2025-11-24T16:00:00Z");
        meter.follow(None);
        assert_eq!(meter.progress(), "0 pages were read in 2 calls");
    }
}
