//! Searches: the rows of `podcasts`, and the show that a search finds.

use std::time::SystemTime;

use futures_util::TryFutureExt;

use super::listing::{Complete, Page, Rules, Verdict};
use super::{About, Extracted, Extractor, count, items, read, show};
use crate::failure::Failure;
use crate::job::Job;
use crate::meter::Meter;
use crate::names::Term;

/// How many shows the table of podcasts holds.
const MAX_SHOWS: usize = 50;

/// Spotify's searches end here (offset and limit together).
const SEARCH_END: u32 = 1000;

/// What may be missing of a search if the message says nothing else. Search results move.
const MAX_MISSING_PERCENT: u8 = 10;

impl Extractor {
    /// The first [`MAX_SHOWS`] distinct shows of a search, or all if it ends before.
    pub(super) async fn podcasts(&self, job: &Job, meter: &Meter) -> Result<Extracted, Failure> {
        // A message that needs the term's show waits for this search, which finds it too.
        let slot = self.shows.slot(job.term.folded());
        let guard = slot.try_lock().ok();
        let read_at = SystemTime::now();
        let rules = Rules {
            page_size: self.search_page,
            enough: Some(MAX_SHOWS),
            end: SEARCH_END,
            side_by_side: self.side_by_side,
            all_at_once: self.spotify.is_healthy(),
            max_missing_percent: job.max_missing_percent,
        };
        let complete = self.search(search_of(&job.term), &job.term, rules, meter).await?;
        count(&complete, meter);
        if let Some(mut remembered) = guard {
            let taken = show::choose(&job.term, complete.rows.lines().take(complete.first_page));
            // A show that is remembered stays, so that the tables of a term hold one show.
            if let Some(taken) = taken.filter(|_| !show::is_known(&remembered)) {
                *remembered = Some(show::Remembered::new(taken, self.show_memory));
            }
        }
        let listed = (complete.missing > 0).then_some(complete.listed);
        let about = About { show: None, read_at, shared: false, listed };
        Ok(Extracted { rows: complete.rows, about, reading: None })
    }

    /// The first page of a search, from which the term's show is chosen.
    pub(super) async fn first_page(
        &self,
        term: &Term,
        max_missing_percent: u8,
        meter: &Meter,
    ) -> Result<Complete, Failure> {
        let rules = Rules {
            page_size: self.search_page,
            enough: Some(self.search_page as usize),
            end: self.search_page,
            side_by_side: 1,
            all_at_once: false,
            max_missing_percent: max_missing_percent.max(MAX_MISSING_PERCENT),
        };
        let what = format!("the first page of {}", search_of(term));
        self.search(what, term, rules, meter).await
    }

    async fn search(
        &self,
        what: String,
        term: &Term,
        rules: Rules,
        meter: &Meter,
    ) -> Result<Complete, Failure> {
        let percent = rules.max_missing_percent;
        self.incomplete.check(&what, percent)?;
        let page = |offset, limit| {
            self.spotify.search(term, offset, limit, meter).map_ok(|paging| Page {
                rows: items::podcasts(paging.items),
                total: paging.total,
                next: paging.has_next,
            })
        };
        match read::read(rules, self.backoff, meter, page).await? {
            Verdict::Complete(complete) => {
                self.incomplete.forget(&what);
                Ok(complete)
            }
            Verdict::Incomplete(detail) => Err(self.incomplete.remember(&what, percent, detail)),
            Verdict::Nothing => {
                Err(Failure::NoResults { what: format!("no show for {:?}", term.text()) })
            }
            // One search in seven answers 404, for no reason that it gives.
            Verdict::NotFound(words) => Err(Failure::SpotifyUnavailable {
                call: what,
                detail: format!("404 {words}").trim_end().to_owned(),
                after: None,
            }),
        }
    }
}

/// A search, as failures name it.
pub(super) fn search_of(term: &Term) -> String {
    format!("the search for {:?}", term.text())
}
