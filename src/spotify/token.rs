//! The token of the client-credentials flow: one at a time for the whole process, renewed before it
//! ends and when it is refused. Client id and secret are read anew for each token, so that a rotated
//! secret heals without a restart.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::throttle::Throttle;
use super::wire::{self, TokenAnswer, error_words};
use crate::config::{self, Credentials};
use crate::failure::Failure;
use crate::http;
use crate::meter::Meter;
use crate::retry::{Backoff, retry_after};

/// A token's answer is some hundred bytes.
const MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Tokens {
    url: url::Url,
    credentials: Option<Credentials>,
    margin: Duration,
    backoff: Backoff,
    second: Duration,
    current: Mutex<Option<Token>>,
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

/// A failure that may pass when tried again.
struct Passing {
    detail: String,
    after: Option<Duration>,
}

fn passing(detail: String) -> Passing {
    Passing { detail, after: None }
}

impl Tokens {
    pub(super) fn new(config: &config::Spotify, timing: &config::Timing) -> Self {
        let mut url = config.accounts_url.clone();
        url.set_path(&format!("{}/api/token", url.path().trim_end_matches('/')));
        Self {
            url,
            credentials: config.credentials.clone(),
            margin: timing.token_margin,
            backoff: timing.backoff,
            second: timing.second,
            current: Mutex::new(None),
        }
    }

    /// A token, other than the one that was just refused. Who comes while one is fetched waits for
    /// that one.
    pub(super) async fn get(
        &self,
        client: &reqwest::Client,
        throttle: &Throttle,
        refused: Option<&Token>,
        meter: &Meter,
    ) -> Result<Token, Failure> {
        let mut current = self.current.lock().await;
        if let Some(token) = &*current
            && Instant::now() < token.renew_at
            && !refused.is_some_and(|refused| refused.is(token))
        {
            return Ok(token.clone());
        }
        let token = self.fetch(client, throttle, meter).await?;
        *current = Some(token.clone());
        Ok(token)
    }

    async fn fetch(
        &self,
        client: &reqwest::Client,
        throttle: &Throttle,
        meter: &Meter,
    ) -> Result<Token, Failure> {
        let mut attempt = 1;
        loop {
            throttle.cooled_down(meter).await?;
            meter.calls.add(1);
            let Passing { detail, after } = match self.ask(client, throttle).await? {
                Ok(token) => return Ok(token),
                Err(passing) => passing,
            };
            attempt += 1;
            let patient = after.is_none_or(|after| after <= throttle.patience());
            match self.backoff.before(attempt).filter(|_| patient) {
                Some(wait) => sleep(after.map_or(wait, |after| after.max(wait))).await,
                None => {
                    let call = "POST /api/token".to_owned();
                    return Err(Failure::SpotifyUnavailable { call, detail, after });
                }
            }
        }
    }

    /// One call: a token, or what may pass when tried again; other failures end it.
    async fn ask(
        &self,
        client: &reqwest::Client,
        throttle: &Throttle,
    ) -> Result<Result<Token, Passing>, Failure> {
        let Client { client_id, client_secret } = self.client().await?;
        let asked = Instant::now();
        let sent = client
            .post(self.url.clone())
            .basic_auth(client_id.expose_secret(), Some(client_secret.expose_secret()))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Err(passing(http::describe(&error)))),
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after(value, SystemTime::now()));
        let after = after.map(|after| after.mul_f64(self.second.as_secs_f64()));
        let body = match http::read(response, MOST).await {
            Ok(body) => body,
            Err(error) => return Ok(Err(passing(error.to_string()))),
        };
        if status.is_success() {
            return Ok(wire::token(&body)
                .map(|TokenAnswer { access_token, expires_in }| {
                    let life = Duration::from_secs(expires_in.min(24 * 3600));
                    Token {
                        secret: access_token,
                        renew_at: asked + life.saturating_sub(self.margin),
                    }
                })
                // Without the answer's own words, which may hold a token.
                .map_err(|unreadable| {
                    passing(format!("the answer holds no token: {unreadable}"))
                }));
        }
        let basic = STANDARD.encode(format!(
            "{}:{}",
            client_id.expose_secret(),
            client_secret.expose_secret()
        ));
        let secrets = [basic.as_str(), client_secret.expose_secret(), client_id.expose_secret()];
        let (words, reason) = error_words(&body, &secrets);
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                let quota = reason.as_deref() == Some(super::QUOTA);
                throttle.close(after, quota);
                // The gate waits, or answers that it is too long.
                Ok(Err(passing(format!("429 {words}"))))
            }
            _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                let detail = format!("{} {words}", status.as_u16()).trim_end().to_owned();
                Ok(Err(Passing { detail, after }))
            }
            _ => Err(Failure::SpotifyCredentials(format!(
                "Spotify answers {} {words} to the client id and secret of {}",
                status.as_u16(),
                self.source()
            ))),
        }
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
