//! Spotify's items as rows of a table, in BigQuery's newline-delimited JSON. Pure.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Serialize;
use time::{Date, Month};

use crate::spotify::wire::{Episode, Quoted, Show};
use crate::text::fold_into;

/// The rows of one table, in order and unique: what an upload sends and a test reads.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    chunks: Vec<Bytes>,
    count: u64,
    bytes: usize,
}

impl Rows {
    /// How many rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The length of the text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The text in pieces, each of whole lines; clones are cheap.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Takes over a page's rows, but for items that `seen` holds already. Ends after `most` items.
    /// Answers how many were seen before.
    pub(crate) fn append(
        &mut self,
        page: PageRows,
        seen: &mut HashSet<Box<str>>,
        most: usize,
    ) -> u64 {
        let mut doubles = 0;
        let mut start = 0;
        let mut end = 0;
        for item in page.items {
            if seen.len() >= most {
                break;
            }
            if seen.insert(item.id) {
                self.count += u64::from(item.end > end);
            } else {
                self.push(page.text.slice(start..end));
                start = item.end;
                doubles += 1;
            }
            end = item.end;
        }
        self.push(page.text.slice(start..end));
        doubles
    }

    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }
}

/// One page's items as rows.
#[derive(Debug, Default)]
pub(crate) struct PageRows {
    text: Bytes,
    items: Vec<Item>,
    /// Items that are null, or have no id.
    pub(crate) nulls: u64,
    /// Episodes whose release date is no date.
    pub(crate) undated: u64,
}

impl PageRows {
    /// The ids of the page's items, those without a row included.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| &*item.id)
    }
}

#[derive(Debug)]
struct Item {
    id: Box<str>,
    /// Where the item's row ends in the text; where the one before ended if it has none.
    end: usize,
}

#[derive(Serialize)]
struct PodcastRow<'a> {
    name: Option<&'a Quoted<'a>>,
    description: Option<&'a Quoted<'a>>,
    id: &'a str,
    total_episodes: Option<i64>,
}

#[derive(Serialize)]
struct EpisodeRow<'a> {
    id: &'a str,
    name: Option<&'a Quoted<'a>>,
    description: Option<&'a Quoted<'a>>,
    release_date: Option<String>,
    duration_ms: Option<i64>,
    language: Option<&'a str>,
    explicit: Option<bool>,
    r#type: Option<&'a str>,
}

