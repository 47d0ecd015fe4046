//! The rule for a complete listing. Pages go in; the next requests, or a verdict, come out. Pure: it
//! knows no HTTP, so that it can be tested against every wrong answer.
//!
//! Spotify's pages contradict each other at times (ARCHITECTURE.md has the reports), so a listing is
//! complete only if independent evidence agrees: the items and their ids, each page's `total` and
//! `next`, and what another request says.

mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use super::items::PageRows;
pub(super) use reading::Complete;
use reading::{Gap, Reading, Why};

/// How often a page that contradicts other evidence is requested in all.
const CONTRADICTED_ATTEMPTS: u32 = 3;

/// How often a page with some nulls, or an empty page at the expected end, is requested in all.
const CONFIRMED_ATTEMPTS: u32 = 2;

/// How often a first page that is empty or 404 is requested in all before that is believed.
const EMPTY_ATTEMPTS: u32 = 4;

/// How often a page is requested in all, whatever comes.
const MAX_ATTEMPTS: u32 = 6;

/// How often a listing is read before it counts as incomplete.
const MAX_READINGS: usize = 3;

/// This many gaps in a row end a reading.
const MAX_GAPS_IN_A_ROW: u32 = 2;

/// A total that rises more often than this ends a reading: the listing changes while it is read.
const MAX_RISES: u32 = 8;

/// How many pages the first reading requests ahead at first. Each page that comes raises the limit by
/// one, so that a total that nothing fills costs few requests.
const FIRST_AHEAD: usize = 8;

/// The same for later readings, which happen only if something is wrong.
const LATER_AHEAD: usize = 2;

/// What kind of listing is read, and what may be missing.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Items in a full page.
    pub(super) page_size: u32,
    /// The listing ends at this many distinct items.
    pub(super) enough: Option<usize>,
    /// No request reaches past this offset.
    pub(super) end: u32,
    /// The most requests at a time.
    pub(super) side_by_side: usize,
    /// Whether the pages that lead to `enough` are all requested at the start.
    pub(super) all_at_once: bool,
    /// What may be missing of a listing that stays contradictory.
    pub(super) max_missing_percent: u8,
}

/// One request for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) offset: u32,
    pub(super) limit: u32,
    /// How often the page was requested before. The caller waits, with backoff, if that is not 0.
    pub(super) attempt: u32,
}

/// A page as it came.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) rows: PageRows,
    /// Items that the listing says it has.
    pub(super) total: Option<u64>,
    /// Whether the page names a next one.
    pub(super) next: bool,
}

/// What a request brought.
#[derive(Debug)]
pub(super) enum Answer {
    Page(Page),
    /// 404, with Spotify's words.
    NotFound(String),
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send these requests, if any, and bring the next answer.
    Ask(Vec<Request>),
    Done(Verdict),
}

/// What a listing is.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Whole, or within the tolerance if `missing` is not 0.
    Complete(Complete),
    /// The evidence contradicts itself; the text says how.
    Incomplete(String),
    /// Empty, and confirmed so.
    Nothing,
    /// 404 to each request for the first page, with Spotify's words.
    NotFound(String),
}

/// A listing that is being read.
#[derive(Debug)]
pub(super) struct Listing {
    rules: Rules,
    reading: Reading,
    /// The ids that each earlier reading showed.
    earlier: Vec<HashSet<Box<str>>>,
    /// The largest total of all readings.
    largest_total: u64,
    /// The page that is decided next.
    current: Current,
    under_way: Vec<u32>,
    /// Answers to requests ahead of the current page, by offset.
    ahead: BTreeMap<u32, Answer>,
    verdict: Option<Verdict>,
}

/// The page that is decided next: the answers to it so far.
#[derive(Debug, Default)]
struct Current {
    offset: u32,
    /// How many answers came.
    attempts: u32,
    /// How many of them contradict other evidence.
    contradicted: u32,
    /// How many of them have some nulls.
    with_nulls: u32,
    /// The new ids of all answers.
    fresh: HashSet<Box<str>>,
    /// The answer with the most new ids.
    best: Option<Page>,
    best_fresh: usize,
    next: bool,
    not_found: Option<String>,
    empty: bool,
    /// Whether an answer had no total, which is no evidence that there is nothing.
    says_nothing: bool,
}

