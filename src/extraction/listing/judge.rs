//! Decides the current page: whether the answers so far settle it, contradict other evidence, or leave a gap.

use super::reading::{Gap, Why};
use super::{Answer, Fault, Kind, Listing, Page, Verdict};
use super::{CONFIRMED_ATTEMPTS, CONTRADICTED_ATTEMPTS, EMPTY_ATTEMPTS, MAX_ATTEMPTS};

impl Listing {
    /// Adds an answer to the evidence about the current page, and decides that page if it suffices.
    pub(super) fn judge(&mut self, answer: Answer) {
        self.current.attempts += 1;
        let kind = match &answer {
            Answer::NotFound(_) => Kind::Blank,
            Answer::Page(page) => self.reading.kind(&page.rows),
        };
        match answer {
            Answer::NotFound(words) => self.current.not_found = Some(words),
            Answer::Page(page) => self.note(page),
        }
        let promised = self.is_promised() || self.current.next;
        let current = &mut self.current;
        match kind {
            Kind::Blank if promised || current.says_nothing => current.contradicted += 1,
            Kind::Blank | Kind::Clean => {}
            Kind::SomeNulls => current.with_nulls += 1,
            Kind::SeenBefore | Kind::MostlyNulls => current.contradicted += 1,
        }
        let (attempts, contradicted) = (current.attempts, current.contradicted);
        let confirmed = current.with_nulls >= CONFIRMED_ATTEMPTS;
        match self.fault(promised) {
            None => self.accept(),
            Some(Fault::Nulls) if confirmed => self.accept(),
            Some(Fault::End) if attempts >= CONFIRMED_ATTEMPTS => self.reading.ended = true,
            // Another page of a search may still show that there is something.
            Some(Fault::Nothing) if attempts >= EMPTY_ATTEMPTS && self.under_way.is_empty() => {
                self.nothing();
            }
            Some(Fault::Contradiction(why)) if contradicted >= CONTRADICTED_ATTEMPTS => {
                self.skip(why);
            }
            Some(Fault::Contradiction(why)) if attempts >= MAX_ATTEMPTS => self.skip(why),
            Some(Fault::Nulls) if attempts >= MAX_ATTEMPTS => {
                let nulls = self.current.best.as_ref().map_or(0, |page| page.rows.nulls);
                self.skip(Why::Nulls(nulls));
            }
            Some(_) => {}
        }
    }

    /// Notes what a page says, and keeps it if it has the most new ids so far.
    fn note(&mut self, page: Page) {
        if let Some(total) = page.total {
            self.reading.note_total(total);
            self.largest_total = self.largest_total.max(total);
        }
        let current = &mut self.current;
        current.says_nothing |= page.total.is_none();
        current.next |= page.next;
        current.empty |= page.rows.length() == 0;
        let fresh = self.reading.fresh(&page.rows);
        let count = fresh.len();
        current.fresh.extend(fresh);
        let is_first = current.best.as_ref().is_none_or(|best| best.rows.length() == 0);
        if is_first || count > current.best_fresh {
            current.best_fresh = count;
            current.best = Some(page);
        }
    }

    /// Why the answers so far do not settle the current page, if they don't.
    fn fault(&self, promised: bool) -> Option<Fault> {
        let (reading, current) = (&self.reading, &self.current);
        let page = current.best.as_ref().filter(|page| page.rows.length() > 0);
        let Some(page) = page else {
            let why = if current.empty { Why::Empty } else { Why::NotFound };
            let is_first = reading.places == 0 && reading.gaps.is_empty();
            return Some(if is_first && current.says_nothing {
                Fault::Contradiction(Why::NoTotal)
            } else if is_first && !promised {
                Fault::Nothing
            } else if !promised || reading.is_exactly_shown() && !self.is_further_on() {
                Fault::End
            } else {
                Fault::Contradiction(why)
            });
        };
        let nulls = page.rows.nulls;
        match reading.kind(&page.rows) {
            Kind::Blank | Kind::Clean => None,
            Kind::SeenBefore => Some(Fault::Contradiction(Why::SeenBefore)),
            Kind::MostlyNulls => Some(Fault::Contradiction(Why::Nulls(nulls))),
            // Another answer showed what this one does not: the nulls did not stay.
            Kind::SomeNulls if current.fresh.len() > current.best_fresh => {
                Some(Fault::Contradiction(Why::Nulls(nulls)))
            }
            Kind::SomeNulls => Some(Fault::Nulls),
        }
    }

    /// Takes over the current page, and goes on behind its items.
    fn accept(&mut self) {
        let current = std::mem::take(&mut self.current);
        let page = current.best.unwrap_or_default();
        let behind = current.offset.saturating_add(page.rows.length() as u32);
        self.reading.nulls += page.rows.nulls;
        self.reading.add(page.rows, current.next, self.rules.enough);
        self.note_first_page(current.offset);
        if current.best_fresh == 0 {
            self.reading.barren += 1;
        } else {
            self.reading.barren = 0;
        }
        self.go_on_at(behind);
    }

    /// Takes over what came of the current page as a gap, and goes on with the next page.
    fn skip(&mut self, why: Why) {
        let current = std::mem::take(&mut self.current);
        let page = current.best.unwrap_or_default();
        self.reading.add(page.rows, current.next, self.rules.enough);
        self.note_first_page(current.offset);
        self.reading.barren += 1;
        self.reading.gaps.push(Gap { offset: current.offset, why, has_items_behind: false });
        self.go_on_at(self.next_page(current.offset));
    }

    /// Counts the ids of the first page, which may come in pieces.
    fn note_first_page(&mut self, offset: u32) {
        if offset < self.rules.page_size {
            let shown = self.reading.seen.len();
            self.reading.first_page = shown.min(self.rules.page_size as usize);
        }
    }

    fn go_on_at(&mut self, offset: u32) {
        self.current.offset = offset;
        self.ahead.retain(|at, _| *at >= offset);
    }

    /// The first page is empty or 404, as often as it was requested.
    fn nothing(&mut self) {
        self.verdict = Some(if let Some(seen) = self.earlier.last() {
            let what = if self.current.empty { "empty" } else { "404" };
            Verdict::Incomplete(format!(
                "a reading showed {} items, then the first page was {what}",
                seen.len()
            ))
        } else {
            match (self.current.not_found.take(), self.current.empty) {
                (Some(words), false) => Verdict::NotFound(words),
                (Some(_), true) => {
                    Verdict::Incomplete("the first page was 404 and empty by turns".to_owned())
                }
                (None, _) => Verdict::Nothing,
            }
        });
    }
}
