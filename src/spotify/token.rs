//! The token of the client-credentials flow: one for the whole process, renewed before it expires and
//! when it is refused. Concurrent callers share one request for it, and its failure. Client id and
//! secret are read again for each token, so that a rotated secret needs no restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::gate::{Scope, Ticket};
use super::refusal::{Refusal, refusal};
use super::throttle::{Pass, Throttle};
use super::wire::{self, TokenAnswer, Unreadable, error_words};
use crate::config::{Config, Credentials};
use crate::context::Context;
use crate::failure::{Failure, RefusalCause};
use crate::http;
use crate::retry::{self, Backoff};
use crate::telemetry::traced;

/// The longest answer that is read. A token's is some hundred bytes.
const MAX_ANSWER: usize = 64 * 1024;

const CALL: &str = "POST /api/token";

#[derive(Debug)]
pub(super) struct Tokens {
    url: url::Url,
    credentials: Option<Credentials>,
    margin: Duration,
    backoff: Backoff,
    second: Duration,
    /// Admits one request at a time.
    gate: Arc<Throttle>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// Whether a token was refused and none has been accepted since.
    in_doubt: bool,
    /// Whether the token was refused although it is new, and kept.
    kept: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    renew_at: Instant,
}

impl Token {
    fn is(&self, other: &Token) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}

#[derive(Deserialize)]
struct Client {
    client_id: SecretString,
    client_secret: SecretString,
}

/// The result of one request.
enum Answer {
    Token(Token),
    /// A transient failure.
    Later {
        failure: Failure,
        after: Option<Duration>,
    },
    /// Too many requests; the throttle knows.
    Throttled {
        wait: Duration,
        quota: bool,
    },
    /// A failure that lasts until somebody changes something.
    Refused(Failure),
}

