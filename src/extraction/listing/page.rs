//! Decides whether a page is accepted, requested again, or left as a gap (steps 2 and 3).

use super::reading::{Contradiction, Gap, Ids};
use super::{Listing, Response, Verdict};
use crate::extraction::items::PageRows;

/// How many times a page that contradicts other evidence is requested.
const CONTRADICTION_ATTEMPTS: u32 = 3;

/// How many times a page with a few nulls is requested, or an empty page at the expected end.
const CONFIRMATION_ATTEMPTS: u32 = 2;

/// How many times a first page is requested before an empty page or 404 is accepted. About one
/// search in seven returns 404 for no apparent reason; four in a row are one in 2,400.
const EMPTY_LISTING_ATTEMPTS: u32 = 4;

/// How many times a page is requested, whatever the responses are: they may differ each time.
pub(super) const MAX_ATTEMPTS: u32 = 6;

/// A page is mostly null if it has more nulls than this, and they are more than half of it.
const MAX_PLAUSIBLE_NULLS: u64 = 5;

/// The page being read, and what the responses for it show.
#[derive(Debug, Default)]
pub(super) struct CurrentPage {
    pub(super) offset: u32,
    /// How many responses arrived.
    pub(super) attempts: u32,
    /// How many of them contradict other evidence.
    contradictions: u32,
    /// How many of them have a few nulls.
    with_nulls: u32,
    /// The new IDs of all responses.
    new_ids: Ids,
    best: BestResponse,
    /// Whether a response has a `next`.
    has_next: bool,
    /// The text of Spotify's error, if a response was 404.
    not_found: Option<String>,
    /// Whether a response was empty, rather than 404.
    had_empty_response: bool,
    /// Whether a response has no `total`, so that it is no evidence for an empty listing.
    lacks_total: bool,
}

/// The items of the response with the most new IDs.
#[derive(Debug, Default)]
struct BestResponse {
    rows: PageRows,
    content: Content,
    new_ids: usize,
}

/// What a response contains, compared with the pages before it.
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
    /// The best response counts as the page.
    Accepted,
    /// This many nulls, unless another response fills them.
    Nulls(u64),
    /// The end of the listing, if another response confirms it.
    End,
    /// A listing without items, if more responses confirm it.
    EmptyListing,
    Contradiction(Contradiction),
}

impl Listing {
    /// Handles a response for the current page. Moves to the next page once this one is accepted or given up
    /// as a gap. Returns a verdict if the responses show that the listing is empty or does not exist.
    pub(super) fn handle_response(&mut self, response: Response) -> Option<Verdict> {
        let content = self.record_response(response);
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
        match self.classify_page(promises_more) {
            Finding::Accepted => self.accept_page(),
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
            // Too few responses: the page is requested again.
            Finding::Nulls(_)
            | Finding::End
            | Finding::EmptyListing
            | Finding::Contradiction(_) => {}
        }
        None
    }

    /// Records a response. Returns what it contains.
    fn record_response(&mut self, response: Response) -> Content {
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
        page.had_empty_response |= content == Content::Nothing;
        page.lacks_total |= response.total.is_none();
        let best = &page.best;
        if (best.content == Content::Nothing && content != Content::Nothing)
            || new_ids > best.new_ids
        {
            page.best = BestResponse { rows: response.rows, content, new_ids };
        }
        content
    }

    fn classify_page(&self, promises_more: bool) -> Finding {
        let BestResponse { rows, content, new_ids } = &self.page.best;
        match content {
            Content::Nothing => self.classify_page_without_items(promises_more),
            Content::Items => Finding::Accepted,
            Content::Repeated => Finding::Contradiction(Contradiction::Repeated),
            Content::MostlyNulls => Finding::Contradiction(Contradiction::Nulls(rows.nulls)),
            // Another response has an ID that this one lacks, so the nulls are not confirmed.
            Content::SomeNulls if self.page.new_ids.len() > *new_ids => {
                Finding::Contradiction(Contradiction::Nulls(rows.nulls))
            }
            Content::SomeNulls => Finding::Nulls(rows.nulls),
        }
    }

    /// Returns the finding if each response is empty or 404.
    fn classify_page_without_items(&self, promises_more: bool) -> Finding {
        let (reading, page) = (&self.reading, &self.page);
        if reading.is_at_start() && page.lacks_total {
            Finding::Contradiction(Contradiction::NoTotal)
        } else if reading.is_at_start() && !promises_more {
            Finding::EmptyListing
        } else if !promises_more
            || (reading.shows_largest_total() && !self.prefetched_pages_promise_more())
        {
            Finding::End
        } else if page.had_empty_response {
            Finding::Contradiction(Contradiction::Empty)
        } else {
            Finding::Contradiction(Contradiction::NotFound)
        }
    }

    /// Adds the current page to the reading, and moves to the offset after its items.
    fn accept_page(&mut self) {
        let CurrentPage { offset, best, .. } = &self.page;
        let end = offset.saturating_add(best.rows.length() as u32);
        let reading = &mut self.reading;
        reading.nulls += best.rows.nulls;
        reading.gaps_in_a_row = if best.new_ids > 0 { 0 } else { reading.gaps_in_a_row + 1 };
        self.add_best_response();
        self.move_to(end);
    }

    /// Adds the items of the current page to the reading, records a gap, and moves to the next page.
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
        // If the first response is short, further requests complete the first page.
        if offset < self.rules.page_size {
            let shown = self.reading.ids.len();
            self.reading.first_page_rows = shown.min(self.rules.page_size as usize);
        }
    }

    fn move_to(&mut self, offset: u32) {
        self.page.offset = offset;
        self.prefetched.retain(|prefetched, _| *prefetched >= offset);
    }

    /// Returns the verdict on a listing whose first page was empty or 404 in each response.
    fn empty_verdict(&mut self) -> Verdict {
        let had_empty_response = self.page.had_empty_response;
        if let Some(ids) = self.earlier_readings.last() {
            let what = if had_empty_response { "empty" } else { "404" };
            return Verdict::Incomplete(format!(
                "an earlier reading showed {} items, but now the first page is {what}",
                ids.len()
            ));
        }
        match self.page.not_found.take() {
            None => Verdict::Empty,
            Some(text) if !had_empty_response => Verdict::NotFound(text),
            Some(_) => Verdict::Incomplete(
                "the first page was sometimes 404 and sometimes empty".to_owned(),
            ),
        }
    }
}