/// A page of shows as rows of `podcasts`.
pub(crate) fn podcasts(items: &[Option<Show<'_>>]) -> PageRows {
    page(items, |show, page| {
        let id = show.id.as_deref()?;
        page.line(&PodcastRow {
            name: show.name.as_ref(),
            description: show.description.as_ref(),
            id,
            total_episodes: show.total_episodes,
        });
        Some(id.into())
    })
}

/// A page of episodes as rows of `episodes`, or of `mentions` where a mention is given.
pub(crate) fn episodes(items: &[Option<Episode<'_>>], mention: Option<&str>) -> PageRows {
    let mut folded = String::new();
    page(items, |episode, page| {
        let id = episode.id.as_deref()?;
        let mut holds = |text: Option<&Quoted<'_>>, mention: &str| {
            text.and_then(|text| text.read().ok()).is_some_and(|text| {
                fold_into(&text, &mut folded);
                folded.contains(mention)
            })
        };
        let wanted = mention.is_none_or(|mention| {
            holds(episode.name.as_ref(), mention) || holds(episode.description.as_ref(), mention)
        });
        if !wanted {
            return Some(id.into());
        }
        let release_date = episode.release_date.as_deref().and_then(date);
        page.undated += u64::from(release_date.is_none());
        page.line(&EpisodeRow {
            id,
            name: episode.name.as_ref(),
            description: episode.description.as_ref(),
            release_date,
            duration_ms: episode.duration_ms,
            language: episode.language.as_deref().or(episode.languages.first().map(|text| &**text)),
            explicit: episode.explicit,
            r#type: episode.r#type.as_deref(),
        });
        Some(id.into())
    })
}

struct Building {
    text: Vec<u8>,
    undated: u64,
}

impl Building {
    fn line(&mut self, row: &impl Serialize) {
        // Writing a struct of plain values to memory has no way to fail.
        let _ = serde_json::to_writer(&mut self.text, row);
        self.text.push(b'\n');
    }
}

fn page<T>(
    items: &[Option<T>],
    mut row: impl FnMut(&T, &mut Building) -> Option<Box<str>>,
) -> PageRows {
    let mut building = Building { text: Vec::new(), undated: 0 };
    let mut done = Vec::with_capacity(items.len());
    for item in items.iter().flatten() {
        if let Some(id) = row(item, &mut building) {
            done.push(Item { id, end: building.text.len() });
        }
    }
    PageRows {
        nulls: (items.len() - done.len()) as u64,
        undated: building.undated,
        text: Bytes::from(building.text.into_boxed_slice()),
        items: done,
    }
}

/// A release date of any of Spotify's three precisions, as BigQuery's DATE writes it: month and
/// year become their first day. Nothing where it is no date ("0000" has been seen).
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
mod tests {
    use super::*;

    fn text(rows: &Rows) -> String {
        rows.chunks().iter().map(|chunk| std::str::from_utf8(chunk).unwrap()).collect()
    }

    fn shows(ids: &[&str]) -> PageRows {
        let json = ids
            .iter()
            .map(|id| {
                if *id == "null" {
                    id.to_string()
                } else {
                    format!(r#"{{"id":"{id}","name":"n"}}"#)
                }
            })
            .collect::<Vec<_>>()
            .join(",");
        let json = format!("[{json}]");
        let items: Vec<Option<Show<'_>>> = serde_json::from_str(&json).unwrap();
        podcasts(&items)
    }

    fn ids(rows: &Rows) -> Vec<String> {
        text(rows)
            .lines()
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                row["id"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn doubles_are_dropped_wherever_they_stand_and_order_is_kept() {
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        assert_eq!(rows.append(shows(&["a", "b", "a", "null"]), &mut seen, 50), 1);
        assert_eq!(rows.append(shows(&["b", "c", "d", "b", "e"]), &mut seen, 50), 2);
        assert_eq!(ids(&rows), ["a", "b", "c", "d", "e"]);
        assert_eq!((rows.count(), rows.bytes()), (5, text(&rows).len()));
        assert_eq!(shows(&["a", "null"]).nulls, 1);
    }

    #[test]
    fn no_more_than_are_wanted() {
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        rows.append(shows(&["a", "b"]), &mut seen, 3);
        rows.append(shows(&["a", "c", "d"]), &mut seen, 3);
        assert_eq!(ids(&rows), ["a", "b", "c"]);
        assert_eq!(rows.count(), 3);
    }

    #[test]
    fn an_episode_without_a_mention_is_seen_and_has_no_row() {
        let items: Vec<Option<Episode<'_>>> = serde_json::from_str(
            r#"[{"id":"a","name":"x"},{"id":"b","name":"GRUPO\u00a0BOTICÁRIO"},{"id":"b"},
               {"id":"c","description":"no grupo boticario."},{"id":null}]"#,
        )
        .unwrap();
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        let page = episodes(&items, Some("grupo boticario"));
        assert_eq!(page.nulls, 1);
        assert_eq!(rows.append(page, &mut seen, usize::MAX), 1);
        assert_eq!(ids(&rows), ["b", "c"]);
        assert_eq!((rows.count(), seen.len()), (2, 3));
    }

    #[test]
    fn dates_of_each_precision() {
        for (given, expected) in [
            ("1981-12-15", Some("1981-12-15")),
            ("1981-12", Some("1981-12-01")),
            ("1981", Some("1981-01-01")),
            ("2024-02-29", Some("2024-02-29")),
            ("2023-02-29", None),
            ("0000", None),
            ("1981-13", None),
            ("1981-1-1", None),
            ("1981-01-01-01", None),
            ("19810101", None),
            ("", None),
            ("+981", None),
        ] {
            assert_eq!(date(given).as_deref(), expected, "{given:?}");
        }
    }
}
