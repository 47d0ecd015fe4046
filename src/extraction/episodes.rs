//! The episodes of a show, for `episodes` and `mentions` alike.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::TryFutureExt;

use super::listing::{Page, Rules, Verdict};
use super::readings::{Reading, Readings};
use super::{About, Extracted, Extractor, TakenShow, count, items, read};
use crate::failure::Failure;
use crate::job::Job;
use crate::meter::Meter;
use crate::names::{Kind, ShowId, ShowMatch};
use crate::spotify::CallError;

/// The most episodes that Spotify gives in one page.
const EPISODE_PAGE: u32 = 50;

/// What reading a show's episodes came to.
enum Found {
    Reading {
        reading: Arc<Reading>,
        shared: bool,
    },
    /// Spotify says that the show does not exist.
    NoShow,
}

impl Extractor {
    /// The episodes of the job's show, all of them or those with a mention.
    pub(super) async fn episodes(
        &self,
        job: &Job,
        message: &str,
        meter: &Meter,
    ) -> Result<Extracted, Failure> {
        let (taken, reading, shared) = self.reading_of(job, message, meter).await?;
        count(&reading.complete, meter);
        let complete = &reading.complete;
        let rows = match job.kind {
            Kind::Mentions => {
                let (rows, undated) = items::mentions(&complete.rows, &self.phrases);
                meter.undated.set(undated);
                rows
            }
            _ => complete.rows.clone(),
        };
        if rows.count() == 0 && complete.missing > 0 {
            let what = format!("the mentions in {}", listing_of(&taken.id));
            let detail = format!(
                "no episode with a mention was shown, and {} of {} episodes are missing",
                complete.missing, complete.listed
            );
            let after = Some(self.incomplete.memory());
            return Err(Failure::ListingIncomplete { what, detail, after });
        }
        let listed = (complete.missing > 0).then_some(complete.listed);
        let about = About { show: Some(taken), read_at: reading.read_at, shared, listed };
        Ok(Extracted { rows, about, reading: Some(reading) })
    }

    async fn reading_of(
        &self,
        job: &Job,
        message: &str,
        meter: &Meter,
    ) -> Result<(TakenShow, Arc<Reading>, bool), Failure> {
        if let Some(id) = &job.show {
            let taken = TakenShow { id: id.clone(), name: None, r#match: ShowMatch::ShowId };
            let _ = meter.show.set(taken.clone());
            return match self.all_episodes(id, job, message, meter).await? {
                Found::Reading { reading, shared } => Ok((taken, reading, shared)),
                Found::NoShow => Err(Failure::NoSuchShow(id.clone())),
            };
        }
        let slot = self.shows.slot(job.term.folded());
        loop {
            let (taken, fresh) =
                self.show_of(&job.term, job.max_missing_percent, &slot, meter).await?;
            let _ = meter.show.set(taken.clone());
            match self.all_episodes(&taken.id, job, message, meter).await? {
                Found::Reading { reading, shared } => return Ok((taken, reading, shared)),
                Found::NoShow => {
                    self.forget_show(&slot, &taken.id).await;
                    if fresh {
                        return Err(Failure::ShowVanished { id: taken.id, term: job.term.clone() });
                    }
                }
            }
        }
    }

    /// A reading that no other message had for the job's table: one that is kept, or a new one. Concurrent
    /// callers wait for the one in progress.
    async fn all_episodes(
        &self,
        show: &ShowId,
        job: &Job,
        message: &str,
        meter: &Meter,
    ) -> Result<Found, Failure> {
        let percent = job.max_missing_percent;
        let slot = self.readings.slot(show);
        let what = listing_of(show);
        let mut kept =
            meter.wait_to_start(slot.lock(), || format!("another message reads {what}")).await?;
        if let Some(reading) = Readings::usable(&kept, &job.table, message, percent) {
            return Ok(Found::Reading { reading, shared: true });
        }
        self.incomplete.check(&what, percent)?;
        let rules = Rules {
            page_size: EPISODE_PAGE,
            enough: None,
            end: u32::MAX,
            side_by_side: self.side_by_side,
            all_at_once: false,
            max_missing_percent: percent,
        };
        let page = |offset, limit| {
            self.spotify.episodes(show, offset, limit, meter).map_ok(|paging| Page {
                rows: items::episodes(paging.items),
                total: paging.total,
                next: paging.has_next,
            })
        };
        let read_at = SystemTime::now();
        match read::read(rules, self.backoff, meter, page).await? {
            Verdict::Complete(complete) => {
                self.incomplete.forget(&what);
                let reading = self.readings.keep(&kept, complete, read_at, &job.table, message);
                *kept = Arc::downgrade(&reading);
                Ok(Found::Reading { reading, shared: false })
            }
            Verdict::Incomplete(detail) => Err(self.incomplete.remember(&what, percent, detail)),
            Verdict::Nothing => {
                Err(Failure::NoResults { what: format!("no episode of the show {show}") })
            }
            Verdict::NotFound(words) => match self.spotify.show(show, meter).await {
                Err(CallError::NotFound(_)) => Ok(Found::NoShow),
                Err(CallError::Failed(failure)) => Err(failure),
                Ok(_) => {
                    let detail = format!("its episodes answer 404 {words:?}, but the show exists");
                    Err(self.incomplete.remember(&what, percent, detail))
                }
            },
        }
    }
}

fn listing_of(show: &ShowId) -> String {
    format!("the episodes of the show {show}")
}
