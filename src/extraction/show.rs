//! Which show is the term's.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Extractor;
use super::search::search_of;
use crate::context::Context;
use crate::failure::Failure;
use crate::names::{ChosenShow, ShowId, ShowMatch, Term};
use crate::text::fold;

/// A term's show, for a while.
#[derive(Debug)]
pub(super) struct Remembered {
    taken: ChosenShow,
    until: Instant,
}

impl Remembered {
    pub(super) fn new(taken: ChosenShow, memory: Duration) -> Self {
        Self { taken, until: Instant::now() + memory }
    }
}

/// Whether a show is remembered that is not too old.
pub(super) fn is_known(remembered: &Option<Remembered>) -> bool {
    remembered.as_ref().is_some_and(|known| Instant::now() < known.until)
}

/// The term's show among the rows of a search's first page: the first whose name is the term, else the
/// first.
pub(super) fn choose<'a>(term: &Term, rows: impl Iterator<Item = &'a [u8]>) -> Option<ChosenShow> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        name: Option<String>,
    }
    let shows = rows.filter_map(|row| {
        let Row { id, name } = serde_json::from_slice(row).ok()?;
        let named = name.as_deref().is_some_and(|name| fold(name) == term.folded());
        let matched_by = Some(if named { ShowMatch::Name } else { ShowMatch::First });
        Some(ChosenShow { id: ShowId::from_spotify(&id)?, name, matched_by })
    });
    let shows: Vec<ChosenShow> = shows.collect();
    let named = shows.iter().find(|show| show.matched_by == Some(ShowMatch::Name));
    named.or(shows.first()).cloned()
}

impl Extractor {
    /// The term's show.
    pub async fn show(&self, term: &Term, context: &Context) -> Result<ChosenShow, Failure> {
        let slot = self.shows.slot(term.folded());
        self.show_of(term, 0, &slot, context).await.map(|(taken, _)| taken)
    }

    /// The term's show, and whether it was searched for just now. Concurrent callers wait for the
    /// search in progress.
    pub(super) async fn show_of(
        &self,
        term: &Term,
        max_missing_percent: u8,
        slot: &Mutex<Option<Remembered>>,
        context: &Context,
    ) -> Result<(ChosenShow, bool), Failure> {
        let waits_for = || format!("another message makes {}", search_of(term));
        let mut remembered = context.deadline.wait_to_start(slot.lock(), waits_for).await?;
        if let Some(Remembered { taken, until }) = &*remembered
            && Instant::now() < *until
        {
            return Ok((taken.clone(), false));
        }
        let page = self.first_page(term, max_missing_percent, context).await?;
        let taken = choose(term, page.rows.lines()).ok_or_else(|| {
            let detail = "no show in it has an id that can be requested".to_owned();
            Failure::ListingIncomplete { what: search_of(term), detail, after: None }
        })?;
        *remembered = Some(Remembered::new(taken.clone(), self.show_memory));
        Ok((taken, true))
    }

    /// Forgets the term's show if it is still this one.
    pub(super) async fn forget_show(&self, slot: &Mutex<Option<Remembered>>, show: &ShowId) {
        let mut remembered = slot.lock().await;
        if remembered.as_ref().is_some_and(|remembered| remembered.taken.id == *show) {
            *remembered = None;
        }
    }
}
