//! From a job to its rows: which listing is read, which show is the term's, and when a listing is
//! complete.

mod episodes;
pub(crate) mod items;
mod listing;
mod read;
mod readings;
mod search;
mod show;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::job::Job;
use crate::keyed::Keyed;
use crate::names::Kind;
use crate::retry::Backoff;
use crate::rows::Rows;
use crate::spotify::Spotify;
use crate::text::Phrases;
use crate::warehouse::Origin;
use listing::Complete;
use read::Incomplete;
use readings::{Reading, Readings};

/// Reads Spotify for jobs.
#[derive(Debug)]
pub struct Extractor {
    spotify: Spotify,
    shows: Keyed<Option<show::Remembered>>,
    readings: Readings,
    incomplete: Incomplete,
    phrases: Phrases,
    search_page: u32,
    side_by_side: usize,
    show_memory: Duration,
    backoff: Backoff,
}

/// The rows of a job's table.
#[derive(Debug)]
pub struct Extracted {
    /// Unique by id, in Spotify's order.
    pub rows: Rows,
    pub origin: Origin,
    /// Held so that messages for other tables can share it until the rows are loaded.
    _reading: Option<Arc<Reading>>,
}

impl Extractor {
    /// An extractor on a client.
    pub fn new(config: &Config, spotify: Spotify) -> Self {
        Self {
            spotify,
            shows: Keyed::default(),
            readings: Readings::new(config.timing.reading_ttl),
            incomplete: Incomplete::new(config.timing.incomplete_ttl),
            phrases: config.mention_phrases.clone(),
            search_page: config.spotify.search_page_size,
            side_by_side: config.spotify.max_concurrent_calls,
            show_memory: config.timing.show_ttl,
            backoff: config.timing.backoff,
        }
    }

    /// The rows of the job's table, for the message with this id. Never none, except mentions of a show
    /// that was read completely.
    pub async fn extract(
        &self,
        job: &Job,
        message: &str,
        context: &Context,
    ) -> Result<Extracted, Failure> {
        let start = Instant::now();
        let extracted = match job.kind {
            Kind::Podcasts => self.podcasts(job, context).await,
            Kind::Episodes | Kind::Mentions => self.episodes(job, message, context).await,
        };
        context.meter.extraction_ms.add_since(start);
        extracted
    }

    /// Records that a message's rows were loaded, so that their reading has served its table.
    pub fn loaded(&self, table: &str, message: &str) {
        self.readings.used(table, message);
    }
}

/// Counts what a listing that is loaded had of its own.
fn count(complete: &Complete, context: &Context) {
    context.meter.nulls.add(complete.nulls);
    context.meter.doubles.add(complete.doubles);
    context.meter.undated.add(complete.undated);
    context.meter.malformed.add(complete.malformed);
}
