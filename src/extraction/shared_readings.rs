//! Keeps complete readings of shows for a while, so that `episodes` and `mentions` share one: Spotify's
//! quota limits the whole system.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::listing::Complete;
use crate::names::ShowId;
use crate::sync;

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
}

/// A reading that is kept.
#[derive(Debug)]
struct Kept {
    show: ShowId,
    reading: Arc<SharedReading>,
    expires_at: Instant,
    /// The tables that the reading is assigned to.
    uses: Vec<Use>,
}

#[derive(Debug)]
struct Use {
    table: String,
    /// Only redeliveries of this message may use the reading again. It is not always known whether a load
    /// succeeded, so another message for the table must read again.
    message_id: String,
    is_loaded: bool,
}

impl Use {
    fn new(table: &str, message_id: &str) -> Self {
        Self { table: table.to_owned(), message_id: message_id.to_owned(), is_loaded: false }
    }
}

impl Kept {
    /// Assigns the reading to a table. Returns `false` if another message had it for the table, or the
    /// table is loaded from it.
    fn assign(&mut self, table: &str, message_id: &str) -> bool {
        if let Some(earlier) = self.uses.iter().find(|earlier| earlier.table == table) {
            return earlier.message_id == message_id && !earlier.is_loaded;
        }
        self.uses.push(Use::new(table, message_id));
        true
    }
}

/// The latest reading of each show, within a limit of time and memory.
#[derive(Debug)]
pub(super) struct SharedReadings {
    ttl: Duration,
    /// The oldest first.
    kept: Mutex<Vec<Kept>>,
}

impl SharedReadings {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, kept: Mutex::default() }
    }

    /// Assigns the show's latest reading to a table, if it is recent, within the tolerance, and not used
    /// for the table.
    pub(super) fn reuse(
        &self,
        show: &ShowId,
        table: &str,
        message_id: &str,
        max_missing_percent: u8,
    ) -> Option<Arc<SharedReading>> {
        let mut kept = sync::lock(&self.kept);
        let latest = kept.iter_mut().find(|kept| kept.show == *show)?;
        let is_usable = Instant::now() < latest.expires_at
            && latest.reading.complete.is_within_tolerance(max_missing_percent)
            && latest.assign(table, message_id);
        is_usable.then(|| Arc::clone(&latest.reading))
    }

    /// Keeps a reading that a message made for a table, in place of the show's latest one. Drops readings
    /// that have expired, and the oldest ones while they take too much memory. The new one is always kept,
    /// since the message of the show's other table may be waiting for it.
    pub(super) fn keep(
        &self,
        show: &ShowId,
        reading: SharedReading,
        table: &str,
        message_id: &str,
    ) -> Arc<SharedReading> {
        let (now, reading) = (Instant::now(), Arc::new(reading));
        let mut kept = sync::lock(&self.kept);
        kept.retain(|kept| now < kept.expires_at && kept.show != *show);
        kept.push(Kept {
            show: show.clone(),
            reading: Arc::clone(&reading),
            expires_at: now + self.ttl,
            uses: vec![Use::new(table, message_id)],
        });
        let bytes = |kept: &Kept| kept.reading.complete.rows.bytes();
        while kept.len() > 1 && kept.iter().map(bytes).sum::<usize>() > MAX_KEPT_BYTES {
            kept.remove(0);
        }
        reading
    }

    /// Records that a table was loaded from the reading that this message had. A reading that both tables
    /// were loaded from is dropped.
    pub(super) fn record_load(&self, table: &str, message_id: &str) {
        sync::lock(&self.kept).retain_mut(|kept| {
            for used in &mut kept.uses {
                used.is_loaded |= used.table == table && used.message_id == message_id;
            }
            kept.uses.iter().filter(|used| used.is_loaded).count() < TABLES_PER_SHOW
        });
    }
}
