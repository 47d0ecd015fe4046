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

/// A page with a larger limit that fails with 500 is requested again with half the limit.
const MAX_ITEMS_NOT_HALVED: u32 = 20;

/// Reads a listing until there is a verdict. Returns the first failure of a call. `request_page`
/// takes its offset and limit.
pub(super) async fn read_listing<F>(
    rules: Rules,
    backoff: Backoff,
    context: &Context,
    request_page: impl Fn(u32, u32) -> F,
) -> Result<Verdict, Failure>
where
    F: Future<Output = Result<Page, CallError>>,
{
    // An atomic, because the future must be `Send`.
    let (request_page, has_any_page) = (&request_page, &AtomicBool::new(false));
    let send = |request: Request| async move {
        if request.earlier_attempts > 0 {
            // Contradictory pages take time to become consistent, so this pause has no jitter.
            sleep(backoff.delay_bound(request.earlier_attempts)).await;
        }
        let result = request_page(request.offset, request.limit).await;
        has_any_page.fetch_or(result.is_ok(), Relaxed);
        // Spotify may return 500 for a large page but succeed with half the limit.
        let result = match result {
            Err(CallError::Failed(Failure::SpotifyUnavailable { status: Some(500), .. }))
                if request.limit > MAX_ITEMS_NOT_HALVED && has_any_page.load(Relaxed) =>
            {
                request_page(request.offset, request.limit / 2).await
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
        #[expect(
            clippy::expect_used,
            reason = "`next_step` returns a verdict when nothing is in flight"
        )]
        let (request, result) = in_flight.next().await.expect("a request in flight");
        let response = match result {
            Ok(page) => Response::Page(page),
            Err(CallError::NotFound(text)) => Response::NotFound(text),
            Err(CallError::Failed(failure)) => return Err(failure),
        };
        listing.receive(request, response);
    }
}
