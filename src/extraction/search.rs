//! Reads a search for shows.

use futures_util::TryFutureExt;

use super::listing::{Complete, Page, Rules, Verdict};
use super::{Extractor, fetch, items};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::default_missing_percent;
use crate::names::{Kind, Term};

/// How many shows the table of podcasts holds.
const MAX_SHOWS: usize = 50;

/// Spotify's limit for offset and limit together.
const MAX_OFFSET: u32 = 1000;

impl Extractor {
    /// Reads the first [`MAX_SHOWS`] distinct shows of a search, or all if there are fewer.
    pub(super) async fn search(
        &self,
        term: &Term,
        max_missing_percent: u8,
        context: &Context,
    ) -> Result<Complete, Failure> {
        let rules = self.search_rules(max_missing_percent);
        self.read_search(describe_search(term), term, rules, context).await
    }

    /// Reads the first page of a search, from which the term's show is chosen.
    pub(super) async fn search_first_page(
        &self,
        term: &Term,
        max_missing_percent: u8,
        context: &Context,
    ) -> Result<Complete, Failure> {
        // The show of `episodes`, too, tolerates as much as a search does by default.
        let percent = max_missing_percent.max(default_missing_percent(Kind::Podcasts));
        let rules = Rules {
            max_items: Some(self.search_page_size as usize),
            max_offset: self.search_page_size,
            ..self.search_rules(percent)
        };
        let what = format!("the first page of {}", describe_search(term));
        self.read_search(what, term, rules, context).await
    }

    fn search_rules(&self, max_missing_percent: u8) -> Rules {
        Rules {
            page_size: self.search_page_size,
            max_items: Some(MAX_SHOWS),
            max_offset: MAX_OFFSET,
            max_concurrent_requests: self.max_concurrent_calls,
            all_at_once: self.spotify.is_healthy(),
            max_missing_percent,
        }
    }

    async fn read_search(
        &self,
        what: String,
        term: &Term,
        rules: Rules,
        context: &Context,
    ) -> Result<Complete, Failure> {
        let percent = rules.max_missing_percent;
        self.incomplete_listings.check(&what, percent)?;
        let page = |offset, limit| {
            self.spotify.search(term, offset, limit, context).map_ok(|paging| Page {
                rows: items::podcasts(paging.items),
                total: paging.total,
                has_next: paging.has_next,
            })
        };
        match fetch::read_listing(rules, self.backoff, context, page).await? {
            Verdict::Complete(complete) => {
                self.incomplete_listings.forget(&what);
                Ok(complete)
            }
            Verdict::Incomplete(detail) => {
                Err(self.incomplete_listings.record(&what, percent, detail))
            }
            Verdict::Empty => {
                Err(Failure::NoResults { what: format!("no show for {:?}", term.text()) })
            }
            // About one search in seven returns 404 for no apparent reason.
            Verdict::NotFound(text) => Err(Failure::SpotifyUnavailable {
                call: what,
                status: Some(404),
                detail: format!("404 {text}").trim_end().to_owned(),
                after: None,
            }),
        }
    }
}

/// Describes a search in errors.
pub(super) fn describe_search(term: &Term) -> String {
    format!("the search for {:?}", term.text())
}