impl Listing {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            reading: Reading::default(),
            earlier: Vec::new(),
            largest_total: 0,
            current: Current::default(),
            under_way: Vec::new(),
            ahead: BTreeMap::new(),
            verdict: None,
            rules,
        }
    }

    /// What to do next: requests to send, or the verdict.
    pub(super) fn step(&mut self) -> Step {
        loop {
            if let Some(verdict) = self.verdict.take() {
                return Step::Done(verdict);
            }
            if self.goes_on()
                && let Some(answer) = self.ahead.remove(&self.current.offset)
            {
                self.judge(answer);
                continue;
            }
            let requests = self.requests();
            if requests.is_empty() && self.under_way.is_empty() {
                self.close();
                continue;
            }
            self.under_way.extend(requests.iter().map(|request| request.offset));
            return Step::Ask(requests);
        }
    }

    /// Takes the answer to a request.
    pub(super) fn answer(&mut self, request: Request, answer: Answer) {
        self.under_way.retain(|offset| *offset != request.offset);
        if request.offset >= self.current.offset {
            self.ahead.insert(request.offset, answer);
        }
    }

    /// How many items the reading at work has come to, and how many are promised.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.reading.places, self.reading.largest_total)
    }

    /// Whether the reading at work has more to read.
    fn goes_on(&self) -> bool {
        let reading = &self.reading;
        let is_first = reading.places == 0 && reading.gaps.is_empty();
        let more = is_first || self.is_promised() || reading.has_false_total();
        more && !reading.ended
            && reading.rises <= MAX_RISES
            && reading.barren < MAX_GAPS_IN_A_ROW
            && self.current.offset < self.rules.end
            && !self.has_enough()
    }

    fn has_enough(&self) -> bool {
        self.rules.enough.is_some_and(|enough| self.reading.seen.len() >= enough)
    }

    /// Whether the listing is read no further than its first page, of which totals and doubles say
    /// nothing.
    fn is_one_page(&self) -> bool {
        self.rules.enough == Some(self.rules.end as usize)
    }

    /// Whether any evidence says that there is more: a total, a `next`, or a page further on.
    fn is_promised(&self) -> bool {
        let reading = &self.reading;
        reading.largest_total > reading.places || reading.next || self.is_further_on()
    }

    /// Whether an answer that was requested ahead shows a new id, or says that there are more items.
    fn is_further_on(&self) -> bool {
        let reading = &self.reading;
        self.ahead.range(self.current.offset + 1..).any(|(_, answer)| match answer {
            Answer::Page(page) => {
                page.total.is_some_and(|total| total > reading.places)
                    || page.rows.ids().any(|id| !reading.seen.contains(id))
            }
            Answer::NotFound(_) => false,
        })
    }

    /// The requests to send now.
    fn requests(&self) -> Vec<Request> {
        if !self.goes_on() {
            return Vec::new();
        }
        let mut requests = Vec::new();
        if !self.is_asked(self.current.offset) {
            requests.push(self.request(self.current.offset, self.current.attempts));
        }
        if self.current.attempts > 0 {
            return requests;
        }
        let ahead = if self.earlier.is_empty() { FIRST_AHEAD } else { LATER_AHEAD };
        let most = (ahead + self.reading.pages).min(self.rules.side_by_side);
        let horizon = self.horizon();
        let mut offset = self.next_page(self.current.offset);
        while u64::from(offset) < horizon
            && requests.len() + self.under_way.len() + self.ahead.len() < most
        {
            if !self.is_asked(offset) {
                requests.push(self.request(offset, 0));
            }
            offset = self.next_page(offset);
        }
        requests
    }

    fn is_asked(&self, offset: u32) -> bool {
        self.under_way.contains(&offset) || self.ahead.contains_key(&offset)
    }

    /// Up to where pages are requested ahead.
    fn horizon(&self) -> u64 {
        let reading = &self.reading;
        let wanted = self.rules.enough.map_or(u64::MAX, |enough| {
            u64::from(self.current.offset) + enough.saturating_sub(reading.seen.len()) as u64
        });
        let at_start = reading.places == 0 && self.rules.all_at_once && self.earlier.is_empty();
        let promised = if at_start { u64::MAX } else { reading.largest_total };
        promised.min(wanted).min(u64::from(self.rules.end))
    }

    /// A request that ends where the next page begins, which may have been requested already.
    fn request(&self, offset: u32, attempt: u32) -> Request {
        let end = self.next_page(offset).min(self.rules.end);
        Request { offset, limit: end - offset, attempt }
    }

    fn next_page(&self, offset: u32) -> u32 {
        (offset / self.rules.page_size).saturating_add(1).saturating_mul(self.rules.page_size)
    }

    /// Adds an answer to the evidence about the current page, and decides that page if it suffices.
    fn judge(&mut self, answer: Answer) {
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

    /// The reading has ended: it stands, or the listing is read again, or what it lacks decides.
    fn close(&mut self) {
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

/// What a page is by itself.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Without any item.
    Blank,
    Clean,
    SomeNulls,
    /// More than 5 nulls, and more than half.
    MostlyNulls,
    /// All its ids were shown by earlier pages.
    SeenBefore,
}

/// Why the answers to a page do not settle it.
enum Fault {
    /// Some nulls, which another answer may fill.
    Nulls,
    /// Empty where the end may be.
    End,
    /// A first page without anything.
    Nothing,
    /// Other evidence says otherwise.
    Contradiction(Why),
}