impl Tokens {
    pub(super) fn new(config: &Config) -> Self {
        let (timing, spotify) = (&config.timing, &config.spotify);
        let mut url = spotify.accounts_url.clone();
        url.set_path(&format!("{}/api/token", url.path().trim_end_matches('/')));
        Self {
            url,
            credentials: spotify.credentials.clone(),
            margin: timing.token_refresh_margin,
            backoff: timing.backoff,
            second: config.test_hooks.retry_after_second.unwrap_or(Duration::from_secs(1)),
            gate: Arc::new(Throttle::new(1, timing.backoff)),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest token, even if it is about to expire.
    pub(super) fn latest(&self) -> Option<Token> {
        self.state().token.clone()
    }

    /// Records that Spotify accepted the token.
    pub(super) fn accepted(&self, token: &Token) {
        let mut state = self.state();
        if state.token.as_ref().is_some_and(|current| current.is(token)) {
            state.in_doubt = false;
        }
    }

    /// Records that Spotify refused the token. Returns whether to try another one at once. A token that
    /// has just replaced a refused one is kept for one more attempt after a pause, since Spotify at
    /// times refuses a valid token.
    pub(super) fn refused(&self, token: &Token) -> bool {
        let mut state = self.state();
        match &state.token {
            Some(current) if current.is(token) => {}
            // Another call has replaced the token.
            _ => return true,
        }
        let was_in_doubt = std::mem::replace(&mut state.in_doubt, true);
        if was_in_doubt && !state.kept {
            state.kept = true;
        } else {
            state.token = None;
        }
        !was_in_doubt
    }

    /// Makes sure that there is a token that does not expire soon. Concurrent callers share the
    /// request for it, and its failure.
    pub(super) async fn get(
        &self,
        client: &reqwest::Client,
        api: &Arc<Throttle>,
        context: &Context,
    ) -> Result<(), Failure> {
        let ticket = self.gate.ticket();
        retry::run(&self.backoff, |_| self.attempt(client, api, ticket, context)).await
    }

    async fn attempt(
        &self,
        client: &reqwest::Client,
        api: &Arc<Throttle>,
        ticket: Ticket,
        context: &Context,
    ) -> Result<(), retry::Error<Failure>> {
        if self.has_token() {
            return Ok(());
        }
        let pass = self.gate.enter(ticket, context).await?;
        if self.has_token() {
            return Ok(());
        }
        api.cooled_down(context).await?;
        let secrets = self.client().await?;
        context.meter.calls.add(1);
        // In a task of its own, as every call: a cooldown must be recorded even if the message is
        // given up.
        let request = Request {
            builder: client.post(self.url.clone()),
            client: secrets,
            source: self.source(),
            margin: self.margin,
            second: self.second,
        };
        let sent = request.send(pass, Arc::clone(api));
        let (answer, pass) = match tokio::spawn(traced(sent)).await {
            Ok(sent) => sent,
            Err(ended) => return Err(unavailable(ended.to_string(), None).into()),
        };
        let (failure, after) = match answer {
            Answer::Token(token) => {
                let mut state = self.state();
                (state.token, state.kept) = (Some(token), false);
                return Ok(());
            }
            Answer::Refused(failure) => return Err(pass.refused(failure).into()),
            Answer::Throttled { wait, quota } => (Failure::Throttled { wait, quota }, Some(wait)),
            Answer::Later { failure, after } => (failure, after),
        };
        match pass.failed(Scope::All(ticket), &failure, after) {
            Some(shared) => Err(shared.into()),
            None => Err(retry::Error::Transient { error: failure, retry_after: after }),
        }
    }

    fn has_token(&self) -> bool {
        self.state().token.as_ref().is_some_and(|token| Instant::now() < token.renew_at)
    }

    fn source(&self) -> &'static str {
        match self.credentials {
            Some(Credentials::File(_)) => "SPOTIFY_CREDENTIALS_FILE",
            _ => "SPOTIFY_CREDENTIALS",
        }
    }

    async fn client(&self) -> Result<Client, Failure> {
        let failed = |why: String| Failure::SpotifyCredentials(why);
        let json = match &self.credentials {
            None => {
                return Err(failed(
                    "neither SPOTIFY_CREDENTIALS_FILE nor SPOTIFY_CREDENTIALS is set".to_owned(),
                ));
            }
            Some(Credentials::Json(json)) => json.clone(),
            Some(Credentials::File(path)) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| {
                    failed(format!("SPOTIFY_CREDENTIALS_FILE {}: {error}", path.display()))
                })?;
                SecretString::from(text)
            }
        };
        // serde's error may repeat what it read.
        serde_json::from_str(json.expose_secret()).map_err(|_| {
            failed(format!(
                "{} is not {{\"client_id\":\"…\",\"client_secret\":\"…\"}}",
                self.source()
            ))
        })
    }
}

/// One request for a token.
struct Request {
    builder: reqwest::RequestBuilder,
    client: Client,
    /// The setting that the client comes from.
    source: &'static str,
    margin: Duration,
    second: Duration,
}

impl Request {
    async fn send(self, mut pass: Pass, api: Arc<Throttle>) -> (Answer, Pass) {
        let answer = self.ask(&api).await;
        if !matches!(answer, Answer::Later { .. }) {
            pass.answered();
        }
        (answer, pass)
    }

