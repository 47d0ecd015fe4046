//! Chooses the term's show, and caches it so that all tables of a term hold the same show.

use serde::Deserialize;

use super::Extractor;
use super::search::describe_search;
use crate::context::Context;
use crate::failure::Failure;
use crate::job::default_missing_percent;
use crate::names::{ChosenShow, Kind, ShowId, ShowMatch, Term};
use crate::text::fold;

/// Chooses the term's show among the rows of a search's first page: the first show whose name is the term,
/// otherwise the first show.
pub(super) fn choose_show<'a>(
    term: &Term,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Option<ChosenShow> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        name: Option<String>,
    }
    let shows = rows.filter_map(|row| {
        let Row { id, name } = serde_json::from_slice(row).ok()?;
        let has_name = name.as_deref().is_some_and(|name| fold(name) == term.folded());
        let matched_by = Some(if has_name { ShowMatch::Name } else { ShowMatch::First });
        Some(ChosenShow { id: ShowId::from_spotify(&id)?, name, matched_by })
    });
    let shows: Vec<ChosenShow> = shows.collect();
    let named = shows.iter().find(|show| show.matched_by == Some(ShowMatch::Name));
    named.or(shows.first()).cloned()
}

/// The term's show, as a search or the cache has it.
pub(super) struct FoundShow {
    pub(super) show: ChosenShow,
    /// Whether it comes from an earlier search, so that it may have been deleted since.
    pub(super) is_cached: bool,
}

impl Extractor {
    /// Finds the term's show. The search tolerates as many missing items as `podcasts` does by default.
    pub async fn show(&self, term: &Term, context: &Context) -> Result<ChosenShow, Failure> {
        let max_missing_percent = default_missing_percent(Kind::Podcasts);
        self.find_show(term, max_missing_percent, context).await.map(|found| found.show)
    }

    /// Returns the cached show of the term, or searches for it. Concurrent callers wait for the search in
    /// progress.
    pub(super) async fn find_show(
        &self,
        term: &Term,
        max_missing_percent: u8,
        context: &Context,
    ) -> Result<FoundShow, Failure> {
        let lock = self.search_locks.get(term.folded());
        let cause = || format!("{} by another message is in progress", describe_search(term));
        let _lock = context.deadline.wait_to_start(lock.lock(), cause).await?;
        if let Some((show, _)) = self.shows.get(term.folded()) {
            return Ok(FoundShow { show, is_cached: true });
        }
        let page = self.search_first_page(term, max_missing_percent, context).await?;
        let show = choose_show(term, page.rows.lines()).ok_or_else(|| {
            let detail = "no show on the first page has a valid ID".to_owned();
            Failure::ListingIncomplete { what: describe_search(term), detail, after: None }
        })?;
        self.shows.insert(term.folded().to_owned(), show.clone(), self.show_ttl);
        Ok(FoundShow { show, is_cached: false })
    }
}
