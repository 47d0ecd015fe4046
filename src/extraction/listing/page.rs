//! Whether the responses for a page settle it, or leave a gap (steps 2 and 3).

use super::reading::{Contradiction, Gap, Ids};
use super::{Listing, Response, Verdict};
use crate::extraction::items::PageRows;

/// How often a page that contradicts other evidence is requested.
const CONTRADICTION_ATTEMPTS: u32 = 3;

/// How often a page with a few nulls is requested, or an empty page at the expected end.
const CONFIRMATION_ATTEMPTS: u32 = 2;

/// How often a first page is requested before an empty page or 404 is accepted. One search in seven returns
/// 404 for no apparent reason; four in a row are one in 2,400.
const EMPTY_LISTING_ATTEMPTS: u32 = 4;

/// How often a page is requested, whatever the responses are: they may differ each time.
const MAX_ATTEMPTS: u32 = 6;

/// A page is mostly null if it has more nulls than this, and they are more than half of it.
const MAX_PLAUSIBLE_NULLS: u64 = 5;

/// The page that is read now, and what the responses for it show.
#[derive(Debug, Default)]
pub(super) struct CurrentPage {
    pub(super) offset: u32,
    /// How many responses arrived.
    pub(super) attempts: u32,
    /// How many of them contradict other evidence.
    contradictions: u32,
    /// How many of them have some nulls.
    with_nulls: u32,
    /// The new ids of all responses.
    new_ids: Ids,
    best: BestResponse,
    /// Whether a response has a `next`.
    has_next: bool,
    /// The text of Spotify's error, if a response was 404.
    not_found: Option<String>,
    was_empty: bool,
    /// Whether a response has no `total`, so that it is no evidence for an empty listing.
    lacks_total: bool,
}

/// The items of the response with the most new ids.
#[derive(Debug, Default)]
struct BestResponse {
    rows: PageRows,
    content: Content,
    new_ids: usize,
}

/// What a response holds, given the pages before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    Nothing,
    Items,
    SomeNulls,
    MostlyNulls,
    /// Only items that other pages have shown.
    Repeated,
}

impl Content {
    fn of(rows: &PageRows, new_ids: usize) -> Self {
        let (length, nulls) = (rows.length(), rows.nulls);
        if length == 0 {
            Self::Nothing
        } else if nulls > MAX_PLAUSIBLE_NULLS && 2 * nulls > length {
            Self::MostlyNulls
        } else if nulls < length && new_ids == 0 {
            Self::Repeated
        } else if nulls > 0 {
            Self::SomeNulls
        } else {
            Self::Items
        }
    }
}

/// What the responses so far say about the current page.
enum Finding {
    Settled,
    /// This many nulls, unless another response fills them.
    Nulls(u64),
    /// The end of the listing, if another response confirms it.
    End,
    /// A listing without items, if more responses confirm it.
    EmptyListing,
    Contradiction(Contradiction),
}

impl Listing {
    /// Takes a response for the current page, and goes on to the next page once the responses settle this
    /// one or leave a gap. Returns a verdict if they show that there is no listing.
    pub(super) fn evaluate(&mut self, response: Response) -> Option<Verdict> {
        let content = self.record(response);
        let promises_more = self.promises_more() || self.page.has_next;
        let page = &mut self.page;
        page.attempts += 1;
        match content {
            Content::Nothing if promises_more || page.lacks_total => page.contradictions += 1,
            Content::Nothing | Content::Items => {}
            Content::SomeNulls => page.with_nulls += 1,
            Content::Repeated | Content::MostlyNulls => page.contradictions += 1,
        }
        let (attempts, contradictions) = (page.attempts, page.contradictions);
        let are_nulls_confirmed = page.with_nulls >= CONFIRMATION_ATTEMPTS;
        match self.finding(promises_more) {
            Finding::Settled => self.accept_page(),
            Finding::Nulls(_) if are_nulls_confirmed => self.accept_page(),
            Finding::Nulls(nulls) if attempts >= MAX_ATTEMPTS => {
                self.leave_gap(Contradiction::Nulls(nulls));
            }
            Finding::End if attempts >= CONFIRMATION_ATTEMPTS => self.reading.reached_end = true,
            // Another page of a search may still show items.
            Finding::EmptyListing
                if attempts >= EMPTY_LISTING_ATTEMPTS && self.in_flight.is_empty() =>
            {
                return Some(self.empty_verdict());
            }
            Finding::Contradiction(contradiction)
                if contradictions >= CONTRADICTION_ATTEMPTS || attempts >= MAX_ATTEMPTS =>
            {
                self.leave_gap(contradiction);
            }
            // The page is requested again.
            _ => {}
        }
        None
    }

