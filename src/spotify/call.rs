//! One call to the Web API with its retries: what is sent, and what its answer leads to.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use url::Url;

use super::gate::{Scope, Ticket};
use super::refusal::{Refusal, refusal};
use super::throttle::Pass;
use super::token::Token;
use super::wire::{Unreadable, error_words};
use super::{CallError, Spotify};
use crate::context::Context;
use crate::failure::{Failure, RefusalCause};
use crate::http;
use crate::retry;
use crate::telemetry::traced;

/// The longest answer that is read. A page of 50 episodes has about 300 kB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

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

/// The result of one request.
enum Answer {
    Success {
        body: Bytes,
        after: Option<Duration>,
    },
    /// Not a success; `detail` has the status and Spotify's words.
    Refused {
        refusal: Refusal,
        detail: String,
        after: Option<Duration>,
    },
    /// Too many calls. The throttle has recorded it.
    Throttled,
    /// No complete answer.
    None(String),
}

/// What a failed attempt leads to.
enum Next {
    /// Another attempt at once; the gate makes it wait if it must.
    Again,
    /// Another attempt after a pause, if one is left.
    Later { failure: Failure, after: Option<Duration> },
    /// No further attempt would help this call.
    End(CallError),
    /// No further attempt would help any call.
    EndAll(Failure),
}

impl Spotify {
    /// Makes a call until it succeeds, is refused, or no attempt is left. `parse` reads a response of success.
    pub(super) async fn call<T>(
        &self,
        call: &Call<'_>,
        context: &Context,
        parse: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, CallError> {
        let (url, ticket) = (self.url(call), self.throttle.ticket());
        retry::run(&self.backoff, |_| self.attempt(call, &url, ticket, context, parse)).await
    }

    async fn attempt<T>(
        &self,
        call: &Call<'_>,
        url: &Url,
        ticket: Ticket,
        context: &Context,
        parse: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, retry::Error<CallError>> {
        self.tokens.get(&self.client, &self.throttle, context).await?;
        let pass = self.throttle.enter(ticket, context).await?;
        // The newest token: another call may have replaced it meanwhile.
        let Some(token) = self.tokens.latest() else { return Err(retry::Error::Again) };
        context.meter.calls.add(1);
        // The request is sent by a task of its own, which ends with the answer. If the message is
        // given up meanwhile, a cooldown must still be recorded.
        let request = self.client.get(url.clone()).bearer_auth(token.secret.expose_secret());
        let sent = send(request, pass, token.clone(), self.second);
        let (answer, mut pass) = match tokio::spawn(traced(sent)).await {
            Ok(sent) => sent,
            Err(ended) => return Err(self.unavailable(call, ended.to_string(), None).into()),
        };
        let next = match answer {
            Answer::Success { body, after } => match parse(&body) {
                Ok(page) => {
                    self.tokens.accepted(&token);
                    return Ok(page);
                }
                Err(why) => self.unreadable(call, &token, &body, &why, after, &mut pass),
            },
            Answer::Refused { refusal, detail, after } => {
                self.refused(call, &token, refusal, detail, after)
            }
            Answer::Throttled => Next::Again,
            Answer::None(detail) => {
                Next::Later { failure: self.unavailable(call, detail, None), after: None }
            }
        };
        Err(match next {
            Next::Again => retry::Error::Again,
            Next::End(error) => retry::Error::Permanent(error),
            Next::EndAll(failure) => pass.refused(failure).into(),
            Next::Later { failure, after } => {
                match pass.failed(Scope::Call(ticket), &failure, after) {
                    Some(shared) => shared.into(),
                    None => retry::Error::Transient { error: failure.into(), retry_after: after },
                }
            }
        })
    }

    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(call.path);
        }
        let mut query = url.query_pairs_mut();
        if let Some(term) = call.term {
            query.append_pair("q", term).append_pair("type", "show");
        }
        query.append_pair("market", &self.market);
        if let Some((offset, limit)) = call.page {
            query.append_pair("limit", &limit.to_string());
            query.append_pair("offset", &offset.to_string());
        }
        drop(query);
        url
    }

