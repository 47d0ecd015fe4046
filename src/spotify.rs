//! The client of Spotify's Web API: authenticates, limits and retries calls, and parses their responses.
//! The extraction decides which calls to make, and when a listing is complete.

mod breaker;
mod call;
mod error_kind;
mod throttle;
mod token;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::http;
use crate::names::{ShowId, Term};
use crate::retry::{self, Backoff};
use call::Call;
use throttle::Throttle;
use token::Tokens;
use wire::{Episode, Paging, Show};

/// Spotify's Web API.
#[derive(Debug)]
pub struct Spotify {
    client: reqwest::Client,
    api: Url,
    market: String,
    tokens: Tokens,
    throttle: Arc<Throttle>,
    backoff: Backoff,
    retry_after_unit: Duration,
}

#[derive(Debug)]
pub(crate) enum CallError {
    /// The resource does not exist; with Spotify's words.
    NotFound(String),
    Failed(Failure),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Failure> for retry::Error<CallError> {
    fn from(failure: Failure) -> Self {
        Self::Permanent(failure.into())
    }
}

impl Spotify {
    /// Creates a client without making a call.
    pub fn new(config: &Config) -> Result<Self, http::ClientError> {
        let (timing, spotify) = (&config.timing, &config.spotify);
        Ok(Self {
            client: http::client(timing.connect_timeout, timing.spotify_call_timeout)?,
            api: spotify.api_url.clone(),
            market: spotify.market.clone(),
            tokens: Tokens::new(config),
            throttle: Arc::new(Throttle::new(spotify.max_concurrent_calls, timing.backoff)),
            backoff: timing.backoff,
            retry_after_unit: config
                .test_hooks
                .retry_after_second
                .unwrap_or(Duration::from_secs(1)),
        })
    }

    /// Returns whether the last calls succeeded, so that several can be made at once.
    pub(crate) fn is_healthy(&self) -> bool {
        self.throttle.is_closed()
    }

    /// Returns a page of the shows that a search for `term` finds.
    pub(crate) async fn search(
        &self,
        term: &Term,
        offset: u32,
        limit: u32,
        context: &Context,
    ) -> Result<Paging<Show>, CallError> {
        let call = Call { path: &["search"], term: Some(term.text()), page: Some((offset, limit)) };
        let page = self.call(&call, context, wire::shows).await?;
        context.meter.pages.add(1);
        Ok(page)
    }

    /// Returns a page of a show's episodes, newest first.
    pub(crate) async fn episodes(
        &self,
        show: &ShowId,
        offset: u32,
        limit: u32,
        context: &Context,
    ) -> Result<Paging<Episode>, CallError> {
        let path = ["shows", show.as_str(), "episodes"];
        let call = Call { path: &path, term: None, page: Some((offset, limit)) };
        let page = self.call(&call, context, wire::episodes).await?;
        context.meter.pages.add(1);
        Ok(page)
    }

    /// Looks up a show. Returns its name if the response has one.
    pub(crate) async fn show(
        &self,
        show: &ShowId,
        context: &Context,
    ) -> Result<Option<String>, CallError> {
        let call = Call { path: &["shows", show.as_str()], term: None, page: None };
        self.call(&call, context, wire::show).await
    }
}
