//! Makes calls to the Web API: sends requests, and decides what each response means for the next attempt.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use url::Url;

use super::breaker::{CallStart, Scope};
use super::call::{Call, CallError};
use super::error_kind::{ErrorKind, classify};
use super::exchange;
use super::throttle::{Permit, Throttle};
use super::token::{Token, Tokens};
use super::wire::{Unreadable, error_message};
use crate::config::Config;
use crate::context::Context;
use crate::failure::{Failure, Obstacle};
use crate::http;
use crate::retry::{self, Backoff};
use crate::telemetry::traced;

/// The largest response body. A page of 50 episodes has about 300 kB.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The response to one attempt.
enum Response {
    Success {
        body: Bytes,
        retry_after: Option<Duration>,
    },
    /// Not a success; `detail` has the status and the message. The throttle has recorded a 429.
    Refused {
        kind: ErrorKind,
        status: u16,
        detail: String,
        retry_after: Option<Duration>,
    },
    /// No complete response.
    None(String),
}

/// What a failed attempt leads to.
enum Next {
    /// Another attempt at once; the throttle makes it wait if necessary.
    Again,
    /// Another attempt after a pause, if one is left.
    Retry { failure: Failure, retry_after: Option<Duration> },
    /// This call has failed.
    Fail(CallError),
    /// All calls that wait have failed.
    FailAll(Failure),
}

/// Makes calls, with what they share.
#[derive(Debug)]
pub(super) struct Api {
    client: reqwest::Client,
    base_url: Url,
    market: String,
    tokens: Tokens,
    throttle: Arc<Throttle>,
    backoff: Backoff,
    retry_after_unit: Duration,
}

impl Api {
    pub(super) fn new(config: &Config) -> Result<Self, http::ClientError> {
        let (spotify, timing) = (&config.spotify, &config.timing);
        let retry_after_unit = config.test_hooks.retry_after_second;
        Ok(Self {
            client: http::client(timing.connect_timeout, timing.spotify_call_timeout)?,
            base_url: spotify.api_url.clone(),
            market: spotify.market.clone(),
            tokens: Tokens::new(config),
            throttle: Arc::new(Throttle::new(spotify.max_concurrent_calls, timing.backoff)),
            backoff: timing.backoff,
            retry_after_unit: retry_after_unit.unwrap_or(Duration::from_secs(1)),
        })
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.throttle.is_closed()
    }

