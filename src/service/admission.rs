//! Admission: a message starts early enough to finish, or is handed back without a call to Spotify.
//!
//! Messages for one table take turns, and a bounded number of messages are at work at once. A message
//! waits for both, and for a reading or a search that another message has in progress, for
//! [`max_wait`] in all.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::context::Context;
use crate::failure::Failure;
use crate::keyed::Keyed;
use crate::warehouse::Load;

/// Returns for how long a message may wait to start: a quarter of its deadline.
///
/// What is at work needs the rest. With the default deadline of 540 s, a message that starts last has
/// 405 s left: enough for a listing in which one call uses all its attempts (five of 20 s, and 8 s of
/// pauses), an upload that uses its whole timeout (180 s), and a load job that is pending for almost two
/// minutes. A longer wait would not load more: a place that becomes free is taken at once as long as
/// any message waits.
pub fn max_wait(deadline: Duration) -> Duration {
    deadline / 4
}

/// The right to work on a table. It ends when all its holders have dropped it.
pub(super) type Turn = Arc<OwnedMutexGuard<()>>;

/// A load job whose message is gone. It keeps its table's turn until it ends.
#[derive(Debug)]
struct Unfinished {
    job_id: String,
    turn: Turn,
}

/// Decides when messages start.
#[derive(Debug)]
pub(super) struct Admission {
    turns: Keyed<()>,
    places: Semaphore,
    concurrent_messages: usize,
    /// By table.
    unfinished: Mutex<HashMap<String, Unfinished>>,
    /// Tells waiting messages that a load job has become unfinished: it may be their own.
    kept: Notify,
}

impl Admission {
    pub(super) fn new(concurrent_messages: usize) -> Self {
        Self {
            turns: Keyed::default(),
            places: Semaphore::new(concurrent_messages),
            concurrent_messages,
            unfinished: Mutex::default(),
            kept: Notify::new(),
        }
    }

    /// Waits for the table's turn, in order of arrival. A message whose own load job has the turn shares
    /// it, to wait for the job's end.
    pub(super) async fn turn(&self, load: &Load<'_>, context: &Context) -> Result<Turn, Failure> {
        let table = &load.job.table;
        let own = |unfinished: &Unfinished| {
            let own = load.has_job(&unfinished.job_id);
            own.then(|| Arc::clone(&unfinished.turn))
        };
        let turn = async {
            let mut lock = pin!(self.turns.slot(table).lock_owned());
            loop {
                let kept = self.kept.notified();
                if let Some(turn) = self.unfinished().get(table).and_then(own) {
                    return turn;
                }
                tokio::select! {
                    turn = &mut lock => return Arc::new(turn),
                    () = kept => {}
                }
            }
        };
        let turn = context.deadline.wait_to_start(turn, || match self.unfinished().get(table) {
            Some(Unfinished { job_id, .. }) => {
                format!("the load job {job_id} into {table} has not ended")
            }
            None => format!("other messages for {table} are at work"),
        });
        turn.await
    }

    /// Keeps the turn for a load job whose message is gone. Returns whether the caller must follow the job
    /// and report its end.
    pub(super) fn keep_for(&self, table: &str, job_id: &str, turn: &Turn) -> bool {
        let unfinished = Unfinished { job_id: job_id.to_owned(), turn: Arc::clone(turn) };
        let kept = self.unfinished().insert(table.to_owned(), unfinished);
        self.kept.notify_waiters();
        kept.is_none_or(|kept| kept.job_id != job_id)
    }

    /// Ends the turn of a load job.
    pub(super) fn ended(&self, table: &str, job_id: &str) {
        let mut unfinished = self.unfinished();
        if unfinished.get(table).is_some_and(|unfinished| unfinished.job_id == job_id) {
            unfinished.remove(table);
        }
    }

    fn unfinished(&self) -> MutexGuard<'_, HashMap<String, Unfinished>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one of the places for messages at work, in order of arrival.
    pub(super) async fn place(&self, context: &Context) -> Result<SemaphorePermit<'_>, Failure> {
        let place = context.deadline.wait_to_start(self.places.acquire(), || {
            let places = self.concurrent_messages;
            format!("as many messages are at work as MAX_CONCURRENT_MESSAGES allows ({places})")
        });
        place.await?.map_err(|_| Failure::ShuttingDown)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::context::Deadline;
    use crate::job::Job;
    use crate::names::{Kind, Term};

    const DEADLINE: Duration = Duration::from_secs(540);

    fn context() -> Context {
        Context::new(Deadline::new(DEADLINE, max_wait(DEADLINE)))
    }

    fn job() -> Job {
        let term = Term::parse("x").unwrap();
        let table = "a".to_owned();
        Job { kind: Kind::Podcasts, term, show: None, table, max_missing_percent: 2 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_turn_and_place_for_a_quarter_of_its_deadline_in_all() {
        let (admission, job) = (Admission::new(1), job());
        let load = Load::new(&job, "p.d", "1", "t");
        let first = context();
        let turn = admission.turn(&load, &first).await.unwrap();
        let place = admission.place(&first).await.unwrap();

        let start = Instant::now();
        let second = context();
        let release = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(turn);
        };
        let (_turn, ()) = tokio::join!(admission.turn(&load, &second), release);
        let overloaded = admission.place(&second).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 135);
        assert!(
            overloaded.to_string().contains("MAX_CONCURRENT_MESSAGES allows (1)"),
            "{overloaded}"
        );
        assert_eq!(overloaded.reason(), "overloaded");

        // What needs no waiting is granted however late it is.
        drop(place);
        tokio::time::advance(DEADLINE).await;
        assert!(admission.place(&second).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_job_keeps_the_turn_from_all_messages_but_its_own() {
        let (admission, job) = (Admission::new(1), job());
        let (own, other) = (Load::new(&job, "p.d", "1", "t"), Load::new(&job, "p.d", "2", "t"));
        let turn = admission.turn(&own, &context()).await.unwrap();
        assert!(admission.keep_for("a", &own.job_id(3), &turn));
        drop(turn);
        let refused = admission.turn(&other, &context()).await.unwrap_err().to_string();
        let words = format!("the load job {} into a has not ended", own.job_id(3));
        assert!(refused.contains(&words), "{refused}");

        let shared = admission.turn(&own, &context()).await.unwrap();
        assert!(!admission.keep_for("a", &own.job_id(3), &shared), "one task follows the job");
        assert!(admission.keep_for("a", &own.job_id(4), &shared), "this is the next job");
        admission.ended("a", &own.job_id(3));
        assert!(admission.turn(&own, &context()).await.is_ok());
        admission.ended("a", &own.job_id(4));
        assert!(admission.turn(&other, &context()).await.is_err(), "its message is still at work");
        drop(shared);
        assert!(admission.turn(&other, &context()).await.is_ok());
    }
}