    /// Decides about a success that cannot be read: an error in its place, or something else.
    fn unreadable(
        &self,
        call: &Call<'_>,
        token: &Token,
        body: &Bytes,
        why: &Unreadable,
        after: Option<Duration>,
        pass: &mut Pass,
    ) -> Next {
        let secrets = [token.secret.expose_secret()];
        let detail = why.detail(body, &secrets);
        let (words, reason) = error_words(body, &secrets);
        let status = match why {
            Unreadable::Said { status } => *status,
            Unreadable::NotJson(_) | Unreadable::Missing { .. } => None,
        };
        match refusal(status.unwrap_or_default(), &words, reason.as_deref()) {
            Refusal::Throttled { quota } => {
                pass.banned(after, quota);
                Next::Again
            }
            refusal if matches!(why, Unreadable::Said { .. }) => {
                self.refused(call, token, refusal, detail, after)
            }
            // Other words may come from a page that is cut short.
            _ => Next::Later { failure: odd(call, detail), after },
        }
    }

    fn refused(
        &self,
        call: &Call<'_>,
        token: &Token,
        refusal: Refusal,
        detail: String,
        after: Option<Duration>,
    ) -> Next {
        match refusal {
            // Another token helps, unless this one has just replaced a refused one: Spotify at times
            // refuses a valid token and accepts it after a pause.
            Refusal::Token if self.tokens.refused(token) => Next::Again,
            Refusal::Token => {
                let detail = format!("{detail} (the token has just been issued)");
                Next::Later { failure: odd(call, detail), after }
            }
            Refusal::NotFound => Next::End(CallError::NotFound(detail)),
            Refusal::Premium => Next::EndAll(Failure::Premium(detail)),
            Refusal::SearchTerm if let Some(term) = call.term => {
                let detail =
                    format!("`search_term`: Spotify cannot search for {term:?} ({detail})");
                Next::End(Failure::InvalidMessage { reason: "refused", detail }.into())
            }
            Refusal::Again { odd: false } => {
                Next::Later { failure: self.unavailable(call, detail, after), after }
            }
            Refusal::Again { odd: true } | Refusal::Throttled { .. } => {
                Next::Later { failure: odd(call, detail), after }
            }
            Refusal::SearchTerm => self.lasting(call, detail, RefusalCause::Request),
            Refusal::Lasting(cause) => self.lasting(call, detail, cause),
        }
    }

    fn unavailable(&self, call: &Call<'_>, detail: String, after: Option<Duration>) -> Failure {
        Failure::SpotifyUnavailable { call: call.to_string(), detail, after }
    }

    fn lasting(&self, call: &Call<'_>, detail: String, cause: RefusalCause) -> Next {
        let call = format!("{call}, market {}", self.market);
        Next::End(Failure::SpotifyRefused { call, detail, cause }.into())
    }
}

fn odd(call: &Call<'_>, detail: String) -> Failure {
    Failure::SpotifyUnexpected { call: call.to_string(), detail }
}

/// Sends one request and reports the result to the throttle, except for transient failures: the caller
/// reports those.
async fn send(
    request: reqwest::RequestBuilder,
    mut pass: Pass,
    token: Token,
    second: Duration,
) -> (Answer, Pass) {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return (Answer::None(http::describe(&error)), pass),
    };
    let status = response.status();
    let after = http::retry_after(response.headers());
    let after = after.map(|after| after.mul_f64(second.as_secs_f64()));
    let body = http::read_body(response, MAX_ANSWER).await;
    if status.is_success() {
        return match body {
            Ok(body) => {
                pass.answered();
                (Answer::Success { body, after }, pass)
            }
            Err(error) => (Answer::None(error.to_string()), pass),
        };
    }
    // If the body is cut short, the status is enough.
    let body = body.unwrap_or_default();
    let (words, reason) = error_words(&body, &[token.secret.expose_secret()]);
    let refusal = refusal(status.as_u16(), &words, reason.as_deref());
    if let Refusal::Throttled { quota } = refusal {
        pass.banned(after, quota);
        return (Answer::Throttled, pass);
    }
    if !matches!(refusal, Refusal::Again { .. }) {
        pass.answered();
    }
    let detail = format!("{} {words}", status.as_u16()).trim_end().to_owned();
    (Answer::Refused { refusal, detail, after }, pass)
}