    /// Makes a call until it succeeds, fails permanently, or no attempt is left. `parse` reads the body
    /// of a success.
    pub(super) async fn call<T>(
        &self,
        call: &Call<'_>,
        context: &Context,
        parse: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, CallError> {
        let url = call.url(&self.base_url, &self.market);
        let start = self.throttle.begin_call();
        let attempt = |_| self.attempt(call, &url, start, context, parse);
        let value = retry::run(&self.backoff, attempt).await?;
        context.meter.pages.add(u64::from(call.page.is_some()));
        Ok(value)
    }

    async fn attempt<T>(
        &self,
        call: &Call<'_>,
        url: &Url,
        start: CallStart,
        context: &Context,
        parse: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, retry::Error<CallError>> {
        self.tokens.ensure_token(&self.client, &self.throttle, context).await?;
        let permit = self.throttle.acquire(start, context).await?;
        // Another call may have replaced the token meanwhile.
        let Some(token) = self.tokens.latest() else { return Err(retry::Error::Again) };
        context.meter.calls.add(1);
        // A task of its own sends the request: if the message is cancelled, the task still records the
        // response, which may begin a cooldown.
        let request = self.client.get(url.clone()).bearer_auth(token.secret.expose_secret());
        let sent = send(request, permit, token.clone(), self.retry_after_unit);
        let (response, mut permit) = match tokio::spawn(traced(sent)).await {
            Ok(sent) => sent,
            Err(ended) => return Err(unavailable(call, None, ended.to_string(), None).into()),
        };
        let next = match response {
            Response::Success { body, retry_after } => match parse(&body) {
                Ok(value) => {
                    self.tokens.accepted(&token);
                    return Ok(value);
                }
                Err(why) => self.unreadable(call, &token, &body, &why, retry_after, &mut permit),
            },
            Response::Refused { kind, status, detail, retry_after } => {
                self.refused(call, &token, kind, Some(status), detail, retry_after)
            }
            Response::None(detail) => {
                Next::Retry { failure: unavailable(call, None, detail, None), retry_after: None }
            }
        };
        Err(match next {
            Next::Again => retry::Error::Again,
            Next::Fail(error) => retry::Error::Permanent(error),
            Next::FailAll(failure) => permit.record_refusal(failure).into(),
            Next::Retry { failure, retry_after } => {
                match permit.record_failure(Scope::One(start), &failure, retry_after) {
                    Some(shared) => shared.into(),
                    None => retry::Error::Transient { error: failure.into(), retry_after },
                }
            }
        })
    }

    /// Decides about a success whose body is an error or cannot be parsed.
    fn unreadable(
        &self,
        call: &Call<'_>,
        token: &Token,
        body: &Bytes,
        why: &Unreadable,
        retry_after: Option<Duration>,
        permit: &mut Permit,
    ) -> Next {
        let secrets = [token.secret.expose_secret()];
        let detail = why.detail(body, &secrets);
        let (message, reason) = error_message(body, &secrets);
        let status = match why {
            Unreadable::Error { status } => *status,
            Unreadable::NotJson(_) | Unreadable::Missing { .. } => None,
        };
        match classify(status.unwrap_or_default(), &message, reason.as_deref()) {
            ErrorKind::Throttled { quota } => {
                permit.record_429(retry_after, quota);
                Next::Again
            }
            kind if matches!(why, Unreadable::Error { .. }) => {
                self.refused(call, token, kind, None, detail, retry_after)
            }
            // Anything else may be a page that is cut off.
            _ => Next::Retry { failure: odd(call, detail), retry_after },
        }
    }

    fn refused(
        &self,
        call: &Call<'_>,
        token: &Token,
        kind: ErrorKind,
        status: Option<u16>,
        detail: String,
        retry_after: Option<Duration>,
    ) -> Next {
        match kind {
            ErrorKind::Throttled { .. } => Next::Again,
            // A new token helps, unless this one has just replaced a refused one: Spotify at times
            // refuses a valid token and accepts it after a pause.
            ErrorKind::Unauthorized if self.tokens.refused(token) => Next::Again,
            ErrorKind::Unauthorized => {
                let detail = format!("{detail} (the token has just been issued)");
                Next::Retry { failure: odd(call, detail), retry_after }
            }
            ErrorKind::NotFound => Next::Fail(CallError::NotFound(detail)),
            ErrorKind::Premium => Next::FailAll(Failure::Premium(detail)),
            ErrorKind::SearchTerm if let Some(term) = call.term => {
                let detail =
                    format!("`search_term`: Spotify cannot search for {term:?} ({detail})");
                Next::Fail(Failure::InvalidMessage { reason: "refused", detail }.into())
            }
            ErrorKind::Transient { is_odd: false } => {
                Next::Retry { failure: unavailable(call, status, detail, retry_after), retry_after }
            }
            ErrorKind::Transient { is_odd: true } => {
                Next::Retry { failure: odd(call, detail), retry_after }
            }
            ErrorKind::SearchTerm => self.permanent(call, detail, Obstacle::Request),
            ErrorKind::Permanent(obstacle) => self.permanent(call, detail, obstacle),
        }
    }

    fn permanent(&self, call: &Call<'_>, detail: String, obstacle: Obstacle) -> Next {
        let call = format!("{call}, market {}", self.market);
        Next::Fail(Failure::SpotifyRefused { call, detail, obstacle }.into())
    }
}

fn unavailable(
    call: &Call<'_>,
    status: Option<u16>,
    detail: String,
    after: Option<Duration>,
) -> Failure {
    Failure::SpotifyUnavailable { call: call.to_string(), status, detail, after }
}

fn odd(call: &Call<'_>, detail: String) -> Failure {
    Failure::SpotifyUnexpected { call: call.to_string(), detail }
}

/// Sends one request and records the result, except for a transient failure, which the caller records.
async fn send(
    request: reqwest::RequestBuilder,
    mut permit: Permit,
    token: Token,
    retry_after_unit: Duration,
) -> (Response, Permit) {
    let sent = exchange::send(request, MAX_BODY_BYTES, retry_after_unit).await;
    let exchange::Response { status, retry_after, body } = match sent {
        Ok(response) => response,
        Err(why) => return (Response::None(why), permit),
    };
    if status.is_success() {
        permit.record_response();
        return (Response::Success { body, retry_after }, permit);
    }
    let status = status.as_u16();
    let (message, reason) = error_message(&body, &[token.secret.expose_secret()]);
    let kind = classify(status, &message, reason.as_deref());
    match kind {
        ErrorKind::Throttled { quota } => {
            permit.record_429(retry_after, quota);
        }
        ErrorKind::Transient { .. } => {}
        _ => permit.record_response(),
    }
    let detail = format!("{status} {message}").trim_end().to_owned();
    (Response::Refused { kind, status, detail, retry_after }, permit)
}
