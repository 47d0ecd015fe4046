//! The client of Spotify's Web API: authenticates, limits and retries calls, and parses their responses.
//! The extraction decides which calls to make, and when a listing is complete.

mod api;
mod breaker;
mod call;
mod error_kind;
mod exchange;
mod throttle;
mod token;
pub(crate) mod wire;

use crate::config::Config;
use crate::context::Context;
use crate::http;
use crate::names::{ShowId, Term};
use api::Api;
use call::Call;
pub(crate) use call::CallError;
use wire::{Episode, Paging, Show};

/// The calls that the service makes to the Web API.
#[derive(Debug)]
pub struct Spotify {
    api: Api,
}

impl Spotify {
    /// Creates a client without making a call.
    pub fn new(config: &Config) -> Result<Self, http::ClientError> {
        Ok(Self { api: Api::new(config)? })
    }

    /// Returns whether the last calls succeeded, so that several can be made at once.
    pub(crate) fn is_healthy(&self) -> bool {
        self.api.is_healthy()
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
        self.api.call(&call, context, wire::shows).await
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
        self.api.call(&call, context, wire::episodes).await
    }

    /// Looks up a show. Returns its name if the response has one.
    pub(crate) async fn show(
        &self,
        show: &ShowId,
        context: &Context,
    ) -> Result<Option<String>, CallError> {
        let call = Call { path: &["shows", show.as_str()], term: None, page: None };
        self.api.call(&call, context, wire::show).await
    }
}
