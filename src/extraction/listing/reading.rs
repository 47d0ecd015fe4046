//! One reading of a listing from its first page to its end, and what it shows.

use std::collections::HashSet;
use std::fmt;

use super::Kind;
use crate::extraction::items::PageRows;
use crate::rows::Rows;

/// How many gaps a description names.
const MAX_GAPS_NAMED: usize = 3;

/// This many missing items are tolerated at any `max_missing_percent`.
const ALWAYS_TOLERATED: u64 = 2;

/// What one reading has shown so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    rows: Rows,
    /// The distinct ids.
    pub(super) seen: HashSet<Box<str>>,
    /// All items read, nulls and doubles included.
    pub(super) places: u64,
    /// Nulls that another request confirmed.
    pub(super) nulls: u64,
    doubles: u64,
    undated: u64,
    malformed: u64,
    pub(super) first_page: usize,
    /// How many pages were added.
    pub(super) pages: usize,
    pub(super) largest_total: u64,
    smallest_total: Option<u64>,
    /// How often the total rose while it was read.
    pub(super) rises: u32,
    /// Whether a page named a next one, and no page since has shown a new id.
    pub(super) next: bool,
    pub(super) gaps: Vec<Gap>,
    /// Pages in a row that brought nothing to rely on: gaps, and pages of nulls only.
    pub(super) barren: u32,
    /// Whether an empty page, requested twice, was its end.
    pub(super) ended: bool,
}

/// A page that contradicts other evidence each time that it is requested.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) offset: u32,
    pub(super) why: Why,
    /// Whether a later page showed a new id.
    pub(super) has_items_behind: bool,
}

/// How a page contradicts other evidence.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    Empty,
    NotFound,
    SeenBefore,
    Nulls(u64),
    NoTotal,
}

/// A listing that is complete, or lacks no more than the tolerance allows.
#[derive(Debug)]
pub(in crate::extraction) struct Complete {
    pub(in crate::extraction) rows: Rows,
    /// How many of the rows are from the first page.
    pub(in crate::extraction) first_page: usize,
    /// How many items the listing has by its largest total.
    pub(in crate::extraction) listed: u64,
    /// How many of them were not shown.
    pub(in crate::extraction) missing: u64,
    pub(in crate::extraction) nulls: u64,
    pub(in crate::extraction) doubles: u64,
    pub(in crate::extraction) undated: u64,
    pub(in crate::extraction) malformed: u64,
}

impl Complete {
    /// Whether no more is missing than is tolerated.
    pub(in crate::extraction) fn is_within(&self, max_missing_percent: u8) -> bool {
        let shown = self.listed.saturating_sub(self.missing);
        let percent = u64::from(max_missing_percent);
        self.missing.saturating_mul(100) <= percent.saturating_mul(self.listed)
            || self.missing <= ALWAYS_TOLERATED && self.missing <= shown
    }
}

impl Reading {
    pub(super) fn note_total(&mut self, total: u64) {
        self.rises += u32::from(self.smallest_total.is_some() && total > self.largest_total);
        self.largest_total = self.largest_total.max(total);
        self.smallest_total = Some(self.smallest_total.map_or(total, |least| least.min(total)));
    }

    /// The ids of a page that are new.
    pub(super) fn fresh(&self, page: &PageRows) -> HashSet<Box<str>> {
        page.ids().filter(|id| !self.seen.contains(*id)).map(Box::from).collect()
    }

    /// What a page is, in view of the pages before it.
    pub(super) fn kind(&self, page: &PageRows) -> Kind {
        let (length, nulls) = (page.length(), page.nulls);
        if length == 0 {
            Kind::Blank
        } else if nulls > 5 && 2 * nulls > length {
            Kind::MostlyNulls
        } else if nulls < length && page.ids().all(|id| self.seen.contains(id)) {
            Kind::SeenBefore
        } else if nulls > 0 {
            Kind::SomeNulls
        } else {
            Kind::Clean
        }
    }

    /// Adds a page's items.
    pub(super) fn add(&mut self, page: PageRows, next: bool, enough: Option<usize>) {
        let before = self.seen.len();
        self.pages += 1;
        self.places += page.length();
        self.undated += page.undated;
        self.malformed += page.malformed;
        let most = enough.unwrap_or(usize::MAX);
        self.doubles += page.append_to(&mut self.rows, &mut self.seen, most);
        if self.seen.len() > before {
            self.gaps.iter_mut().for_each(|gap| gap.has_items_behind = true);
            self.next = next;
        } else {
            self.next |= next;
        }
    }

    /// Whether a total is below the items that were read, and so says nothing about the end.
    pub(super) fn has_false_total(&self) -> bool {
        self.smallest_total.map_or(self.pages > 0, |least| least < self.places)
    }

    /// Whether the shown items are as many as the largest total says.
    pub(super) fn is_exactly_shown(&self) -> bool {
        self.shown() == self.largest_total
    }

    pub(super) fn shown(&self) -> u64 {
        self.seen.len() as u64 + self.nulls
    }

    /// Whether nothing in this reading contradicts it. A search that has `enough` moves as a rule: its
    /// totals and doubles prove nothing.
    pub(super) fn stands(&self, enough: bool) -> bool {
        let agrees = self.smallest_total.is_none_or(|least| least == self.largest_total)
            && self.largest_total <= self.shown()
            && self.doubles == 0;
        self.gaps.is_empty() && !self.seen.is_empty() && (enough || agrees)
    }

    pub(super) fn complete(self, listed: u64, missing: u64) -> Complete {
        Complete {
            rows: self.rows,
            first_page: self.first_page,
            listed,
            missing,
            nulls: self.nulls,
            doubles: self.doubles,
            undated: self.undated,
            malformed: self.malformed,
        }
    }

    /// The evidence in a few words.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{} distinct items were shown", self.seen.len());
        if self.nulls > 0 {
            text += &format!(" and {} nulls", self.nulls);
        }
        if self.doubles > 0 {
            text += &format!(", {} items more than once", self.doubles);
        }
        text += &match self.smallest_total {
            Some(least) if least != self.largest_total => {
                format!(", `total` was between {least} and {}", self.largest_total)
            }
            _ => format!(", `total` was {}", self.largest_total),
        };
        for gap in self.gaps.iter().take(MAX_GAPS_NAMED) {
            text += &format!(", the page at offset {} {}", gap.offset, gap.why);
        }
        if self.gaps.len() > MAX_GAPS_NAMED {
            text += &format!(", and {} more like it", self.gaps.len() - MAX_GAPS_NAMED);
        }
        text
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("was empty although more was promised"),
            Self::NotFound => f.write_str("was 404 although more was promised"),
            Self::SeenBefore => f.write_str("only repeated items of other pages"),
            Self::NoTotal => f.write_str("was empty without saying that there is nothing"),
            Self::Nulls(nulls) => write!(f, "had {nulls} nulls"),
        }
    }
}
