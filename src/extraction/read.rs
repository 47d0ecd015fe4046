//! Reads a listing with the rule of `listing`: sends its requests side by side, and remembers which
//! listings were incomplete.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

use super::listing::{Answer, Listing, Page, Request, Rules, Step, Verdict};
use crate::failure::Failure;
use crate::meter::Meter;
use crate::retry::Backoff;
use crate::spotify::CallError;

/// How many incomplete listings are remembered.
const MAX_REMEMBERED: usize = 1000;

/// Reads a listing to its verdict. A call that fails ends it.
pub(super) async fn read<F>(
    rules: Rules,
    backoff: Backoff,
    meter: &Meter,
    page: impl Fn(u32, u32) -> F,
) -> Result<Verdict, Failure>
where
    F: Future<Output = Result<Page, CallError>>,
{
    let (page, came) = (&page, &AtomicBool::new(false));
    let ask = |request: Request| async move {
        if request.attempt > 0 {
            // What contradicts itself needs time, and never less than this.
            sleep(backoff.delay_bound(request.attempt)).await;
        }
        let answer = page(request.offset, request.limit).await;
        came.fetch_or(answer.is_ok(), Relaxed);
        // While other pages come, a large one may be answered with 500 each time, and come at half its
        // size.
        let answer = match answer {
            Err(CallError::Failed(Failure::SpotifyUnavailable { detail, .. }))
                if detail.starts_with("500") && request.limit > 20 && came.load(Relaxed) =>
            {
                page(request.offset, request.limit / 2).await
            }
            answer => answer,
        };
        (request, answer)
    };
    let mut listing = Listing::new(rules);
    let mut under_way = FuturesUnordered::new();
    loop {
        let step = listing.step();
        let (read, listed) = listing.progress();
        meter.read.set(read);
        meter.listed.set(listed);
        match step {
            Step::Done(verdict) => return Ok(verdict),
            Step::Ask(requests) => under_way.extend(requests.into_iter().map(ask)),
        }
        let Some((request, answer)) = under_way.next().await else {
            return Err(Failure::ListingIncomplete {
                what: "a listing".to_owned(),
                detail: "the reading stopped without a verdict".to_owned(),
                after: None,
            });
        };
        let answer = match answer {
            Ok(page) => Answer::Page(page),
            Err(CallError::NotFound(words)) => Answer::NotFound(words),
            Err(CallError::Failed(failure)) => return Err(failure),
        };
        listing.answer(request, answer);
    }
}

/// Listings that were incomplete some minutes ago: a redelivery does not read them again.
#[derive(Debug)]
pub(super) struct Incomplete {
    memory: Duration,
    listings: Mutex<HashMap<String, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    detail: String,
    max_missing_percent: u8,
    until: Instant,
}

impl Incomplete {
    pub(super) fn new(memory: Duration) -> Self {
        Self { memory, listings: Mutex::default() }
    }

    pub(super) fn memory(&self) -> Duration {
        self.memory
    }

    /// Fails if the listing was incomplete some minutes ago, for a tolerance as high as this one.
    pub(super) fn check(&self, what: &str, max_missing_percent: u8) -> Result<(), Failure> {
        let listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match listings.get(what) {
            Some(known)
                if now < known.until && max_missing_percent <= known.max_missing_percent =>
            {
                Err(Failure::ListingIncomplete {
                    what: what.to_owned(),
                    detail: format!("{} (read some minutes ago)", known.detail),
                    after: Some(known.until - now),
                })
            }
            _ => Ok(()),
        }
    }

    /// Remembers that a listing is incomplete, and returns the failure.
    pub(super) fn remember(&self, what: &str, max_missing_percent: u8, detail: String) -> Failure {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if listings.len() >= MAX_REMEMBERED {
            listings.retain(|_, known| now < known.until);
        }
        if listings.len() < MAX_REMEMBERED {
            let until = now + self.memory;
            let known = Remembered { detail: detail.clone(), max_missing_percent, until };
            listings.insert(what.to_owned(), known);
        }
        Failure::ListingIncomplete { what: what.to_owned(), detail, after: Some(self.memory) }
    }

    /// Forgets a listing, since it was complete now.
    pub(super) fn forget(&self, what: &str) {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }
}
