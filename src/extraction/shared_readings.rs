//! Keeps complete readings of shows for a while, so that `episodes` and `mentions` share one, because
//! Spotify's quota is the bottleneck.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::listing::CompleteListing;
use crate::names::ShowId;
use crate::sync;

/// The maximum size of the rows of all kept readings together. The largest shows have about 20,000
/// episodes, or 34 MB of rows.
const MAX_KEPT_BYTES: usize = 40 * 1024 * 1024;

/// Most shows belong to one term, which has two tables of episodes: `episodes` and `mentions`.
const TABLES_PER_SHOW: usize = 2;

/// A complete reading of a show's episodes.
#[derive(Debug)]
pub(super) struct SharedReading {
    pub(super) complete: CompleteListing,
    pub(super) read_at: SystemTime,
}

/// A shared reading with its assignments to tables.
#[derive(Debug)]
struct KeptReading {
    show: ShowId,
    reading: Arc<SharedReading>,
    expires_at: Instant,
    /// One for each table that uses the reading.
    assignments: Vec<Assignment>,
}

#[derive(Debug)]
struct Assignment {
    table: String,
    /// Only redeliveries of this message may use the reading again. It is not always known whether a load
    /// succeeded, so another message for the table must read again.
    message_id: String,
    /// Whether the table was loaded from the reading, or can't be.
    is_finished: bool,
}

impl Assignment {
    fn new(table: &str, message_id: &str) -> Self {
        Self { table: table.to_owned(), message_id: message_id.to_owned(), is_finished: false }
    }
}

impl KeptReading {
    /// Assigns the reading to a table. Returns `false` if another message used it for this table, or if it
    /// serves this table no more.
    fn assign(&mut self, table: &str, message_id: &str) -> bool {
        if let Some(assigned) = self.assignments.iter().find(|assigned| assigned.table == table) {
            return assigned.message_id == message_id && !assigned.is_finished;
        }
        self.assignments.push(Assignment::new(table, message_id));
        true
    }
}

/// The latest reading of each show, within a limit of time and memory.
#[derive(Debug)]
pub(super) struct SharedReadings {
    ttl: Duration,
    /// In order of age, the oldest first.
    kept: Mutex<Vec<KeptReading>>,
}

impl SharedReadings {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, kept: Mutex::default() }
    }

    /// Assigns the show's latest reading to a table, if it has not expired, is within the tolerance, and can
    /// be used for the table.
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

    /// Stores a reading as the show's latest and assigns it to the table. Drops expired readings, and the
    /// oldest ones while all together exceed [`MAX_KEPT_BYTES`]. The new one is always kept, because the
    /// message of the show's other table may be waiting for it.
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
        kept.push(KeptReading {
            show: show.clone(),
            reading: Arc::clone(&reading),
            expires_at: now + self.ttl,
            assignments: vec![Assignment::new(table, message_id)],
        });
        let bytes = |kept: &KeptReading| kept.reading.complete.rows.bytes();
        while kept.len() > 1 && kept.iter().map(bytes).sum::<usize>() > MAX_KEPT_BYTES {
            kept.remove(0);
        }
        reading
    }

    /// Records that a table was loaded from the reading that the message used, or can't be loaded from it.
    /// Drops a reading that has served [`TABLES_PER_SHOW`] tables.
    pub(super) fn finish(&self, table: &str, message_id: &str) {
        sync::lock(&self.kept).retain_mut(|kept| {
            for assigned in &mut kept.assignments {
                assigned.is_finished |=
                    assigned.table == table && assigned.message_id == message_id;
            }
            let finished = kept.assignments.iter().filter(|assigned| assigned.is_finished);
            finished.count() < TABLES_PER_SHOW
        });
    }
}
