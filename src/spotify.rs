//! The client of Spotify's Web API: what a call is and what its failures mean. Which calls are made,
//! and what listings make of them, is the extraction's.

mod throttle;
mod token;
pub(crate) mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret;
use tokio::time::sleep;
use url::Url;

use crate::config::{self, Timing};
use crate::failure::Failure;
use crate::http;
use crate::meter::Meter;
use crate::names::{ShowId, Term};
use crate::retry::{Backoff, retry_after};
use crate::telemetry::traced;
use throttle::{Pass, Throttle};
use token::{Token, Tokens};
use wire::{Episode, Paging, Show, Unreadable, error_words};

/// The longest answer that is read. A page of 50 episodes has about 300 kB.
const MOST: usize = 8 * 1024 * 1024;

/// How often in a row one call is answered 429 before its message gives way.
const THROTTLED_IN_A_ROW: u32 = 10;

/// The reason of a 429 that means the developer account's quota, not the rate
/// (<https://developer.spotify.com/documentation/web-api/references/changes/july-2026>).
const QUOTA: &str = "QUOTA_EXCEEDED";

/// Spotify's Web API.
#[derive(Debug)]
pub struct Spotify {
    client: reqwest::Client,
    api: Url,
    market: String,
    tokens: Tokens,
    throttle: Arc<Throttle>,
    backoff: Backoff,
    second: Duration,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Spotify says that what was asked for does not exist.
    NotFound(String),
    Failed(Failure),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One call, as it is named in errors.
struct Call<'a> {
    path: &'a [&'a str],
    query: &'a [(&'a str, &'a str)],
    offset: u32,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GET /v1/{} (offset {})", self.path.join("/"), self.offset)
    }
}

/// What came of one attempt that did not succeed.
enum Attempt {
    /// A passing failure: again after a wait.
    Again { detail: String, after: Option<Duration> },
    /// The token was refused: again with another.
    NewToken,
    /// 429; the throttle knows.
    Throttled { left: Duration, quota: bool },
    /// No further attempt would help.
    Final(CallError),
}

/// An answer other than 429.
struct Answer {
    status: StatusCode,
    after: Option<Duration>,
    body: Bytes,
}

impl Spotify {
    /// A client; no call is made.
    pub fn new(config: &config::Spotify, timing: &Timing) -> Result<Self, http::ClientError> {
        Ok(Self {
            client: http::client(timing.connect, timing.spotify_call)?,
            api: config.api_url.clone(),
            market: config.market.clone(),
            tokens: Tokens::new(config, timing),
            throttle: Arc::new(Throttle::new(
                config.concurrent_calls,
                timing.patience,
                timing.backoff,
            )),
            backoff: timing.backoff,
            second: timing.second,
        })
    }

    /// Whether the last calls were welcome, so that several may be made at once.
    pub(crate) fn is_open(&self) -> bool {
        self.throttle.is_open()
    }

