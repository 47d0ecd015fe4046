//! Decides which pages of a listing to request, and whether the listing is complete. A pure state machine:
//! it takes responses, and returns the next requests or a verdict. It does no I/O, so tests can pass in any
//! response.
//!
//! Spotify's pages sometimes contradict each other (ARCHITECTURE.md cites the reports), so no single
//! response is trusted. The evidence is the items and their IDs, each page's `total` and `next`, and what
//! another request for the same page returns.
//!
//! A **reading** is one pass over the listing. Its **places** are all items that it read, nulls and
//! duplicates included. What it has **shown** are its distinct IDs and its confirmed nulls. An item without
//! an ID counts as a null.
//!
//! 1. [`requests`]: A reading goes on while any page promises more: its `total` is above the places, or it
//!    has a `next` and no later page has shown a new ID.
//! 2. [`page`]: A page contradicts other evidence if it is empty or 404 where more was promised, if all its
//!    IDs were shown before, if it is mostly null, or if it is an empty first page without a `total`. It is
//!    requested again. If it still contradicts, it is a **gap**, and the reading goes on after it.
//! 3. [`page`]: A page with a few nulls is requested again, too. Nulls that are in the second response as
//!    well are confirmed. If the responses show different items each time, the page is a gap.
//! 4. [`verdict`]: A reading is **whole** if it has no contradiction and shows all IDs of the earlier
//!    readings. Until a reading is whole, the listing is read again, at most [`verdict::MAX_READINGS`] times
//!    in all. If two readings show the same IDs, the **missing** items decide, which are those **wanted**
//!    (the largest `total`) less those shown: the listing is **within tolerance** or incomplete.

mod page;
mod reading;
mod requests;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;

use super::items::PageRows;
use page::CurrentPage;
use reading::{Ids, Reading};
pub(super) use verdict::{CompleteListing, Verdict};

/// What kind of listing is read, and how much of it may be missing.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Items in a full page.
    pub(super) page_size: u32,
    /// The listing ends at this many distinct items.
    pub(super) max_items: Option<usize>,
    /// No request reaches past this offset. If it is the page size, only the first page is read.
    pub(super) max_offset: u32,
    pub(super) max_concurrent_requests: usize,
    /// Whether all pages up to `max_items` are requested at the start.
    pub(super) all_at_once: bool,
    /// The percentage of items that may be missing if the responses contradict each other each time.
    pub(super) max_missing_percent: u8,
}

/// A request for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) offset: u32,
    pub(super) limit: u32,
    /// The number of earlier responses for this page. If it is above 0, the caller backs off first.
    pub(super) earlier_attempts: u32,
}

/// A page as Spotify returned it.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) rows: PageRows,
    /// The number of items in the listing, according to this page.
    pub(super) total: Option<u64>,
    pub(super) has_next: bool,
}

/// What a request returned.
#[derive(Debug)]
pub(super) enum Response {
    Page(Page),
    /// 404, with the text of Spotify's error.
    NotFound(String),
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send these requests, if any, and pass in the next response.
    Send(Vec<Request>),
    Done(Verdict),
}

/// The state of a listing while it is read.
#[derive(Debug)]
pub(super) struct Listing {
    rules: Rules,
    /// The reading in progress.
    reading: Reading,
    /// The page being read.
    page: CurrentPage,
    /// The offsets of requests without a response.
    in_flight: Vec<u32>,
    /// Responses for pages after the current one, by offset.
    prefetched: BTreeMap<u32, Response>,
    /// The IDs that each earlier reading showed.
    earlier_readings: Vec<Ids>,
    /// The largest total of the earlier readings.
    largest_total: u64,
}

impl Listing {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            reading: Reading::default(),
            page: CurrentPage::default(),
            in_flight: Vec::new(),
            prefetched: BTreeMap::new(),
            earlier_readings: Vec::new(),
            largest_total: 0,
        }
    }

    /// Returns the requests to send now, or the verdict.
    pub(super) fn next_step(&mut self) -> Step {
        loop {
            let verdict = if self.has_more_to_read()
                && let Some(response) = self.prefetched.remove(&self.page.offset)
            {
                self.handle_response(response)
            } else {
                let requests = self.next_requests();
                if !requests.is_empty() || !self.in_flight.is_empty() {
                    self.in_flight.extend(requests.iter().map(|request| request.offset));
                    return Step::Send(requests);
                }
                self.end_reading()
            };
            if let Some(verdict) = verdict {
                return Step::Done(verdict);
            }
        }
    }

    /// Stores the response to a request until the reading reaches its page.
    pub(super) fn receive(&mut self, request: Request, response: Response) {
        self.in_flight.retain(|offset| *offset != request.offset);
        if request.offset >= self.page.offset {
            self.prefetched.insert(request.offset, response);
        }
    }

    /// Returns how many items the reading in progress has read, and how many it is to read.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.reading.places, self.reading.largest_total.min(self.max_items()))
    }
}
