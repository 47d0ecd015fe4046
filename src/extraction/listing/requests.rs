//! Decides whether to read on, and which pages to request (step 1).

use super::{Listing, Request, Response};

/// A reading ends after this many gaps in a row: past the end of a listing whose `total` is too large,
/// there are only gaps.
const MAX_GAPS_IN_A_ROW: u32 = 2;

/// A reading ends if `total` rises more than this many times: the listing changes faster than it is read.
const MAX_TOTAL_RISES: u32 = 8;

/// The number of pages that the first reading requests concurrently at the start. Each page that is read
/// raises the limit by one, so a `total` that is far too large costs few requests.
const FIRST_READING_PREFETCH: usize = 8;

/// The number of pages that a later reading requests concurrently at the start. It is smaller because
/// later readings happen only if something is wrong.
const LATER_READING_PREFETCH: usize = 2;

impl Listing {
    /// Returns whether the reading has more to read.
    pub(super) fn has_more_to_read(&self) -> bool {
        let reading = &self.reading;
        (reading.is_at_start() || self.promises_more() || reading.totals_are_unreliable())
            && !reading.reached_end
            && reading.total_rises <= MAX_TOTAL_RISES
            && reading.gaps_in_a_row < MAX_GAPS_IN_A_ROW
            && self.page.offset < self.rules.max_offset
            && !self.has_max_items()
    }

    /// Returns whether any page promises more: by its `total`, by a `next`, or by items after the current
    /// page.
    pub(super) fn promises_more(&self) -> bool {
        let reading = &self.reading;
        reading.largest_total > reading.places
            || reading.has_next
            || self.prefetched_pages_promise_more()
    }

    /// Returns whether a page after the current one has a new ID, or a `total` above the places.
    pub(super) fn prefetched_pages_promise_more(&self) -> bool {
        let reading = &self.reading;
        self.prefetched.range(self.page.offset + 1..).any(|(_, response)| match response {
            Response::Page(page) => {
                page.total.is_some_and(|total| total > reading.places)
                    || page.rows.ids().any(|id| !reading.ids.contains(id))
            }
            Response::NotFound(_) => false,
        })
    }

    pub(super) fn has_max_items(&self) -> bool {
        self.rules.max_items.is_some_and(|max| self.reading.ids.len() >= max)
    }

    /// Returns the requests to send now: for the current page, and for pages after it unless the current
    /// one is requested again.
    pub(super) fn next_requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        if !self.has_more_to_read() {
            return requests;
        }
        if !self.is_requested(self.page.offset) {
            requests.push(self.request(self.page.offset, self.page.attempts));
        }
        if self.page.attempts > 0 {
            return requests;
        }
        let prefetch = if self.earlier_readings.is_empty() {
            FIRST_READING_PREFETCH
        } else {
            LATER_READING_PREFETCH
        };
        let limit = (prefetch + self.reading.pages).min(self.rules.max_concurrent_requests);
        let end = self.prefetch_end();
        let mut offset = self.next_page(self.page.offset);
        while u64::from(offset) < end
            && requests.len() + self.in_flight.len() + self.prefetched.len() < limit
        {
            if !self.is_requested(offset) {
                requests.push(self.request(offset, 0));
            }
            offset = self.next_page(offset);
        }
        requests
    }

    fn is_requested(&self, offset: u32) -> bool {
        self.in_flight.contains(&offset) || self.prefetched.contains_key(&offset)
    }

    /// Returns the offset up to which pages are prefetched.
    fn prefetch_end(&self) -> u64 {
        let reading = &self.reading;
        let requests_all_pages =
            self.rules.all_at_once && self.earlier_readings.is_empty() && reading.places == 0;
        let promised = if requests_all_pages { u64::MAX } else { reading.largest_total };
        let needed = self.rules.max_items.map_or(u64::MAX, |max| {
            u64::from(self.page.offset) + max.saturating_sub(reading.ids.len()) as u64
        });
        promised.min(needed).min(u64::from(self.rules.max_offset))
    }

    /// Returns a request that ends where the next page begins, because that page may already be in flight.
    fn request(&self, offset: u32, earlier_attempts: u32) -> Request {
        let end = self.next_page(offset).min(self.rules.max_offset);
        Request { offset, limit: end - offset, earlier_attempts }
    }

    /// Returns the next multiple of the page size.
    pub(super) fn next_page(&self, offset: u32) -> u32 {
        (offset / self.rules.page_size).saturating_add(1).saturating_mul(self.rules.page_size)
    }
}
