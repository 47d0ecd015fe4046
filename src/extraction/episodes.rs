//! Extracts the rows of `episodes` and `mentions`: all episodes of a show, or those with a mention.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::TryFutureExt;

use super::listing::{Page, Rules, Verdict};
use super::shared_readings::SharedReading;
use super::show::FoundShow;
use super::{ExtractedTable, Extractor, add_counters, fetch, items};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::Job;
use crate::names::{ChosenShow, Kind, ShowId, ShowMatch};
use crate::spotify::CallError;
use crate::sync;
use crate::warehouse::Origin;

/// The largest page of episodes that Spotify returns.
const MAX_PAGE_SIZE: u32 = 50;

/// A reading of a show's episodes for one message.
struct AssignedReading {
    reading: Arc<SharedReading>,
    /// Whether it was read earlier, by another message or another delivery.
    is_shared: bool,
}

impl Extractor {
    pub(super) async fn extract_episodes(
        &self,
        job: &Job,
        message_id: &str,
        context: &Context,
    ) -> Result<ExtractedTable, Failure> {
        let (show, AssignedReading { reading, is_shared }) =
            self.read_show(job, message_id, context).await?;
        let complete = &reading.complete;
        let (rows, undated) = match job.kind {
            Kind::Mentions => items::mentions(&complete.rows, &self.phrases),
            _ => (complete.rows.clone(), complete.undated),
        };
        add_counters(complete, undated, context);
        if rows.count() == 0 && complete.missing > 0 {
            self.shared_readings.finish(&job.table, message_id);
            let detail = format!(
                "no episode with a mention was shown, and {} of {} episodes are missing",
                complete.missing, complete.wanted
            );
            let (mentions, percent) = (describe_mentions(&show.id), job.max_missing_percent);
            return Err(self.incomplete_listings.record(&mentions, percent, detail));
        }
        let origin = Origin {
            show: Some(show),
            read_at: reading.read_at,
            shared: Some(is_shared),
            listed: complete.wanted_if_missing(),
        };
        Ok(ExtractedTable { rows, origin })
    }

    /// Reads the show that the message names, otherwise the term's show.
    async fn read_show(
        &self,
        job: &Job,
        message_id: &str,
        context: &Context,
    ) -> Result<(ChosenShow, AssignedReading), Failure> {
        if let Some(id) = &job.show {
            let matched_by = Some(ShowMatch::ShowId);
            let show = ChosenShow { id: id.clone(), name: None, matched_by };
            *sync::lock(&context.show) = Some(show.clone());
            let reading = self.read_episodes(id, job, message_id, context).await?;
            return Ok((show, reading.ok_or_else(|| Failure::NoSuchShow(id.clone()))?));
        }
        // Repeats only if a cached show no longer exists.
        loop {
            let FoundShow { show, is_cached } =
                self.find_show(&job.term, job.max_missing_percent, context).await?;
            *sync::lock(&context.show) = Some(show.clone());
            if let Some(reading) = self.read_episodes(&show.id, job, message_id, context).await? {
                return Ok((show, reading));
            }
            // Keeps a different show that another message has cached since.
            self.shows.retain(|term, known| term != job.term.folded() || known.id != show.id);
            if !is_cached {
                return Err(Failure::ShowVanished { id: show.id, term: job.term.clone() });
            }
        }
    }

    /// Returns a shared reading that the message may use for the table, or reads the show. Concurrent callers
    /// wait for the reading in progress. Returns `None` if Spotify has no such show.
    async fn read_episodes(
        &self,
        show: &ShowId,
        job: &Job,
        message_id: &str,
        context: &Context,
    ) -> Result<Option<AssignedReading>, Failure> {
        let percent = job.max_missing_percent;
        let listing = describe_episodes(show);
        let lock = self.reading_locks.get(show.as_str());
        let cause = || format!("another message is reading {listing}");
        let _lock = context.deadline.wait_to_start(lock.lock(), cause).await?;
        if job.kind == Kind::Mentions {
            self.incomplete_listings.check(&describe_mentions(show), percent)?;
        }
        let shared = self.shared_readings.reuse(show, &job.table, message_id, percent);
        if let Some(reading) = shared {
            return Ok(Some(AssignedReading { reading, is_shared: true }));
        }
        self.incomplete_listings.check(&listing, percent)?;
        let rules = Rules {
            page_size: MAX_PAGE_SIZE,
            max_items: None,
            max_offset: u32::MAX,
            max_concurrent_requests: self.max_concurrent_calls,
            all_at_once: false,
            max_missing_percent: percent,
        };
        let page = |offset, limit| {
            self.spotify.episodes(show, offset, limit, context).map_ok(|paging| Page {
                rows: items::episodes(paging.items),
                total: paging.total,
                has_next: paging.has_next,
            })
        };
        let read_at = SystemTime::now();
        match fetch::read_listing(rules, self.backoff, context, page).await? {
            Verdict::Complete(complete) => {
                self.incomplete_listings.forget(&listing);
                if complete.missing == 0 {
                    self.incomplete_listings.forget(&describe_mentions(show));
                }
                let reading = SharedReading { complete, read_at };
                let reading = self.shared_readings.keep(show, reading, &job.table, message_id);
                Ok(Some(AssignedReading { reading, is_shared: false }))
            }
            Verdict::Incomplete(detail) => {
                Err(self.incomplete_listings.record(&listing, percent, detail))
            }
            Verdict::Empty => {
                Err(Failure::NoResults { what: format!("no episode of the show {show}") })
            }
            Verdict::NotFound(text) => match self.spotify.show(show, context).await {
                Err(CallError::NotFound(_)) => Ok(None),
                Err(CallError::Failed(failure)) => Err(failure),
                Ok(_) => {
                    let detail = format!(
                        "the request for the episodes returned 404 ({text:?}), but the show exists"
                    );
                    Err(self.incomplete_listings.record(&listing, percent, detail))
                }
            },
        }
    }
}

/// Returns the name of a show's listing in errors.
fn describe_episodes(show: &ShowId) -> String {
    format!("the episodes of the show {show}")
}

/// Returns the name of a show's mentions in errors.
fn describe_mentions(show: &ShowId) -> String {
    format!("the mentions in {}", describe_episodes(show))
}
