//! The token of the client-credentials flow. The process has one, and replaces it before it expires or when
//! Spotify refuses it. Concurrent callers share one request for it, and its failure. Each request reads
//! the client ID and secret again, so a rotated secret needs no restart.

mod request;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::breaker::{CallStart, Scope};
use super::throttle::Throttle;
use crate::config::{Config, Credentials};
use crate::context::Context;
use crate::failure::Failure;
use crate::retry::{self, Backoff};
use crate::sync;
use crate::telemetry::traced;
pub(super) use request::Token;
use request::{ClientCredentials, Request, Response, unavailable};

#[derive(Debug)]
pub(super) struct Tokens {
    url: url::Url,
    credentials: Option<Credentials>,
    /// How long before its expiry a token is replaced.
    margin: Duration,
    backoff: Backoff,
    retry_after_unit: Duration,
    /// Admits one request for a token at a time.
    throttle: Arc<Throttle>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// Whether Spotify has refused a token since it last accepted one.
    is_in_doubt: bool,
    /// Whether the token was kept although it was refused.
    is_kept: bool,
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
            retry_after_unit: config
                .test_hooks
                .retry_after_second
                .unwrap_or(Duration::from_secs(1)),
            throttle: Arc::new(Throttle::new(1, timing.backoff)),
            state: Mutex::default(),
        }
    }

    /// Returns the newest token, even if it is about to expire.
    pub(super) fn latest(&self) -> Option<Token> {
        self.state().token.clone()
    }

    /// Records that Spotify accepted the token.
    pub(super) fn record_accepted(&self, token: &Token) {
        let mut state = self.state();
        if state.token.as_ref().is_some_and(|current| current.is(token)) {
            state.is_in_doubt = false;
        }
    }

    /// Records that Spotify refused the token. Returns whether to try another one at once. A token that
    /// has just replaced a refused one is kept for one more attempt after a pause, since Spotify at
    /// times refuses a valid token.
    pub(super) fn record_refused(&self, token: &Token) -> bool {
        let mut state = self.state();
        match &state.token {
            Some(current) if current.is(token) => {}
            // Another call has replaced the token.
            _ => return true,
        }
        let was_in_doubt = std::mem::replace(&mut state.is_in_doubt, true);
        if was_in_doubt && !state.is_kept {
            state.is_kept = true;
        } else {
            state.token = None;
        }
        !was_in_doubt
    }

    /// Makes sure that there is a token that does not expire soon. `api` is the throttle of the Web API.
    pub(super) async fn ensure_token(
        &self,
        client: &reqwest::Client,
        api: &Arc<Throttle>,
        context: &Context,
    ) -> Result<(), Failure> {
        let start = self.throttle.begin_call();
        retry::run(&self.backoff, |_| self.attempt(client, api, start, context)).await
    }

    async fn attempt(
        &self,
        client: &reqwest::Client,
        api: &Arc<Throttle>,
        start: CallStart,
        context: &Context,
    ) -> Result<(), retry::Error<Failure>> {
        if self.has_token() {
            return Ok(());
        }
        let permit = self.throttle.acquire(start, context).await?;
        // Another call may have got a token meanwhile.
        if self.has_token() {
            return Ok(());
        }
        api.wait_for_cooldown(context).await?;
        let request = Request {
            builder: client.post(self.url.clone()),
            credentials: self.read_credentials().await?,
            setting: self.setting(),
            margin: self.margin,
            retry_after_unit: self.retry_after_unit,
        };
        context.meter.calls.add(1);
        // A task of its own sends the request: if the message is cancelled, the task still records the
        // response, which may begin a cooldown.
        let sent = request.send(permit, Arc::clone(api));
        let (response, permit) = match tokio::spawn(traced(sent)).await {
            Ok(sent) => sent,
            Err(ended) => return Err(unavailable(None, ended.to_string(), None).into()),
        };
        let (failure, retry_after) = match response {
            Response::Token(token) => {
                let mut state = self.state();
                (state.token, state.is_kept) = (Some(token), false);
                return Ok(());
            }
            Response::Permanent(failure) => return Err(permit.record_refusal(failure).into()),
            Response::Transient { failure, retry_after } => (failure, retry_after),
        };
        match permit.record_failure(Scope::All(start), &failure, retry_after) {
            Some(shared) => Err(shared.into()),
            None => Err(retry::Error::Transient { error: failure, retry_after }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    fn has_token(&self) -> bool {
        self.state().token.as_ref().is_some_and(|token| Instant::now() < token.renew_at)
    }

    /// Returns the name of the setting that the credentials come from.
    fn setting(&self) -> &'static str {
        match self.credentials {
            Some(Credentials::File(_)) => "SPOTIFY_CREDENTIALS_FILE",
            _ => "SPOTIFY_CREDENTIALS",
        }
    }

    async fn read_credentials(&self) -> Result<ClientCredentials, Failure> {
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
                self.setting()
            ))
        })
    }
}
