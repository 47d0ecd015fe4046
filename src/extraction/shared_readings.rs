//! Keeps complete readings of shows for a while, so that `episodes` and `mentions` share one: Spotify's
//! quota limits the whole system.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::listing::Complete;
use crate::keyed::Keyed;
use crate::names::ShowId;

/// The size of the rows of all kept readings. The largest shows have some 20,000 episodes, or 34 MB of
/// rows.
const MAX_KEPT_BYTES: usize = 40 * 1024 * 1024;

/// A show has two tables: `episodes` and `mentions`.
const TABLES_PER_SHOW: usize = 2;

/// A complete reading of a show's episodes.
#[derive(Debug)]
pub(super) struct SharedReading {
    pub(super) complete: Complete,
    pub(super) read_at: SystemTime,
    expires_at: Instant,
    uses: Mutex<Vec<Use>>,
}

/// A table that a reading is assigned to.
#[derive(Debug)]
struct Use {
    table: String,
    /// Only redeliveries of this message may use the reading again. It is not always known whether a load
    /// succeeded, so another message for the table must read again.
    message_id: String,
    is_loaded: bool,
}

impl SharedReading {
    fn uses(&self) -> MutexGuard<'_, Vec<Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Assigns the reading to a table. Returns `false` if another message had it for the table, or the
    /// table is loaded from it.
    fn assign(&self, table: &str, message_id: &str) -> bool {
        let mut uses = self.uses();
        if let Some(earlier) = uses.iter().find(|earlier| earlier.table == table) {
            return earlier.message_id == message_id && !earlier.is_loaded;
        }
        let (table, message_id) = (table.to_owned(), message_id.to_owned());
        uses.push(Use { table, message_id, is_loaded: false });
        true
    }
}

/// The latest reading of a show, as long as it is kept or a message uses it.
pub(super) type LatestReading = Weak<SharedReading>;

/// The readings that are kept, within a limit of time and memory.
#[derive(Debug)]
pub(super) struct SharedReadings {
    ttl: Duration,
    latest: Keyed<LatestReading>,
    kept: Mutex<VecDeque<Arc<SharedReading>>>,
}

impl SharedReadings {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, latest: Keyed::default(), kept: Mutex::default() }
    }

    /// Returns the lock around a show's latest reading. A message that reads the show holds it.
    pub(super) fn latest(&self, show: &ShowId) -> Arc<tokio::sync::Mutex<LatestReading>> {
        self.latest.slot(show.as_str())
    }

    /// Assigns the latest reading to a table, if it is recent, within the tolerance, and not used for the
    /// table.
    pub(super) fn reuse(
        latest: &LatestReading,
        table: &str,
        message_id: &str,
        max_missing_percent: u8,
    ) -> Option<Arc<SharedReading>> {
        latest.upgrade().filter(|reading| {
            Instant::now() < reading.expires_at
                && reading.complete.is_within_tolerance(max_missing_percent)
                && reading.assign(table, message_id)
        })
    }

    /// Keeps a reading that a message made for a table, in place of the show's latest one. Drops readings
    /// that have expired, and the oldest ones while they take too much memory.
    pub(super) fn keep(
        &self,
        latest: &mut LatestReading,
        complete: Complete,
        read_at: SystemTime,
        table: &str,
        message_id: &str,
    ) -> Arc<SharedReading> {
        let now = Instant::now();
        let (expires_at, uses) = (now + self.ttl, Mutex::default());
        let reading = Arc::new(SharedReading { complete, read_at, expires_at, uses });
        reading.assign(table, message_id);
        let mut kept = self.kept();
        kept.retain(|kept| now < kept.expires_at && Arc::as_ptr(kept) != latest.as_ptr());
        kept.push_back(Arc::clone(&reading));
        while kept.iter().map(|kept| kept.complete.rows.bytes()).sum::<usize>() > MAX_KEPT_BYTES {
            kept.pop_front();
        }
        *latest = Arc::downgrade(&reading);
        reading
    }

    /// Records that a table was loaded from the reading that this message had. A reading that both tables
    /// were loaded from is dropped.
    pub(super) fn record_load(&self, table: &str, message_id: &str) {
        self.kept().retain(|reading| {
            let mut uses = reading.uses();
            for used in uses.iter_mut() {
                used.is_loaded |= used.table == table && used.message_id == message_id;
            }
            uses.iter().filter(|used| used.is_loaded).count() < TABLES_PER_SHOW
        });
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<SharedReading>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
