//! Converts Spotify's items to rows of a table, as newline-delimited JSON. Pure.

use std::collections::HashSet;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::{Date, Month};

use crate::rows::Rows;
use crate::spotify::wire::{Episode, Show};
use crate::text::Phrases;

/// The items of one page as rows.
#[derive(Debug, Default)]
pub(crate) struct PageRows {
    text: Vec<u8>,
    /// The ID of each item, and where its row ends in the text.
    items: Vec<(Box<str>, usize)>,
    /// Items that are null or have no ID.
    pub(crate) nulls: u64,
    /// Episodes without a valid release date.
    pub(crate) undated: u64,
    /// Fields that are NULL because their value had the wrong type.
    pub(crate) malformed: u64,
}

impl PageRows {
    /// Converts items. `convert` pushes the row of an item and returns its ID, if it has one.
    fn new<T>(
        items: Vec<Option<T>>,
        mut convert: impl FnMut(T, &mut Self) -> Option<String>,
    ) -> Self {
        let mut page = Self { items: Vec::with_capacity(items.len()), ..Self::default() };
        for item in items {
            match item.and_then(|item| convert(item, &mut page)) {
                Some(id) => page.items.push((id.into(), page.text.len())),
                None => page.nulls += 1,
            }
        }
        page.text.shrink_to_fit();
        page
    }

    fn push_row(&mut self, row: &impl Serialize) {
        let written = serde_json::to_writer(&mut self.text, row);
        debug_assert!(written.is_ok(), "serializing to a Vec cannot fail");
        self.text.push(b'\n');
    }

    /// Returns a page of rows that hold only an ID.
    #[cfg(test)]
    pub(super) fn of_ids(ids: impl Iterator<Item = Option<String>>) -> Self {
        Self::new(ids.collect(), |id, page| {
            page.push_row(&serde_json::json!({ "id": id }));
            Some(id)
        })
    }

    /// Returns the number of items, nulls included.
    pub(crate) fn length(&self) -> u64 {
        self.items.len() as u64 + self.nulls
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|(id, _)| &**id)
    }

    /// Appends the rows to `rows` and their IDs to `ids`, until there are `max_ids`. Skips items whose IDs
    /// are already in `ids`. Returns the number of those duplicates.
    pub(crate) fn append_to(
        self,
        rows: &mut Rows,
        ids: &mut HashSet<Box<str>>,
        max_ids: usize,
    ) -> u64 {
        let mut duplicates = 0;
        let mut ends = Vec::with_capacity(self.items.len());
        for (id, end) in self.items {
            if ids.len() >= max_ids {
                break;
            }
            let is_new = ids.insert(id);
            duplicates += u64::from(!is_new);
            ends.push((end, is_new));
        }
        rows.append(&Bytes::from(self.text), ends.into_iter());
        duplicates
    }
}

/// Converts a page of shows to rows of `podcasts`.
pub(crate) fn podcasts(shows: Vec<Option<Show>>) -> PageRows {
    PageRows::new(shows, |show, page| {
        show.id.as_ref()?;
        page.malformed += u64::from(show.malformed);
        page.push_row(&show);
        show.id
    })
}

/// Converts a page of episodes to rows of `episodes`.
pub(crate) fn episodes(episodes: Vec<Option<Episode>>) -> PageRows {
    PageRows::new(episodes, |mut episode, page| {
        episode.id.as_ref()?;
        episode.release_date = episode.release_date.and_then(|text| parse_release_date(&text));
        page.malformed += u64::from(episode.malformed);
        page.undated += u64::from(episode.release_date.is_none());
        page.push_row(&episode);
        episode.id
    })
}

/// Returns the rows of `episodes` whose name or description mentions one of the phrases, and how many of
/// those have no date.
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
        // Cannot fail: this file wrote the row.
        let Ok(row) = serde_json::from_slice::<Row>(line) else { return false };
        let mut texts = [row.name, row.description].into_iter().flatten();
        let is_mention = texts.any(|text| phrases.match_any(&text, &mut folded));
        undated += u64::from(is_mention && row.release_date.is_none());
        is_mention
    });
    (rows, undated)
}

/// Parses a release date of day, month or year precision into a DATE; a month or a year becomes its first
/// day. Returns `None` if it is not a date: Spotify also returns "0000".
fn parse_release_date(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let (year, month, day) = match parts[..] {
        [year] => (year, "01", "01"),
        [year, month] => (year, month, "01"),
        [year, month, day] => (year, month, day),
        _ => return None,
    };
    let year_number = parse_digits(year, 4).filter(|year| *year > 0)?;
    let month_number: u8 = parse_digits(month, 2)?;
    let month_number = Month::try_from(month_number).ok()?;
    Date::from_calendar_date(year_number, month_number, parse_digits(day, 2)?).ok()?;
    Some(format!("{year}-{month}-{day}"))
}

/// Parses a number of exactly this many digits.
fn parse_digits<N: FromStr>(text: &str, digits: usize) -> Option<N> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests;
