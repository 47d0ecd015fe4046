//! Spotify's items as rows of a table, in BigQuery's newline-delimited JSON. Pure.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use time::{Date, Month};

use crate::rows::Rows;
use crate::spotify::wire::{Episode, Quoted, Show};
use crate::text::Phrases;

/// One page's items as rows.
#[derive(Debug, Default)]
pub(crate) struct PageRows {
    text: Bytes,
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
    /// A page of these ids, each in a row without anything else.
    #[cfg(test)]
    pub(super) fn of_ids(ids: impl Iterator<Item = Option<String>>) -> Self {
        let items: Vec<Option<String>> = ids.collect();
        page(&items, |id, page| {
            let json = format!("{{\"id\":\"{id}\"}}\n");
            page.text.extend_from_slice(json.as_bytes());
            Some(id.as_str().into())
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
        let (mut doubles, mut start, mut end, mut count) = (0, 0, 0, 0);
        for (id, item_end) in self.items {
            if seen.len() >= most {
                break;
            }
            if seen.insert(id) {
                count += 1;
            } else {
                rows.push(self.text.slice(start..end), count);
                (start, count) = (item_end, 0);
                doubles += 1;
            }
            end = item_end;
        }
        rows.push(self.text.slice(start..end), count);
        doubles
    }
}

/// A page of shows as rows of `podcasts`.
pub(crate) fn podcasts(items: &[Option<Show<'_>>]) -> PageRows {
    page(items, |show, page| {
        let id = show.id.as_ref()?;
        let mut row = page.row();
        row.text("name", show.name.as_ref());
        row.text("description", show.description.as_ref());
        row.text("id", Some(id));
        row.number("total_episodes", show.total_episodes);
        row.end();
        page.malformed += u64::from(show.malformed);
        Some(id.read().into())
    })
}

/// A page of episodes as rows of `episodes`.
pub(crate) fn episodes(items: &[Option<Episode<'_>>]) -> PageRows {
    page(items, |episode, page| {
        let id = episode.id.as_ref()?;
        let release_date = episode.release_date.as_ref().and_then(|text| date(&text.read()));
        let mut row = page.row();
        row.text("id", Some(id));
        row.text("name", episode.name.as_ref());
        row.text("description", episode.description.as_ref());
        row.json(
            "release_date",
            release_date.as_ref().map(|date| format!("\"{date}\"")).as_deref(),
        );
        row.number("duration_ms", episode.duration_ms);
        row.text("language", episode.language.as_ref());
        row.json(
            "explicit",
            episode.explicit.map(|explicit| if explicit { "true" } else { "false" }),
        );
        row.text("type", episode.r#type.as_ref());
        row.end();
        page.undated += u64::from(release_date.is_none());
        page.malformed += u64::from(episode.malformed);
        Some(id.read().into())
    })
}

/// Returns those rows of `episodes` whose name or description mentions one of the phrases, and how many
/// of them have no date.
pub(crate) fn mentions(episodes: &Rows, phrases: &Phrases) -> (Rows, u64) {
    #[derive(Deserialize)]
    struct Row<'a> {
        #[serde(borrow)]
        name: &'a RawValue,
        #[serde(borrow)]
        description: &'a RawValue,
        #[serde(borrow)]
        release_date: &'a RawValue,
    }
    let mut folded = String::new();
    let mut undated = 0;
    let rows = episodes.filter(|line| {
        let Ok(row) = serde_json::from_slice::<Row<'_>>(line) else { return false };
        let is_mention = [row.name, row.description]
            .into_iter()
            .filter_map(|json| Quoted::from_json(json.get()))
            .any(|text| phrases.match_any(&text.read(), &mut folded));
        undated += u64::from(is_mention && row.release_date.get() == "null");
        is_mention
    });
    (rows, undated)
}

#[derive(Default)]
struct Building {
    text: Vec<u8>,
    undated: u64,
    malformed: u64,
}

impl Building {
    fn row(&mut self) -> Row<'_> {
        Row { text: &mut self.text, before: "{" }
    }
}

/// A row as it is written. Texts are JSON already, so that no serializer is needed.
struct Row<'a> {
    text: &'a mut Vec<u8>,
    before: &'static str,
}

impl Row<'_> {
    fn json(&mut self, column: &str, value: Option<&str>) {
        for part in [self.before, "\"", column, "\":", value.unwrap_or("null")] {
            self.text.extend_from_slice(part.as_bytes());
        }
        self.before = ",";
    }

    fn text(&mut self, column: &str, value: Option<&Quoted<'_>>) {
        self.json(column, value.map(Quoted::as_json));
    }

    fn number(&mut self, column: &str, value: Option<i64>) {
        self.json(column, value.map(|value| value.to_string()).as_deref());
    }

    fn end(self) {
        self.text.extend_from_slice(b"}\n");
    }
}

fn page<T>(
    items: &[Option<T>],
    mut row: impl FnMut(&T, &mut Building) -> Option<Box<str>>,
) -> PageRows {
    let mut building = Building::default();
    let mut done = Vec::with_capacity(items.len());
    for item in items.iter().flatten() {
        if let Some(id) = row(item, &mut building) {
            done.push((id, building.text.len()));
        }
    }
    PageRows {
        nulls: (items.len() - done.len()) as u64,
        undated: building.undated,
        malformed: building.malformed,
        text: Bytes::from(building.text.into_boxed_slice()),
        items: done,
    }
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
