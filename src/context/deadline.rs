//! When a message must be answered, and until when it may wait to start.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::meter::millis;
use crate::failure::Failure;

/// Returns the longest time that a message may wait to start: a quarter of its deadline.
///
/// The rest is for its work. With the default deadline of 540 s, a message that starts last has 405 s
/// left: enough for a listing in which one call uses all its attempts (five of 20 s, and 8 s of pauses),
/// an upload that uses its whole timeout (180 s), and a load job that is pending for almost two minutes.
/// A longer wait would not load more: a free slot is taken at once as long as any message waits.
pub fn max_wait(deadline: Duration) -> Duration {
    deadline / 4
}

/// The deadlines of one message.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    received: Instant,
    start_by: Instant,
    /// Half of the time: a message that started may still have to look up earlier load jobs.
    read_by: Instant,
    answer_by: Instant,
}

impl Deadline {
    pub(super) fn new(time: Duration) -> Self {
        let received = Instant::now();
        Self {
            received,
            start_by: received + max_wait(time),
            read_by: received + time / 2,
            answer_by: received + time,
        }
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

    /// Fails if it is too late to read Spotify, because BigQuery took too long before that.
    pub(crate) fn check_time_left(&self) -> Result<(), Failure> {
        if Instant::now() < self.read_by {
            return Ok(());
        }
        Err(self.overloaded("BigQuery's responses or an earlier load job took too long"))
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
