//! Admission: a message starts early enough to finish, or is handed back without a call to Spotify.
//!
//! Messages for one table take turns, and a bounded number of messages are at work at once. A message
//! waits for both, and for a reading or a search that another message has in progress, for
//! [`max_wait`] in all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::failure::Failure;
use crate::keyed::Keyed;
use crate::meter::Meter;

/// Returns for how long a message may wait to start: a quarter of its deadline.
///
/// What is at work needs the rest. With the default deadline of 540 s, a message that starts last has 405 s left: enough for a
/// listing in which one call uses all its attempts (five of 20 s, and 8 s of pauses), an upload that uses
/// its whole timeout (180 s), and a load job that is pending for two minutes. Waiting longer would not
/// load more: under overload, a place that becomes free is taken at once as long as any message waits.
pub fn max_wait(deadline: Duration) -> Duration {
    deadline / 4
}

/// The right to work on a table.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Decides when messages start.
#[derive(Debug)]
pub(super) struct Admission {
    turns: Keyed<()>,
    places: Semaphore,
    concurrent_messages: usize,
    /// By table, the load job whose end a turn waits for though its message is gone.
    unfinished: Mutex<HashMap<String, String>>,
}

impl Admission {
    pub(super) fn new(concurrent_messages: usize) -> Self {
        Self {
            turns: Keyed::default(),
            places: Semaphore::new(concurrent_messages),
            concurrent_messages,
            unfinished: Mutex::default(),
        }
    }

    /// Waits for the table's turn, in order of arrival.
    pub(super) async fn turn(&self, table: &str, meter: &Meter) -> Result<Turn, Failure> {
        let turn = self.turns.slot(table).lock_owned();
        let turn = meter.wait_to_start(turn, || match self.unfinished(table) {
            Some(job_id) => format!("the load job {job_id} into {table} has not ended"),
            None => format!("other messages for {table} are at work"),
        });
        turn.await
    }

    /// Waits for one of the places for messages at work, in order of arrival.
    pub(super) async fn place(&self, meter: &Meter) -> Result<SemaphorePermit<'_>, Failure> {
        let place = meter.wait_to_start(self.places.acquire(), || {
            format!("{} other messages are at work", self.concurrent_messages)
        });
        place.await?.map_err(|_| Failure::ShuttingDown)
    }

    /// Records the load job that the table's turn waits for, if any.
    pub(super) fn wait_for_job(&self, table: &str, job_id: Option<&str>) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        match job_id {
            Some(job_id) => unfinished.insert(table.to_owned(), job_id.to_owned()),
            None => unfinished.remove(table),
        };
    }

    fn unfinished(&self, table: &str) -> Option<String> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(540);

    fn meter() -> Meter {
        Meter::new(DEADLINE, max_wait(DEADLINE))
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_turn_and_place_for_a_quarter_of_its_deadline_in_all() {
        let admission = Admission::new(1);
        let first = meter();
        let turn = admission.turn("a", &first).await.unwrap();
        let place = admission.place(&first).await.unwrap();

        let start = Instant::now();
        let second = meter();
        let release = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(turn);
        };
        let (_turn, ()) = tokio::join!(admission.turn("a", &second), release);
        let overloaded = admission.place(&second).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(135));
        assert!(overloaded.to_string().contains("1 other messages are at work"), "{overloaded}");
        assert_eq!(overloaded.reason(), "overloaded");

        // What needs no waiting is granted however late it is.
        drop(place);
        tokio::time::advance(DEADLINE).await;
        assert!(admission.place(&second).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_job_that_holds_the_turn_is_named() {
        let admission = Admission::new(1);
        let _turn = admission.turn("a", &meter()).await.unwrap();
        admission.wait_for_job("a", Some("j"));
        let words = admission.turn("a", &meter()).await.unwrap_err().to_string();
        assert!(words.contains("the load job j into a has not ended"), "{words}");
        admission.wait_for_job("a", None);
        let words = admission.turn("a", &meter()).await.unwrap_err().to_string();
        assert!(words.contains("other messages for a are at work"), "{words}");
    }
}