    /// Records what a response shows. Returns what it holds.
    fn record(&mut self, response: Response) -> Content {
        let response = match response {
            Response::Page(page) => page,
            Response::NotFound(text) => {
                self.page.not_found = Some(text);
                return Content::Nothing;
            }
        };
        if let Some(total) = response.total {
            self.reading.record_total(total);
        }
        let ids = self.reading.new_ids(&response.rows);
        let new_ids = ids.len();
        let content = Content::of(&response.rows, new_ids);
        let page = &mut self.page;
        page.new_ids.extend(ids);
        page.has_next |= response.has_next;
        page.was_empty |= content == Content::Nothing;
        page.lacks_total |= response.total.is_none();
        let best = &page.best;
        if best.content == Content::Nothing && content != Content::Nothing || new_ids > best.new_ids
        {
            page.best = BestResponse { rows: response.rows, content, new_ids };
        }
        content
    }

    fn finding(&self, promises_more: bool) -> Finding {
        let BestResponse { rows, content, new_ids } = &self.page.best;
        match content {
            Content::Nothing => self.finding_without_items(promises_more),
            Content::Items => Finding::Settled,
            Content::Repeated => Finding::Contradiction(Contradiction::Repeated),
            Content::MostlyNulls => Finding::Contradiction(Contradiction::Nulls(rows.nulls)),
            // Another response showed an id that this one lacks: the nulls did not stay.
            Content::SomeNulls if self.page.new_ids.len() > *new_ids => {
                Finding::Contradiction(Contradiction::Nulls(rows.nulls))
            }
            Content::SomeNulls => Finding::Nulls(rows.nulls),
        }
    }

    /// Returns the finding if each response is empty or 404.
    fn finding_without_items(&self, promises_more: bool) -> Finding {
        let (reading, page) = (&self.reading, &self.page);
        if reading.is_at_start() && page.lacks_total {
            Finding::Contradiction(Contradiction::NoTotal)
        } else if reading.is_at_start() && !promises_more {
            Finding::EmptyListing
        } else if !promises_more
            || reading.shows_largest_total() && !self.prefetched_pages_promise_more()
        {
            Finding::End
        } else if page.was_empty {
            Finding::Contradiction(Contradiction::Empty)
        } else {
            Finding::Contradiction(Contradiction::NotFound)
        }
    }

    /// Adds the current page to the reading, and goes on after its items.
    fn accept_page(&mut self) {
        let CurrentPage { offset, best, .. } = &self.page;
        let end = offset.saturating_add(best.rows.length() as u32);
        let reading = &mut self.reading;
        reading.nulls += best.rows.nulls;
        reading.gaps_in_a_row = if best.new_ids > 0 { 0 } else { reading.gaps_in_a_row + 1 };
        self.add_best_response();
        self.move_to(end);
    }

    /// Adds what was shown of the current page to the reading, and goes on with the next page.
    fn leave_gap(&mut self, contradiction: Contradiction) {
        let offset = self.page.offset;
        self.add_best_response();
        self.reading.gaps_in_a_row += 1;
        self.reading.gaps.push(Gap { offset, contradiction, has_items_after: false });
        self.move_to(self.next_page(offset));
    }

    fn add_best_response(&mut self) {
        let CurrentPage { offset, best, has_next, .. } = std::mem::take(&mut self.page);
        self.reading.add(best.rows, has_next, self.rules.max_items);
        // The first page may arrive in pieces.
        if offset < self.rules.page_size {
            let shown = self.reading.ids.len();
            self.reading.first_page_rows = shown.min(self.rules.page_size as usize);
        }
    }

    fn move_to(&mut self, offset: u32) {
        self.page.offset = offset;
        self.prefetched.retain(|prefetched, _| *prefetched >= offset);
    }

    /// Returns the verdict if each request for the first page returned an empty page or 404.
    fn empty_verdict(&mut self) -> Verdict {
        let was_empty = self.page.was_empty;
        if let Some(ids) = self.earlier_readings.last() {
            let what = if was_empty { "empty" } else { "404" };
            return Verdict::Incomplete(format!(
                "an earlier reading showed {} items, but now the first page is {what}",
                ids.len()
            ));
        }
        match self.page.not_found.take() {
            None => Verdict::Empty,
            Some(text) if !was_empty => Verdict::NotFound(text),
            Some(_) => Verdict::Incomplete(
                "the first page was sometimes 404 and sometimes empty".to_owned(),
            ),
        }
    }
}
