//! Readings of shows that are kept for a while, so that `episodes` and `mentions` share one: Spotify's
//! quota is what limits the whole system.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
    used_by: Mutex<Vec<String>>,
}

impl Reading {
    fn is_used_by(&self, table: &str) -> bool {
        self.used_by.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|used| used == table)
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

    /// The kept reading, if it is recent, was not used for the table, and lacks no more than
    /// `max_missing_percent`.
    pub(super) fn usable(
        kept: &Weak<Reading>,
        table: &str,
        max_missing_percent: u8,
    ) -> Option<Arc<Reading>> {
        kept.upgrade().filter(|reading| {
            Instant::now() < reading.until
                && !reading.is_used_by(table)
                && reading.complete.is_within(max_missing_percent)
        })
    }

    /// Keeps a listing for the other table of its show. What is too large or too old is dropped, unless
    /// a message is at work with it.
    pub(super) fn keep(&self, complete: Complete, read_at: SystemTime) -> Arc<Reading> {
        let until = Instant::now() + self.memory;
        let reading = Arc::new(Reading { complete, read_at, until, used_by: Mutex::default() });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::clone(&reading));
        kept.retain(|reading| Instant::now() < reading.until);
        while kept.iter().map(|kept| kept.complete.rows.bytes()).sum::<usize>() > MAX_KEPT_BYTES {
            kept.pop_front();
        }
        reading
    }

    /// Records that a table was loaded from a reading, which is dropped once it has served the two
    /// tables of its show.
    pub(super) fn used(&self, reading: &Arc<Reading>, table: &str) {
        let mut used_by = reading.used_by.lock().unwrap_or_else(PoisonError::into_inner);
        if !used_by.iter().any(|used| used == table) {
            used_by.push(table.to_owned());
        }
        if used_by.len() >= USUAL_TABLES {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|kept| !Arc::ptr_eq(kept, reading));
        }
    }
}
