//! A call to the Web API: what it requests, and how it can fail.

use std::fmt;

use url::Url;

use crate::failure::Failure;
use crate::retry;

/// A call to the Web API. `Display` is its name in errors.
pub(super) struct Call<'a> {
    pub(super) path: &'a [&'a str],
    /// The term of a search.
    pub(super) term: Option<&'a str>,
    /// Offset and limit of a page.
    pub(super) page: Option<(u32, u32)>,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GET /v1/{}", self.path.join("/"))?;
        self.page.map_or(Ok(()), |(offset, _)| write!(f, " (offset {offset})"))
    }
}

impl Call<'_> {
    /// Returns the URL of the call below the base URL of the API.
    pub(super) fn url(&self, base: &Url, market: &str) -> Url {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(self.path);
        }
        let mut query = url.query_pairs_mut();
        if let Some(term) = self.term {
            query.append_pair("q", term).append_pair("type", "show");
        }
        query.append_pair("market", market);
        if let Some((offset, limit)) = self.page {
            query.append_pair("limit", &limit.to_string());
            query.append_pair("offset", &offset.to_string());
        }
        drop(query);
        url
    }
}

#[derive(Debug)]
pub(crate) enum CallError {
    /// The resource does not exist. The text is Spotify's message.
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
