//! Admission: a message starts early enough to finish, or is answered 503 without a call to Spotify.
//!
//! Messages for one table run one after the other, and at most `MAX_CONCURRENT_MESSAGES` run at the same time.
//! A message waits at most a quarter of its deadline in all: for the table's lock, for a slot, and for a
//! reading or a search that another message has in progress.
//!
//! A load job may outlive its message. Until it ends, the table stays locked, so that its older reading does
//! not replace a newer one. A redelivery of its message shares that lock.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::context::Context;
use crate::failure::Failure;
use crate::sync::{self, KeyedLocks};
use crate::warehouse::Load;

/// The lock of a table. It is released when all its holders have dropped it.
pub(super) type TableLock = Arc<OwnedMutexGuard<()>>;

/// A load job that outlives the work on its message. It keeps its table locked until it ends.
#[derive(Debug)]
struct Unfinished {
    job_id: String,
    lock: TableLock,
}

/// Decides when messages start.
#[derive(Debug)]
pub(super) struct Admission {
    locks: KeyedLocks,
    slots: Semaphore,
    concurrent_messages: usize,
    /// By table.
    unfinished: Mutex<HashMap<String, Unfinished>>,
    /// Wakes waiting messages when a load job becomes unfinished: it may be their own.
    job_added: Notify,
}

impl Admission {
    pub(super) fn new(concurrent_messages: usize) -> Self {
        Self {
            locks: KeyedLocks::default(),
            slots: Semaphore::new(concurrent_messages),
            concurrent_messages,
            unfinished: Mutex::default(),
            job_added: Notify::new(),
        }
    }

    /// Waits for the table's lock, in order of arrival. A message whose own unfinished load job holds the
    /// lock shares it, to wait for the job's end.
    pub(super) async fn lock_table(
        &self,
        load: &Load,
        context: &Context,
    ) -> Result<TableLock, Failure> {
        let table = &load.job.table;
        let own_lock = || {
            let unfinished = self.unfinished();
            let job = unfinished.get(table).filter(|job| load.has_load_job(&job.job_id));
            job.map(|job| Arc::clone(&job.lock))
        };
        let wait = async {
            let mut lock = pin!(self.locks.get(table).lock_owned());
            loop {
                let job_added = self.job_added.notified();
                if let Some(lock) = own_lock() {
                    return lock;
                }
                tokio::select! {
                    lock = &mut lock => return Arc::new(lock),
                    () = job_added => {}
                }
            }
        };
        let cause = || match self.unfinished().get(table) {
            Some(Unfinished { job_id, .. }) => {
                format!("the load job {job_id} into {table} has not ended")
            }
            None => format!("other messages for {table} are in progress"),
        };
        context.deadline.wait_to_start(wait, cause).await
    }

    /// Keeps the table locked for a load job that outlives the work on its message. Returns whether the caller must
    /// follow the job and call [`Self::job_ended`].
    pub(super) fn lock_until_end(&self, table: &str, job_id: &str, lock: &TableLock) -> bool {
        let job = Unfinished { job_id: job_id.to_owned(), lock: Arc::clone(lock) };
        let previous = self.unfinished().insert(table.to_owned(), job);
        self.job_added.notify_waiters();
        previous.is_none_or(|previous| previous.job_id != job_id)
    }

    /// Releases the lock of a load job.
    pub(super) fn job_ended(&self, table: &str, job_id: &str) {
        let mut unfinished = self.unfinished();
        if unfinished.get(table).is_some_and(|job| job.job_id == job_id) {
            unfinished.remove(table);
        }
    }

    fn unfinished(&self) -> MutexGuard<'_, HashMap<String, Unfinished>> {
        sync::lock(&self.unfinished)
    }

    /// Waits for one of the slots for messages in progress, in order of arrival.
    pub(super) async fn acquire_slot(
        &self,
        context: &Context,
    ) -> Result<SemaphorePermit<'_>, Failure> {
        let cause = || {
            let max = self.concurrent_messages;
            format!("the limit MAX_CONCURRENT_MESSAGES ({max}) is reached")
        };
        let slot = context.deadline.wait_to_start(self.slots.acquire(), cause).await?;
        slot.map_err(|_| Failure::ShuttingDown)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::job::Job;
    use crate::names::{Kind, Term};

    const DEADLINE: Duration = Duration::from_secs(540);

    fn context() -> Context {
        Context::new(DEADLINE)
    }

    fn job() -> Job {
        let term = Term::parse("x").unwrap();
        let table = "a".to_owned();
        Job { kind: Kind::Podcasts, term, show: None, table, max_missing_percent: 2 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_lock_and_slot_for_at_most_a_quarter_of_its_deadline() {
        let (admission, job) = (Admission::new(1), job());
        let load = Load::new(&job, "p.d", "1", "t");
        let first = context();
        let lock = admission.lock_table(&load, &first).await.unwrap();
        let slot = admission.acquire_slot(&first).await.unwrap();

        let start = Instant::now();
        let second = context();
        let release = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(lock);
        };
        let (_lock, ()) = tokio::join!(admission.lock_table(&load, &second), release);
        let overloaded = admission.acquire_slot(&second).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 135);
        assert!(overloaded.to_string().contains("MAX_CONCURRENT_MESSAGES (1)"), "{overloaded}");
        assert_eq!(overloaded.reason(), "overloaded");

        // A free slot is granted even after that.
        drop(slot);
        tokio::time::advance(DEADLINE).await;
        assert!(admission.acquire_slot(&second).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_job_keeps_its_table_locked_for_all_messages_but_its_own() {
        let (admission, job) = (Admission::new(1), job());
        let (own, other) = (Load::new(&job, "p.d", "1", "t"), Load::new(&job, "p.d", "2", "t"));
        let lock = admission.lock_table(&own, &context()).await.unwrap();
        assert!(admission.lock_until_end("a", &own.job_id(3), &lock));
        drop(lock);
        let refused = admission.lock_table(&other, &context()).await.unwrap_err().to_string();
        let words = format!("the load job {} into a has not ended", own.job_id(3));
        assert!(refused.contains(&words), "{refused}");

        let shared = admission.lock_table(&own, &context()).await.unwrap();
        assert!(
            !admission.lock_until_end("a", &own.job_id(3), &shared),
            "one task follows the job"
        );
        assert!(admission.lock_until_end("a", &own.job_id(4), &shared), "this is another job");
        admission.job_ended("a", &own.job_id(3));
        assert!(admission.lock_table(&own, &context()).await.is_ok());
        admission.job_ended("a", &own.job_id(4));
        assert!(
            admission.lock_table(&other, &context()).await.is_err(),
            "its message is still in progress"
        );
        drop(shared);
        assert!(admission.lock_table(&other, &context()).await.is_ok());
    }
}