    async fn ask(self, api: &Throttle) -> Answer {
        let asked = Instant::now();
        let (id, secret) =
            (self.client.client_id.expose_secret(), self.client.client_secret.expose_secret());
        let sent = self
            .builder
            .basic_auth(id, Some(secret))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return later(http::describe(&error), None),
        };
        let status = response.status();
        let after = http::retry_after(response.headers());
        let after = after.map(|after| after.mul_f64(self.second.as_secs_f64()));
        let body = match http::read_body(response, MAX_ANSWER).await {
            Ok(body) => body,
            Err(error) if status.is_success() => return later(error.to_string(), None),
            Err(_) => Bytes::new(),
        };
        let mut said = Some(status.as_u16());
        if status.is_success() {
            match wire::token(&body) {
                Ok(TokenAnswer { access_token, expires_in }) => {
                    let life = Duration::from_secs(expires_in.min(24 * 3600));
                    let renew_at = asked + life.saturating_sub(self.margin);
                    return Answer::Token(Token { secret: access_token, renew_at });
                }
                Err(Unreadable::Said { status }) => said = status,
                // Without the answer's own words, which may hold a token.
                Err(why) => return odd(format!("the answer holds no token: {why}"), None),
            }
        }
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        let (words, reason) = error_words(&body, &[basic.as_str(), secret, id]);
        let detail = match said {
            _ if !status.is_success() => format!("{} {words}", status.as_u16()),
            Some(said) => format!("an error {said} with status 200: {words}"),
            None => format!("an error with status 200: {words}"),
        };
        let detail = detail.trim_end().to_owned();
        let is_html = body.trim_ascii_start().starts_with(b"<");
        match meaning(said.unwrap_or_default(), &words, reason.as_deref(), is_html) {
            Meaning::Credentials => Answer::Refused(Failure::SpotifyCredentials(format!(
                "Spotify answers {detail} to the client id and secret of {}",
                self.source
            ))),
            Meaning::Other(Refusal::Throttled { quota }) => {
                Answer::Throttled { wait: api.close(after, quota), quota }
            }
            Meaning::Other(Refusal::Again { odd: false }) => later(detail, after),
            Meaning::Other(Refusal::Again { odd: true }) => odd(detail, after),
            Meaning::Other(Refusal::Premium) => Answer::Refused(Failure::Premium(detail)),
            Meaning::Other(refusal) => {
                let cause = match refusal {
                    Refusal::Lasting(cause) => cause,
                    _ => RefusalCause::Address,
                };
                let call = CALL.to_owned();
                Answer::Refused(Failure::SpotifyRefused { call, detail, cause })
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Meaning {
    /// Spotify does not accept the client id and secret.
    Credentials,
    Other(Refusal),
}

/// The meaning of an answer that is no token, with its status, or 0 for an error in a 200 that names
/// none. The error codes are those of OAuth (RFC 6749, section 5.2).
fn meaning(status: u16, words: &str, reason: Option<&str>, is_html: bool) -> Meaning {
    let says = |parts: &[&str]| parts.iter().any(|part| words.to_lowercase().contains(part));
    if status < 500 && says(&["invalid_client", "invalid client", "unauthorized_client"]) {
        return Meaning::Credentials;
    }
    if says(&["server_error", "temporarily_unavailable"]) {
        return Meaning::Other(Refusal::Again { odd: false });
    }
    match (refusal(status, words, reason), status) {
        (Refusal::Token | Refusal::Lasting(_), 400 | 403) if is_html => {
            // The page of a proxy in between, not the endpoint's answer.
            Meaning::Other(Refusal::Again { odd: true })
        }
        (Refusal::Token, _) | (Refusal::Lasting(_), 400 | 403) => Meaning::Credentials,
        (other, _) => Meaning::Other(other),
    }
}

fn unavailable(detail: String, after: Option<Duration>) -> Failure {
    Failure::SpotifyUnavailable { call: CALL.to_owned(), detail, after }
}

fn later(detail: String, after: Option<Duration>) -> Answer {
    Answer::Later { failure: unavailable(detail, after), after }
}

fn odd(detail: String, after: Option<Duration>) -> Answer {
    Answer::Later { failure: Failure::SpotifyUnexpected { call: CALL.to_owned(), detail }, after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_client_is_about_the_credentials() {
        let again = |odd| Meaning::Other(Refusal::Again { odd });
        let throttled = Meaning::Other(Refusal::Throttled { quota: false });
        let refused = |cause| Meaning::Other(Refusal::Lasting(cause));
        for (status, words, is_html, expected) in [
            (400, "invalid_client: Invalid client", false, Meaning::Credentials),
            (401, "", false, Meaning::Credentials),
            (403, "Forbidden", false, Meaning::Credentials),
            (0, "invalid_client", false, Meaning::Credentials),
            (400, "", true, again(true)),
            (403, "", true, again(true)),
            (400, "temporarily_unavailable", false, again(false)),
            (0, "server_error", false, again(false)),
            (0, "Something went wrong", false, again(true)),
            (503, "", true, again(false)),
            (408, "", false, again(false)),
            (425, "", false, again(true)),
            (429, "", false, throttled),
            (302, "", true, refused(RefusalCause::Address)),
            (404, "", true, Meaning::Other(Refusal::NotFound)),
        ] {
            assert_eq!(meaning(status, words, None, is_html), expected, "{status} {words}");
        }
    }
}
