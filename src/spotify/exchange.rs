//! Sends one request to Spotify, and returns the response unparsed.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;

use crate::http;

pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// Empty if an error's body was cut off, because its status is enough.
    pub(super) body: Bytes,
}

/// Sends a request. The error says why there is no complete response. `retry_after_unit` is how long a
/// second of `Retry-After` lasts.
pub(super) async fn send(
    request: reqwest::RequestBuilder,
    max_body_bytes: usize,
    retry_after_unit: Duration,
) -> Result<Response, String> {
    let response = request.send().await.map_err(|error| http::describe(&error))?;
    let status = response.status();
    let retry_after = http::retry_after(response.headers());
    let retry_after = retry_after.map(|pause| pause.mul_f64(retry_after_unit.as_secs_f64()));
    let body = match http::read_body(response, max_body_bytes).await {
        Err(error) if status.is_success() => return Err(error.to_string()),
        body => body.unwrap_or_default(),
    };
    Ok(Response { status, retry_after, body })
}
