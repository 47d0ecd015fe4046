//! Chooses the term's show, and remembers it so that all tables of a term hold the same show.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::Extractor;
use super::search::describe_search;
use crate::context::Context;
use crate::failure::Failure;
use crate::names::{ChosenShow, ShowId, ShowMatch, Term};
use crate::text::fold;

/// The show of a term, if it was found recently.
#[derive(Debug, Default)]
pub(super) struct CachedShow(Option<(ChosenShow, Instant)>);

impl CachedShow {
    pub(super) fn get(&self) -> Option<&ChosenShow> {
        let (show, expires_at) = self.0.as_ref()?;
        (Instant::now() < *expires_at).then_some(show)
    }

    pub(super) fn set(&mut self, show: ChosenShow, ttl: Duration) {
        self.0 = Some((show, Instant::now() + ttl));
    }

    fn forget(&mut self, id: &ShowId) {
        if self.0.as_ref().is_some_and(|(show, _)| show.id == *id) {
            self.0 = None;
        }
    }
}

/// Chooses the term's show among the rows of a search's first page: the first show whose name is the term,
/// otherwise the first show.
pub(super) fn choose<'a>(term: &Term, rows: impl Iterator<Item = &'a [u8]>) -> Option<ChosenShow> {
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

impl Extractor {
    /// Finds the term's show, with the tolerance that a search has at least.
    pub async fn show(&self, term: &Term, context: &Context) -> Result<ChosenShow, Failure> {
        self.find_show(term, 0, context).await.map(|(show, _)| show)
    }

    /// Returns the term's show, and whether it was searched for just now. Concurrent callers wait for the
    /// search in progress.
    pub(super) async fn find_show(
        &self,
        term: &Term,
        max_missing_percent: u8,
        context: &Context,
    ) -> Result<(ChosenShow, bool), Failure> {
        let slot = self.shows.slot(term.folded());
        let cause = || format!("another message is making {}", describe_search(term));
        let mut cached = context.deadline.wait_to_start(slot.lock(), cause).await?;
        if let Some(show) = cached.get() {
            return Ok((show.clone(), false));
        }
        let page = self.search_first_page(term, max_missing_percent, context).await?;
        let show = choose(term, page.rows.lines()).ok_or_else(|| {
            let detail = "no show in it has a valid id".to_owned();
            Failure::ListingIncomplete { what: describe_search(term), detail, after: None }
        })?;
        cached.set(show.clone(), self.show_ttl);
        Ok((show, true))
    }

    /// Forgets the term's show if it is still this one.
    pub(super) async fn forget_show(&self, term: &Term, id: &ShowId) {
        self.shows.slot(term.folded()).lock().await.forget(id);
    }
}
