//! Makes calls to the Web API: sends requests, and decides what each response means for the next attempt.

use std::sync::Arc;
use std::time::Duration;

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

/// Why an attempt failed.
struct ErrorResponse {
    kind: ErrorKind,
    /// The status of the response. `None` if there was none, or if it was a success with an error in it.
    status: Option<u16>,
    detail: String,
    retry_after: Option<Duration>,
}

/// Makes calls, and holds the state that they share.
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
    pub(super) async fn call<T: Send + 'static>(
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

    async fn attempt<T: Send + 'static>(
        &self,
        call: &Call<'_>,
        url: &Url,
        start: CallStart,
        context: &Context,
        parse: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, retry::Error<CallError>> {
        self.tokens.ensure_token(&self.client, &self.throttle, context).await?;
        let permit = self.throttle.acquire(start, context).await?;
        // If another call has just discarded a refused token, the next attempt requests a new one.
        let Some(token) = self.tokens.latest() else { return Err(retry::Error::Again) };
        context.meter.calls.add(1);
        // A task of its own sends the request: if the message is cancelled, the task still records the
        // response, which may begin a cooldown.
        let request = self.client.get(url.clone()).bearer_auth(token.secret.expose_secret());
        let sent = send(request, permit, token.clone(), self.retry_after_unit, parse);
        let (response, permit) = match tokio::spawn(traced(sent)).await {
            Ok(sent) => sent,
            Err(ended) => return Err(unavailable(call, None, ended.to_string(), None).into()),
        };
        match response {
            Ok(value) => {
                self.tokens.record_accepted(&token);
                Ok(value)
            }
            Err(error) => Err(self.handle_failure(call, start, &token, error, permit)),
        }
    }

    /// Decides whether a failed attempt is repeated, and records a failure that `send` has not recorded.
    fn handle_failure(
        &self,
        call: &Call<'_>,
        start: CallStart,
        token: &Token,
        error: ErrorResponse,
        permit: Permit,
    ) -> retry::Error<CallError> {
        let ErrorResponse { kind, status, detail, retry_after } = error;
        let failure = match kind {
            // The throttle makes the next attempt wait.
            ErrorKind::Throttled { .. } => return retry::Error::Again,
            // A new token helps, unless this one has just replaced a refused one: Spotify at times
            // refuses a valid token and accepts it after a pause.
            ErrorKind::Unauthorized if self.tokens.record_refused(token) => {
                return retry::Error::Again;
            }
            ErrorKind::Unauthorized => {
                odd(call, format!("{detail} (the token has just been issued)"))
            }
            ErrorKind::NotFound => return retry::Error::Permanent(CallError::NotFound(detail)),
            ErrorKind::Premium => return permit.record_refusal(Failure::Premium(detail)).into(),
            ErrorKind::SearchTerm if let Some(term) = call.term => {
                let detail =
                    format!("`search_term`: Spotify cannot search for {term:?} ({detail})");
                return Failure::InvalidMessage { reason: "refused", detail }.into();
            }
            ErrorKind::SearchTerm => return self.permanent(call, detail, Obstacle::Request),
            ErrorKind::Permanent(obstacle) => return self.permanent(call, detail, obstacle),
            ErrorKind::Transient { is_odd: true } => odd(call, detail),
            ErrorKind::Transient { is_odd: false } => {
                unavailable(call, status, detail, retry_after)
            }
        };
        match permit.record_failure(Scope::One(start), &failure, retry_after) {
            Some(shared) => shared.into(),
            None => retry::Error::Transient { error: failure.into(), retry_after },
        }
    }

    fn permanent(
        &self,
        call: &Call<'_>,
        detail: String,
        obstacle: Obstacle,
    ) -> retry::Error<CallError> {
        let call = format!("{call}, market {}", self.market);
        Failure::SpotifyRefused { call, detail, obstacle }.into()
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

/// Sends one request, parses a success, and records the result, except for a transient failure, which the
/// caller records.
async fn send<T>(
    request: reqwest::RequestBuilder,
    mut permit: Permit,
    token: Token,
    retry_after_unit: Duration,
    parse: fn(&[u8]) -> Result<T, Unreadable>,
) -> (Result<T, ErrorResponse>, Permit) {
    let sent = exchange::send(request, MAX_BODY_BYTES, retry_after_unit).await;
    let exchange::Response { status, retry_after, body } = match sent {
        Ok(response) => response,
        Err(detail) => {
            let kind = ErrorKind::Transient { is_odd: false };
            let error = ErrorResponse { kind, status: None, detail, retry_after: None };
            return (Err(error), permit);
        }
    };
    if status.is_success() {
        permit.record_response();
    }
    let secrets = [token.secret.expose_secret()];
    let words = || error_message(&body, &secrets);
    let (kind, status, detail) = if status.is_success() {
        let why = match parse(&body) {
            Ok(value) => return (Ok(value), permit),
            Err(why) => why,
        };
        (kind_of_unreadable(&why, words()), None, why.detail(&body, &secrets))
    } else {
        let (status, (message, reason)) = (status.as_u16(), words());
        let kind = classify(status, &message, reason.as_deref());
        (kind, Some(status), format!("{status} {message}").trim_end().to_owned())
    };
    match kind {
        ErrorKind::Throttled { quota } => {
            permit.record_429(retry_after, quota);
        }
        ErrorKind::Transient { .. } => {}
        _ => permit.record_response(),
    }
    (Err(ErrorResponse { kind, status, detail, retry_after }), permit)
}

/// Classifies a success that is an error or cannot be parsed.
fn kind_of_unreadable(why: &Unreadable, (message, reason): (String, Option<String>)) -> ErrorKind {
    let classify = |status| classify(status, &message, reason.as_deref());
    match why {
        Unreadable::Error { status } => classify(status.unwrap_or_default()),
        // Anything but a 429 may be a page that is cut off.
        _ => match classify(0) {
            throttled @ ErrorKind::Throttled { .. } => throttled,
            _ => ErrorKind::Transient { is_odd: true },
        },
    }
}
