//! Reads a listing: sends the requests of its state machine concurrently, until there is a verdict.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::listing::{Listing, Page, Request, Response, Rules, Step, Verdict};
use crate::context::Context;
use crate::failure::Failure;
use crate::retry::Backoff;
use crate::spotify::CallError;

/// A page of up to this many items is not halved.
const MAX_ITEMS_NOT_HALVED: u32 = 20;

/// Reads a listing to its verdict. Fails with the first call that fails. `page` requests a page by its
/// offset and limit.
pub(super) async fn read_listing<F>(
    rules: Rules,
    backoff: Backoff,
    context: &Context,
    page: impl Fn(u32, u32) -> F,
) -> Result<Verdict, Failure>
where
    F: Future<Output = Result<Page, CallError>>,
{
    let (page, has_any_page) = (&page, &AtomicBool::new(false));
    let send = |request: Request| async move {
        if request.earlier_attempts > 0 {
            // Contradictory pages take time to settle, so this pause has no jitter.
            sleep(backoff.delay_bound(request.earlier_attempts)).await;
        }
        let result = page(request.offset, request.limit).await;
        has_any_page.fetch_or(result.is_ok(), Relaxed);
        // Spotify may answer 500 to a large page each time, and return its first half.
        let result = match result {
            Err(CallError::Failed(Failure::SpotifyUnavailable { status: Some(500), .. }))
                if request.limit > MAX_ITEMS_NOT_HALVED && has_any_page.load(Relaxed) =>
            {
                page(request.offset, request.limit / 2).await
            }
            result => result,
        };
        (request, result)
    };
    let mut listing = Listing::new(rules);
    let mut in_flight = FuturesUnordered::new();
    loop {
        let step = listing.next_step();
        context.progress.set_items(listing.progress());
        match step {
            Step::Done(verdict) => return Ok(verdict),
            Step::Send(requests) => in_flight.extend(requests.into_iter().map(send)),
        }
        #[expect(clippy::expect_used, reason = "there is a verdict before the requests run out")]
        let (request, result) = in_flight.next().await.expect("a request in flight");
        let response = match result {
            Ok(page) => Response::Page(page),
            Err(CallError::NotFound(text)) => Response::NotFound(text),
            Err(CallError::Failed(failure)) => return Err(failure),
        };
        listing.receive(request, response);
    }
}
