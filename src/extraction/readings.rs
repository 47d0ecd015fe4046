//! Readings of shows that are kept for a while, so that `episodes` and `mentions` share one: Spotify's
//! quota is what limits the whole system.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::listing::Complete;
use crate::keyed::Keyed;
use crate::names::ShowId;

/// How much text kept readings hold in all. The largest shows have some 20,000 episodes, with 34 MB of
/// rows.
const MAX_KEPT_BYTES: usize = 40 * 1024 * 1024;

/// How many tables a show's reading usually serves: `episodes` and `mentions`.
const USUAL_TABLES: usize = 2;

/// A complete listing of a show's episodes.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) complete: Complete,
    pub(super) read_at: SystemTime,
    until: Instant,
    uses: Mutex<Vec<Use>>,
}

/// A table that a reading was given to.
#[derive(Debug)]
struct Use {
    table: String,
    /// The message that got it. Only its redeliveries get it again: whether a load succeeded is not
    /// always known, and another message for the table must read again.
    message: String,
    is_loaded: bool,
}

impl Reading {
    fn uses(&self) -> MutexGuard<'_, Vec<Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the reading to a table by a message. Returns whether it may have it.
    fn is_given(&self, table: &str, message: &str) -> bool {
        let mut uses = self.uses();
        if let Some(known) = uses.iter().find(|known| known.table == table) {
            return known.message == message && !known.is_loaded;
        }
        uses.push(Use { table: table.to_owned(), message: message.to_owned(), is_loaded: false });
        true
    }
}

/// The readings that are kept, within a bound of time and memory.
#[derive(Debug)]
pub(super) struct Readings {
    memory: Duration,
    slots: Keyed<Weak<Reading>>,
    kept: Mutex<VecDeque<Arc<Reading>>>,
}

impl Readings {
    pub(super) fn new(memory: Duration) -> Self {
        Self { memory, slots: Keyed::default(), kept: Mutex::default() }
    }

    /// The place of a show's reading. Whoever reads the show holds its lock.
    pub(super) fn slot(&self, show: &ShowId) -> Arc<tokio::sync::Mutex<Weak<Reading>>> {
        self.slots.slot(show.as_str())
    }

    /// The kept reading, if it is recent, lacks no more than `max_missing_percent`, and was not given to
    /// the table by another message.
    pub(super) fn usable(
        kept: &Weak<Reading>,
        table: &str,
        message: &str,
        max_missing_percent: u8,
    ) -> Option<Arc<Reading>> {
        kept.upgrade().filter(|reading| {
            Instant::now() < reading.until
                && reading.complete.is_within_tolerance(max_missing_percent)
                && reading.is_given(table, message)
        })
    }

    /// Keeps a listing that a message read for a table, for the other table of its show, in place of the
    /// show's earlier reading. What is too large or too old is dropped, unless a message is at work with
    /// it.
    pub(super) fn keep(
        &self,
        earlier: &Weak<Reading>,
        complete: Complete,
        read_at: SystemTime,
        table: &str,
        message: &str,
    ) -> Arc<Reading> {
        let until = Instant::now() + self.memory;
        let reading = Arc::new(Reading { complete, read_at, until, uses: Mutex::default() });
        reading.is_given(table, message);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::clone(&reading));
        kept.retain(|kept| Instant::now() < kept.until && Arc::as_ptr(kept) != earlier.as_ptr());
        while kept.iter().map(|kept| kept.complete.rows.bytes()).sum::<usize>() > MAX_KEPT_BYTES {
            kept.pop_front();
        }
        reading
    }

    /// Records that a table was loaded from the reading that this message got. A reading is dropped once
    /// it has served the two tables of its show.
    pub(super) fn used(&self, table: &str, message: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|reading| {
            let mut uses = reading.uses();
            for known in uses.iter_mut() {
                known.is_loaded |= known.table == table && known.message == message;
            }
            uses.iter().filter(|known| known.is_loaded).count() < USUAL_TABLES
        });
    }
}
