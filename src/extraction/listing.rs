//! The rule for a complete listing. Pages go in; the next requests, or a verdict, come out. Pure: it
//! knows no HTTP, so that it can be tested against every wrong answer.
//!
//! Spotify's pages contradict each other at times (ARCHITECTURE.md has the reports), so a listing is
//! complete only if independent evidence agrees: the items and their ids, each page's `total` and
//! `next`, and what another request says.

mod close;
mod judge;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use super::items::PageRows;
pub(super) use reading::Complete;
use reading::{Reading, Why};

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