    /// A page of the shows that a search for `term` finds.
    pub(crate) async fn search<T>(
        &self,
        term: &Term,
        offset: u32,
        limit: u32,
        meter: &Meter,
        read: impl Fn(Paging<Show<'_>>) -> T,
    ) -> Result<T, CallError> {
        let query = [("q", term.text()), ("type", "show")];
        let call = Call { path: &["search"], query: &query, offset };
        self.page(&call, limit, meter, |body| wire::shows(body, &read)).await
    }

    /// A page of a show's episodes, newest first.
    pub(crate) async fn episodes<T>(
        &self,
        show: &ShowId,
        offset: u32,
        limit: u32,
        meter: &Meter,
        read: impl Fn(Paging<Episode<'_>>) -> T,
    ) -> Result<T, CallError> {
        let call = Call { path: &["shows", show.as_str(), "episodes"], query: &[], offset };
        self.page(&call, limit, meter, |body| wire::episodes(body, &read)).await
    }

    /// Whether a show exists.
    pub(crate) async fn show(&self, show: &ShowId, meter: &Meter) -> Result<(), CallError> {
        let call = Call { path: &["shows", show.as_str()], query: &[], offset: 0 };
        self.page(&call, 1, meter, |_| Ok(())).await
    }

    async fn page<T>(
        &self,
        call: &Call<'_>,
        limit: u32,
        meter: &Meter,
        read: impl Fn(&Bytes) -> Result<T, Unreadable>,
    ) -> Result<T, CallError> {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(call.path);
        }
        url.query_pairs_mut()
            .extend_pairs(call.query)
            .append_pair("market", &self.market)
            .append_pair("limit", &limit.to_string())
            .append_pair("offset", &call.offset.to_string());

        let mut refused: Option<Token> = None;
        let mut attempt = 1;
        let mut throttled = 0;
        loop {
            let token =
                self.tokens.get(&self.client, &self.throttle, refused.as_ref(), meter).await?;
            let failed = match self.attempt(call, &url, &token, meter).await {
                Ok(body) => match read(&body) {
                    Ok(page) => {
                        meter.pages.add(1);
                        return Ok(page);
                    }
                    Err(unreadable) => {
                        again(unreadable.detail(&body, &[token.secret.expose_secret()]))
                    }
                },
                Err(failed) => failed,
            };
            match failed {
                Attempt::Final(error) => return Err(error),
                Attempt::NewToken if refused.is_none() => refused = Some(token),
                Attempt::NewToken => {
                    let detail =
                        format!("Spotify refuses a token that it has just given, at {call}");
                    return Err(Failure::SpotifyCredentials(detail).into());
                }
                Attempt::Throttled { left, quota } => {
                    throttled += 1;
                    if throttled == THROTTLED_IN_A_ROW {
                        return Err(Failure::Throttled { wait: left, quota }.into());
                    }
                }
                Attempt::Again { detail, after } => {
                    attempt += 1;
                    match self.backoff.before(attempt) {
                        Some(wait) => sleep(after.map_or(wait, |after| after.max(wait))).await,
                        None => {
                            let call = call.to_string();
                            return Err(Failure::SpotifyUnavailable { call, detail, after }.into());
                        }
                    }
                }
            }
        }
    }

    /// One request and its answer's body. It is sent by a task of its own, which ends with the
    /// answer even where the message is given up meanwhile: a ban that nobody hears of is run into
    /// by the next call.
    async fn attempt(
        &self,
        call: &Call<'_>,
        url: &Url,
        token: &Token,
        meter: &Meter,
    ) -> Result<Bytes, Attempt> {
        let pass =
            self.throttle.enter(meter).await.map_err(|failure| Attempt::Final(failure.into()))?;
        meter.calls.add(1);
        let request = self.client.get(url.clone()).bearer_auth(token.secret.expose_secret());
        let answer = match tokio::spawn(traced(send(request, pass, self.second))).await {
            Ok(answer) => answer?,
            Err(ended) => return Err(again(ended.to_string())),
        };
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let (words, _) = error_words(&answer.body, &[token.secret.expose_secret()]);
        Err(self.refusal(call, answer.status, words, answer.after))
    }

    fn refusal(
        &self,
        call: &Call<'_>,
        status: StatusCode,
        words: String,
        after: Option<Duration>,
    ) -> Attempt {
        let detail = format!("{} {words}", status.as_u16()).trim_end().to_owned();
        let lower = words.to_lowercase();
        match status {
            StatusCode::UNAUTHORIZED => Attempt::NewToken,
            StatusCode::NOT_FOUND => Attempt::Final(CallError::NotFound(words)),
            StatusCode::BAD_REQUEST if lower.contains("base62") => {
                Attempt::Final(CallError::NotFound(words))
            }
            StatusCode::FORBIDDEN if lower.contains("premium") => {
                Attempt::Final(Failure::Premium(words).into())
            }
            StatusCode::REQUEST_TIMEOUT => Attempt::Again { detail, after },
            _ if status.is_server_error() => match after {
                Some(after) if after > self.throttle.patience() => Attempt::Final(
                    Failure::SpotifyUnavailable {
                        call: call.to_string(),
                        detail,
                        after: Some(after),
                    }
                    .into(),
                ),
                after => Attempt::Again { detail, after },
            },
            _ => Attempt::Final(
                Failure::SpotifyRefused { call: format!("{call}, market {}", self.market), detail }
                    .into(),
            ),
        }
    }
}

/// Sends one call and tells the throttle how Spotify took it.
async fn send(
    request: reqwest::RequestBuilder,
    pass: Pass,
    second: Duration,
) -> Result<Answer, Attempt> {
    let response = request.send().await.map_err(|error| again(http::describe(&error)))?;
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|value| retry_after(value, SystemTime::now()));
    let after = after.map(|after| after.mul_f64(second.as_secs_f64()));
    let body = http::read(response, MOST).await.map_err(|error| again(error.to_string()));
    if status == StatusCode::TOO_MANY_REQUESTS {
        let (_, reason) = error_words(&body.unwrap_or_default(), &[]);
        let quota = reason.as_deref() == Some(QUOTA);
        return Err(Attempt::Throttled { left: pass.refused(after, quota), quota });
    }
    pass.welcome();
    Ok(Answer { status, after, body: body? })
}

fn again(detail: String) -> Attempt {
    Attempt::Again { detail, after: None }
}
