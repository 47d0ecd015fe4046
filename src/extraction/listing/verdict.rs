//! Decides at the end of a reading: on a verdict, or to read the listing again (step 4).

use super::page::CurrentPage;
use super::reading::Reading;
use super::{Listing, Rules};
use crate::rows::Rows;

/// How many times a listing is read before it counts as incomplete: twice, and a third time if the two
/// readings differ.
pub(super) const MAX_READINGS: usize = 3;

/// Up to this many missing items are tolerated at any `max_missing_percent`, if at least as many were shown.
const MAX_ALWAYS_TOLERATED_ITEMS: u64 = 2;

/// What the evidence says about a listing.
#[derive(Debug)]
pub(in crate::extraction) enum Verdict {
    /// Whole, or within tolerance if any items are missing.
    Complete(CompleteListing),
    /// The evidence is contradictory. The text says how.
    Incomplete(String),
    /// The listing has no items. Several responses confirm this.
    Empty,
    /// Each request for the first page returned 404, with this text.
    NotFound(String),
}

/// A listing that is whole or within tolerance.
#[derive(Debug)]
pub(in crate::extraction) struct CompleteListing {
    pub(in crate::extraction) rows: Rows,
    /// How many of the rows are from the first page.
    pub(in crate::extraction) first_page_rows: usize,
    /// The number of items in the listing: its largest `total`, but for a search at most `max_items`.
    pub(in crate::extraction) wanted: u64,
    /// How many of them were not shown.
    pub(in crate::extraction) missing: u64,
    pub(in crate::extraction) nulls: u64,
    pub(in crate::extraction) duplicates: u64,
    pub(in crate::extraction) undated: u64,
    pub(in crate::extraction) malformed: u64,
}

impl CompleteListing {
    fn new(reading: Reading, wanted: u64, missing: u64) -> Self {
        Self {
            rows: reading.rows,
            first_page_rows: reading.first_page_rows,
            wanted,
            missing,
            nulls: reading.nulls,
            duplicates: reading.duplicates,
            undated: reading.undated,
            malformed: reading.malformed,
        }
    }

    /// Returns the number of wanted items if some of them are missing.
    pub(in crate::extraction) fn wanted_if_missing(&self) -> Option<u64> {
        (self.missing > 0).then_some(self.wanted)
    }

    /// Returns whether the missing items are within `max_missing_percent` or
    /// [`MAX_ALWAYS_TOLERATED_ITEMS`].
    pub(in crate::extraction) fn is_within_tolerance(&self, max_missing_percent: u8) -> bool {
        let shown = self.wanted.saturating_sub(self.missing);
        let percent = u64::from(max_missing_percent);
        self.missing.saturating_mul(100) <= percent.saturating_mul(self.wanted)
            || (self.missing <= MAX_ALWAYS_TOLERATED_ITEMS && self.missing <= shown)
    }
}

impl Listing {
    /// Ends the reading in progress. Returns `None` if the listing must be read again.
    pub(super) fn end_reading(&mut self) -> Option<Verdict> {
        let has_enough = self.has_max_items() || self.has_read_first_page_only();
        let reading = std::mem::take(&mut self.reading);
        self.page = CurrentPage::default();
        self.prefetched.clear();
        self.largest_total = self.largest_total.max(reading.largest_total);

        let shows_all_earlier_ids =
            self.earlier_readings.iter().all(|ids| ids.is_subset(&reading.ids));
        let readings = self.earlier_readings.len() + 1;
        if reading.is_consistent(has_enough) && shows_all_earlier_ids {
            Some(Verdict::Complete(CompleteListing::new(reading, self.wanted(), 0)))
        } else if self.earlier_readings.contains(&reading.ids) {
            Some(self.decide_by_missing(reading, readings))
        } else if readings == MAX_READINGS {
            Some(Verdict::Incomplete(format!(
                "no two of {readings} readings showed the same items; the last one: {}",
                reading.describe()
            )))
        } else {
            self.earlier_readings.push(reading.ids);
            None
        }
    }

    fn has_read_first_page_only(&self) -> bool {
        let Rules { page_size, max_offset, .. } = self.rules;
        max_offset == page_size && self.page.offset >= page_size
    }

    pub(super) fn max_items(&self) -> u64 {
        self.rules.max_items.map_or(u64::MAX, |max| max as u64)
    }

    fn wanted(&self) -> u64 {
        self.largest_total.min(self.max_items())
    }

    /// Decides by the items that are missing from two readings with the same IDs.
    fn decide_by_missing(&self, reading: Reading, readings: usize) -> Verdict {
        let evidence = reading.describe();
        if reading.ids.is_empty() {
            return Verdict::Incomplete(format!("all items are null: {evidence}"));
        }
        let is_total_too_small = self.largest_total < reading.shown();
        // A gap counts as at least a whole page, if there are items after it or the total is too small.
        let gaps =
            reading.gaps.iter().filter(|gap| is_total_too_small || gap.has_items_after).count();
        let missing_in_gaps = gaps as u64 * u64::from(self.rules.page_size);
        // Nulls do not count toward `max_items`: the total of a search may be far above it.
        let expected_ids = self.largest_total.saturating_sub(reading.nulls).min(self.max_items());
        let missing = expected_ids.saturating_sub(reading.ids.len() as u64).max(missing_in_gaps);
        let wanted = if is_total_too_small { reading.shown() + missing } else { self.wanted() };
        let complete = CompleteListing::new(reading, wanted, missing);
        if complete.is_within_tolerance(self.rules.max_missing_percent) {
            Verdict::Complete(complete)
        } else {
            Verdict::Incomplete(format!(
                "{missing} of {wanted} items are missing in each of {readings} readings: {evidence}"
            ))
        }
    }
}
