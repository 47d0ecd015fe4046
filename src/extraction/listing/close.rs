//! Decides a listing at the end of a reading: it stands, is read again, or what it lacks decides.

use super::reading::Reading;
use super::{Current, Listing, MAX_READINGS, Verdict};

impl Listing {
    /// The reading has ended: it stands, or the listing is read again, or what it lacks decides.
    pub(super) fn close(&mut self) {
        let enough =
            self.has_enough() || self.is_one_page() && self.current.offset >= self.rules.end;
        let shows_all_earlier = self.earlier.iter().all(|ids| ids.is_subset(&self.reading.seen));
        let was_shown_before = self.earlier.contains(&self.reading.seen);
        let readings = self.earlier.len() + 1;
        let reading = std::mem::take(&mut self.reading);
        self.current = Current::default();
        self.ahead.clear();
        if reading.stands(enough) && shows_all_earlier {
            self.verdict = Some(Verdict::Complete(reading.complete(self.largest_total, 0)));
        } else if was_shown_before {
            self.verdict = Some(self.decide(reading, readings));
        } else if readings == MAX_READINGS {
            self.verdict = Some(Verdict::Incomplete(format!(
                "no two of {readings} readings showed the same items; the last one: {}",
                reading.describe()
            )));
        } else {
            self.earlier.push(reading.seen);
        }
    }

    /// Decides by what two readings of the same items lack.
    fn decide(&self, reading: Reading, readings: usize) -> Verdict {
        let most = self.rules.enough.map_or(u64::MAX, |enough| enough as u64);
        let wanted = self.largest_total.min(most);
        let shown = reading.shown();
        let is_false = self.largest_total < shown;
        let gaps = reading.gaps.iter().filter(|gap| is_false || gap.has_items_behind).count();
        // Nulls take no place among the items of a search, whose total may be far above its end.
        let existing = self.largest_total.saturating_sub(reading.nulls).min(most);
        let missing = existing
            .saturating_sub(reading.seen.len() as u64)
            .max(gaps as u64 * u64::from(self.rules.page_size));
        let wanted = if is_false { shown + missing } else { wanted };
        if reading.seen.is_empty() {
            let detail = format!("nothing but nulls was shown; {}", reading.describe());
            return Verdict::Incomplete(detail);
        }
        let evidence = reading.describe();
        let complete = reading.complete(wanted, missing);
        if complete.is_within(self.rules.max_missing_percent) {
            Verdict::Complete(complete)
        } else {
            Verdict::Incomplete(format!(
                "{missing} of {wanted} items are missing in each of {readings} readings: {evidence}"
            ))
        }
    }
}
