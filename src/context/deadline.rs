//! When a message must be answered, and until when it may wait to start.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::meter::millis;
use crate::failure::Failure;

/// The times of one message.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    received: Instant,
    start_by: Instant,
    answer_by: Instant,
}

impl Deadline {
    /// Returns the deadline of a message received now. It must be answered within `time`; of that, it may
    /// wait `max_wait` to start.
    pub fn new(time: Duration, max_wait: Duration) -> Self {
        let received = Instant::now();
        Self { received, start_by: received + max_wait, answer_by: received + time }
    }

    /// Returns when the message must be answered.
    pub fn answer_by(&self) -> Instant {
        self.answer_by
    }

    /// Waits for something that the message needs before it can start. Fails if the message would then
    /// start too late to finish in time; `cause` says what it waited for.
    pub(crate) async fn wait_to_start<T>(
        &self,
        wait: impl Future<Output = T>,
        cause: impl FnOnce() -> String,
    ) -> Result<T, Failure> {
        timeout_at(self.start_by, wait).await.map_err(|_| self.overloaded(&cause()))
    }

    /// Fails if it is too late to read Spotify because BigQuery took more than half of the time.
    pub(crate) fn check_time_left(&self) -> Result<(), Failure> {
        let half = self.received + (self.answer_by - self.received) / 2;
        if Instant::now() < half {
            return Ok(());
        }
        Err(self.overloaded("BigQuery's answers and an earlier load job took too long"))
    }

    /// Returns the milliseconds since the message was received.
    pub(crate) fn age_ms(&self) -> u64 {
        millis(self.received.elapsed())
    }

    fn overloaded(&self, cause: &str) -> Failure {
        let age = self.received.elapsed().as_secs();
        Failure::Overloaded(format!(
            "after {age} s there is not enough time left to start: {cause}"
        ))
    }
}
