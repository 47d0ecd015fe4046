//! Turns a job into rows: chooses the show, reads the listing from Spotify, and decides whether it is
//! complete. The caller loads the rows.

mod episodes;
mod fetch;
mod incomplete;
pub(crate) mod items;
mod listing;
mod podcasts;
mod search;
mod shared_readings;
mod show;

use std::time::Duration;

use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::job::Job;
use crate::names::{ChosenShow, Kind};
use crate::retry::Backoff;
use crate::rows::Rows;
use crate::spotify::Spotify;
use crate::sync::{ExpiringMap, KeyedLocks};
use crate::text::Phrases;
use crate::warehouse::Origin;
use incomplete::IncompleteListings;
use listing::CompleteListing;
use shared_readings::SharedReadings;

/// Reads Spotify for jobs.
#[derive(Debug)]
pub struct Extractor {
    spotify: Spotify,
    /// A lock for each folded term, held while the term's show is searched for.
    search_locks: KeyedLocks,
    /// The show of each term. The key is the folded term: without case and accents.
    shows: ExpiringMap<String, ChosenShow>,
    /// A lock for each show ID, held while the show is read.
    reading_locks: KeyedLocks,
    shared_readings: SharedReadings,
    incomplete_listings: IncompleteListings,
    phrases: Phrases,
    search_page_size: u32,
    max_concurrent_calls: usize,
    show_ttl: Duration,
    backoff: Backoff,
}

/// The rows of a job's table.
#[derive(Debug)]
pub struct ExtractedTable {
    /// Rows with unique IDs, in Spotify's order.
    pub rows: Rows,
    pub origin: Origin,
}

impl Extractor {
    pub fn new(config: &Config, spotify: Spotify) -> Self {
        Self {
            spotify,
            search_locks: KeyedLocks::default(),
            shows: ExpiringMap::default(),
            reading_locks: KeyedLocks::default(),
            shared_readings: SharedReadings::new(config.timing.reading_ttl),
            incomplete_listings: IncompleteListings::new(config.timing.incomplete_ttl),
            phrases: config.mention_phrases.clone(),
            search_page_size: config.spotify.search_page_size,
            max_concurrent_calls: config.spotify.max_concurrent_calls,
            show_ttl: config.timing.show_ttl,
            backoff: config.timing.backoff,
        }
    }

    /// Reads the rows of the job's table. Returns at least one row, except for mentions in a show that was
    /// read completely.
    pub async fn extract(
        &self,
        job: &Job,
        message_id: &str,
        context: &Context,
    ) -> Result<ExtractedTable, Failure> {
        let _timed = context.meter.extraction_ms.timed();
        match job.kind {
            Kind::Podcasts => self.extract_podcasts(job, context).await,
            Kind::Episodes | Kind::Mentions => {
                self.extract_episodes(job, message_id, context).await
            }
        }
    }

    /// Records that a message's rows were loaded into a table. After this, the same reading is not loaded
    /// into the table again.
    pub fn record_load(&self, table: &str, message_id: &str) {
        self.shared_readings.finish(table, message_id);
    }
}

/// Adds the counters of a listing to those of the message. `undated` is the number in its table.
fn add_counters(complete: &CompleteListing, undated: u64, context: &Context) {
    let meter = &context.meter;
    meter.nulls.add(complete.nulls);
    meter.duplicates.add(complete.duplicates);
    meter.undated.add(undated);
    meter.malformed.add(complete.malformed);
}
