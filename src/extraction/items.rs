//! Spotify's items as rows of a table, in BigQuery's newline-delimited JSON. Pure.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::{Date, Month};

use crate::rows::Rows;
use crate::spotify::wire::{Episode, Show};
use crate::text::Phrases;

/// One page's items as rows.
#[derive(Debug, Default)]
pub(crate) struct PageRows {
    text: Vec<u8>,
    /// The ids of the page's items in their order, and where the row of each ends in the text.
    items: Vec<(Box<str>, usize)>,
    /// Items that are null, or have no id.
    pub(crate) nulls: u64,
    /// Episodes whose release date is no date.
    pub(crate) undated: u64,
    /// Fields that are NULL because their value had the wrong type.
    pub(crate) malformed: u64,
}

impl PageRows {
    fn new<T>(items: Vec<Option<T>>, mut push: impl FnMut(T, &mut Self) -> Option<String>) -> Self {
        let mut page = Self { items: Vec::with_capacity(items.len()), ..Self::default() };
        for item in items {
            match item.and_then(|item| push(item, &mut page)) {
                Some(id) => page.items.push((id.into(), page.text.len())),
                None => page.nulls += 1,
            }
        }
        page.text.shrink_to_fit();
        page
    }

    /// Appends a row to the text.
    fn push(&mut self, row: &impl Serialize) {
        let written = serde_json::to_writer(&mut self.text, row);
        debug_assert!(written.is_ok(), "a row is JSON");
        self.text.push(b'\n');
    }

    /// A page of these ids, each in a row without anything else.
    #[cfg(test)]
    pub(super) fn of_ids(ids: impl Iterator<Item = Option<String>>) -> Self {
        Self::new(ids.collect(), |id, page| {
            page.push(&serde_json::json!({ "id": id }));
            Some(id)
        })
    }

    /// How many items the page has, nulls included.
    pub(crate) fn length(&self) -> u64 {
        self.items.len() as u64 + self.nulls
    }

    /// The ids of the page's items.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|(id, _)| &**id)
    }

    /// Appends the page's rows to `rows`, except items that are in `seen`, until `seen` holds `most`.
    /// Returns the number of items that were in it.
    pub(crate) fn append_to(
        self,
        rows: &mut Rows,
        seen: &mut HashSet<Box<str>>,
        most: usize,
    ) -> u64 {
        let text = Bytes::from(self.text);
        let (mut doubles, mut start, mut end, mut count) = (0, 0, 0, 0);
        for (id, item_end) in self.items {
            if seen.len() >= most {
                break;
            }
            if seen.insert(id) {
                count += 1;
            } else {
                rows.push(text.slice(start..end), count);
                (start, count) = (item_end, 0);
                doubles += 1;
            }
            end = item_end;
        }
        rows.push(text.slice(start..end), count);
        doubles
    }
}

/// A row of `podcasts`.
#[derive(Serialize)]
struct ShowRow<'a> {
    name: Option<String>,
    description: Option<String>,
    id: &'a str,
    total_episodes: Option<i64>,
}

/// A row of `episodes` and `mentions`.
#[derive(Serialize)]
struct EpisodeRow<'a> {
    id: &'a str,
    name: Option<String>,
    description: Option<String>,
    release_date: Option<String>,
    duration_ms: Option<i64>,
    language: Option<String>,
    explicit: Option<bool>,
    r#type: Option<String>,
}

/// Converts a page of shows to rows of `podcasts`.
pub(crate) fn podcasts(shows: Vec<Option<Show>>) -> PageRows {
    PageRows::new(shows, |show, page| {
        let id = show.id?;
        page.malformed += u64::from(show.malformed);
        page.push(&ShowRow {
            name: show.name,
            description: show.description,
            id: &id,
            total_episodes: show.total_episodes,
        });
        Some(id)
    })
}

/// Converts a page of episodes to rows of `episodes`.
pub(crate) fn episodes(episodes: Vec<Option<Episode>>) -> PageRows {
    PageRows::new(episodes, |episode, page| {
        let id = episode.id?;
        let release_date = episode.release_date.and_then(|text| date(&text));
        page.malformed += u64::from(episode.malformed);
        page.undated += u64::from(release_date.is_none());
        page.push(&EpisodeRow {
            id: &id,
            name: episode.name,
            description: episode.description,
            release_date,
            duration_ms: episode.duration_ms,
            language: episode.language,
            explicit: episode.explicit,
            r#type: episode.r#type,
        });
        Some(id)
    })
}

/// Returns those rows of `episodes` whose name or description mentions one of the phrases, and how many
/// of them have no date.
pub(crate) fn mentions(episodes: &Rows, phrases: &Phrases) -> (Rows, u64) {
    #[derive(Deserialize)]
    struct Row {
        name: Option<String>,
        description: Option<String>,
        release_date: Option<String>,
    }
    let mut folded = String::new();
    let mut undated = 0;
    let rows = episodes.filter(|line| {
        let Ok(row) = serde_json::from_slice::<Row>(line) else { return false };
        let mut texts = [row.name, row.description].into_iter().flatten();
        let is_mention = texts.any(|text| phrases.match_any(&text, &mut folded));
        undated += u64::from(is_mention && row.release_date.is_none());
        is_mention
    });
    (rows, undated)
}

/// A release date of any of Spotify's three precisions, as BigQuery's DATE writes it: month and
/// year become their first day. Returns `None` if it is no date ("0000" has been seen).
fn date(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        parts.next().map(|part| {
            let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            if plain { part.parse::<u16>().ok() } else { None }
        })
    };
    let (year, month, day) = (next(4)??, next(2).unwrap_or(Some(1))?, next(2).unwrap_or(Some(1))?);
    if parts.next().is_some() || year == 0 {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    Some(format!("{year:04}-{:02}-{:02}", u8::from(date.month()), date.day()))
}

#[cfg(test)]
mod tests;
