//! One reading of a listing, from its first page to its end.

use std::collections::HashSet;
use std::fmt;

use crate::extraction::items::PageRows;
use crate::rows::Rows;

/// The maximum number of gaps that a description names.
const MAX_GAPS_NAMED: usize = 3;

/// Distinct IDs.
pub(super) type Ids = HashSet<Box<str>>;

/// What one reading has shown so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) rows: Rows,
    pub(super) ids: Ids,
    /// All items read, nulls and duplicates included.
    pub(super) places: u64,
    /// Confirmed nulls.
    pub(super) nulls: u64,
    pub(super) duplicates: u64,
    pub(super) undated: u64,
    pub(super) malformed: u64,
    /// How many of the rows are from the first page.
    pub(super) first_page_rows: usize,
    /// How many pages were added.
    pub(super) pages: usize,
    /// The largest `total` of the pages.
    pub(super) largest_total: u64,
    smallest_total: Option<u64>,
    /// How many times `total` rose.
    pub(super) total_rises: u32,
    /// Whether the last page with a new ID, or a page after it, has a `next`.
    pub(super) has_next: bool,
    pub(super) gaps: Vec<Gap>,
    /// A page that has only nulls counts, too.
    pub(super) gaps_in_a_row: u32,
    /// Whether an empty page was confirmed as the end.
    pub(super) reached_end: bool,
}

/// A page that contradicts other evidence each time it is requested.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) offset: u32,
    pub(super) contradiction: Contradiction,
    /// Whether a later page showed a new ID.
    pub(super) has_items_after: bool,
}

/// How a page contradicts other evidence.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contradiction {
    Empty,
    NotFound,
    Repeated,
    Nulls(u64),
    NoTotal,
}

impl Reading {
    pub(super) fn is_at_start(&self) -> bool {
        self.places == 0 && self.gaps.is_empty()
    }

    pub(super) fn record_total(&mut self, total: u64) {
        self.total_rises += u32::from(self.smallest_total.is_some() && total > self.largest_total);
        self.largest_total = self.largest_total.max(total);
        self.smallest_total =
            Some(self.smallest_total.map_or(total, |smallest| smallest.min(total)));
    }

    /// Returns the IDs of a page that no page before it has shown.
    pub(super) fn new_ids(&self, page: &PageRows) -> Ids {
        page.ids().filter(|id| !self.ids.contains(*id)).map(Box::from).collect()
    }

    /// Adds the items of a page, up to `max_items` distinct ones.
    pub(super) fn add(&mut self, page: PageRows, has_next: bool, max_items: Option<usize>) {
        let ids_before = self.ids.len();
        self.pages += 1;
        self.places += page.length();
        self.undated += page.undated;
        self.malformed += page.malformed;
        let max_items = max_items.unwrap_or(usize::MAX);
        self.duplicates += page.append_to(&mut self.rows, &mut self.ids, max_items);
        if self.ids.len() > ids_before {
            self.gaps.iter_mut().for_each(|gap| gap.has_items_after = true);
            self.has_next = has_next;
        } else {
            self.has_next |= has_next;
        }
    }

    /// Returns whether a `total` is below the places, or no page had one. Then only an empty page shows where
    /// the listing ends.
    pub(super) fn totals_are_unreliable(&self) -> bool {
        self.smallest_total.map_or(self.pages > 0, |smallest| smallest < self.places)
    }

    pub(super) fn shows_largest_total(&self) -> bool {
        self.shown() == self.largest_total
    }

    pub(super) fn shown(&self) -> u64 {
        self.ids.len() as u64 + self.nulls
    }

    /// Returns whether nothing in the reading is contradictory. Search results change between pages, so totals
    /// and duplicates are ignored once a search has enough items.
    pub(super) fn is_consistent(&self, has_enough: bool) -> bool {
        let agrees = self.smallest_total.is_none_or(|smallest| smallest == self.largest_total)
            && self.largest_total <= self.shown()
            && self.duplicates == 0;
        self.gaps.is_empty() && !self.ids.is_empty() && (has_enough || agrees)
    }

    /// Describes the evidence for an error.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{} distinct items were shown", self.ids.len());
        if self.nulls > 0 {
            text += &format!(" and {} nulls", self.nulls);
        }
        if self.duplicates > 0 {
            text += &format!(", {} items more than once", self.duplicates);
        }
        text += &match self.smallest_total {
            Some(smallest) if smallest != self.largest_total => {
                format!(", `total` was between {smallest} and {}", self.largest_total)
            }
            _ => format!(", `total` was {}", self.largest_total),
        };
        for gap in self.gaps.iter().take(MAX_GAPS_NAMED) {
            text += &format!(", the page at offset {} {}", gap.offset, gap.contradiction);
        }
        if self.gaps.len() > MAX_GAPS_NAMED {
            text += &format!(", and {} more pages like these", self.gaps.len() - MAX_GAPS_NAMED);
        }
        text
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("was empty although more items were expected"),
            Self::NotFound => f.write_str("was 404 although more items were expected"),
            Self::Repeated => f.write_str("contained only items of other pages"),
            Self::Nulls(nulls) => write!(f, "had {nulls} nulls"),
            Self::NoTotal => f.write_str("was empty and had no `total`"),
        }
    }
}
