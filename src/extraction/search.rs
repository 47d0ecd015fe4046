//! Searches: the rows of `podcasts`, and the show that a search finds.

use std::time::SystemTime;

use super::listing::{Complete, Page, Rules, Verdict};
use super::{Extracted, Extractor, count, items, read, show};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::Job;
use crate::names::Term;
use crate::warehouse::Origin;

/// How many shows the table of podcasts holds.
const MAX_SHOWS: usize = 50;

/// Spotify's searches end here (offset and limit together).
const SEARCH_END: u32 = 1000;

/// What may be missing of a search if the message says nothing else. Search results move.
const MAX_MISSING_PERCENT: u8 = 10;

impl Extractor {
    /// The first [`MAX_SHOWS`] distinct shows of a search, or all if it ends before.
    pub(super) async fn podcasts(
        &self,
        job: &Job,
        context: &Context,
    ) -> Result<Extracted, Failure> {
        // A message that needs the term's show waits for this search, which finds it too.
        let slot = self.shows.slot(job.term.folded());
        let guard = slot.try_lock().ok();
        let read_at = SystemTime::now();
        let rules = Rules {
            page_size: self.search_page,
            max_items: Some(MAX_SHOWS),
            max_offset: SEARCH_END,
            max_concurrent_requests: self.side_by_side,
            all_at_once: self.spotify.is_open(),
            first_page_only: false,
            max_missing_percent: job.max_missing_percent,
        };
        let complete = self.search(search_of(&job.term), &job.term, rules, context).await?;
        count(&complete, context);
        if let Some(mut remembered) = guard {
            let taken =
                show::choose(&job.term, complete.rows.lines().take(complete.first_page_rows));
            // A show that is remembered stays, so that the tables of a term hold one show.
            if let Some(taken) = taken.filter(|_| !show::is_known(&remembered)) {
                *remembered = Some(show::Remembered::new(taken, self.show_memory));
            }
        }
        let listed = (complete.missing > 0).then_some(complete.wanted);
        let origin = Origin { show: None, read_at, shared: Some(false), listed };
        Ok(Extracted { rows: complete.rows, origin, _reading: None })
    }

    /// The first page of a search, from which the term's show is chosen.
    pub(super) async fn first_page(
        &self,
        term: &Term,
        max_missing_percent: u8,
        context: &Context,
    ) -> Result<Complete, Failure> {
        let rules = Rules {
            page_size: self.search_page,
            max_items: Some(self.search_page as usize),
            max_offset: self.search_page,
            max_concurrent_requests: 1,
            all_at_once: false,
            first_page_only: true,
            max_missing_percent: max_missing_percent.max(MAX_MISSING_PERCENT),
        };
        let what = format!("the first page of {}", search_of(term));
        self.search(what, term, rules, context).await
    }

    async fn search(
        &self,
        what: String,
        term: &Term,
        rules: Rules,
        context: &Context,
    ) -> Result<Complete, Failure> {
        let percent = rules.max_missing_percent;
        self.incomplete.check(&what, percent)?;
        let page = |offset, limit| {
            self.spotify.search(term, offset, limit, context, |paging| Page {
                rows: items::podcasts(&paging.items),
                total: paging.total,
                has_next: paging.next,
            })
        };
        match read::read(rules, self.backoff, context, page).await? {
            Verdict::Complete(complete) => {
                self.incomplete.forget(&what);
                Ok(complete)
            }
            Verdict::Incomplete(detail) => Err(self.incomplete.remember(&what, percent, detail)),
            Verdict::Empty => {
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
