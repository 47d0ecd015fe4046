//! One request for a token, and what its response means.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use crate::failure::{Failure, Obstacle};
use crate::spotify::error_kind::{ErrorKind, classify};
use crate::spotify::exchange;
use crate::spotify::throttle::{Permit, Throttle};
use crate::spotify::wire::{self, TokenResponse, Unreadable, error_message};

/// The largest response body. A response with a token has a few hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The longest time that a token is used, regardless of its `expires_in`.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The call's name in errors.
const CALL: &str = "POST /api/token";

#[derive(Clone, Debug)]
pub(in crate::spotify) struct Token {
    pub(in crate::spotify) secret: SecretString,
    pub(super) renew_at: Instant,
}

impl Token {
    pub(super) fn is(&self, other: &Token) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}

/// The ID and secret of the app at Spotify.
#[derive(Deserialize)]
pub(super) struct ClientCredentials {
    client_id: SecretString,
    client_secret: SecretString,
}

pub(super) struct Request {
    pub(super) builder: reqwest::RequestBuilder,
    pub(super) credentials: ClientCredentials,
    /// The setting that the credentials come from.
    pub(super) setting: &'static str,
    pub(super) margin: Duration,
    pub(super) retry_after_unit: Duration,
}

pub(super) enum Response {
    Token(Token),
    Transient {
        failure: Failure,
        retry_after: Option<Duration>,
    },
    /// A failure that lasts until someone fixes its cause.
    Permanent(Failure),
}

impl Request {
    /// Sends the request and records the result, except for a transient failure, which the caller
    /// records. `api` is the throttle of the Web API.
    pub(super) async fn send(self, mut permit: Permit, api: Arc<Throttle>) -> (Response, Permit) {
        let response = self.response(&api).await;
        if !matches!(response, Response::Transient { .. }) {
            permit.record_response();
        }
        (response, permit)
    }

    async fn response(self, api: &Throttle) -> Response {
        let sent_at = Instant::now();
        let id = self.credentials.client_id.expose_secret();
        let secret = self.credentials.client_secret.expose_secret();
        let form = [("grant_type", "client_credentials")];
        let request = self.builder.basic_auth(id, Some(secret)).form(&form);
        let sent = exchange::send(request, MAX_BODY_BYTES, self.retry_after_unit).await;
        let exchange::Response { status, retry_after, body } = match sent {
            Ok(response) => response,
            Err(why) => return transient(None, why, None),
        };
        let mut error_status = Some(status.as_u16());
        if status.is_success() {
            match wire::token(&body) {
                Ok(TokenResponse { access_token, expires_in }) => {
                    let life = Duration::from_secs(expires_in).min(MAX_LIFE);
                    let renew_at = sent_at + life.saturating_sub(self.margin);
                    return Response::Token(Token { secret: access_token, renew_at });
                }
                Err(Unreadable::Error { status }) => error_status = status,
                // The error does not repeat the body, which may contain a token.
                Err(why) => return odd(format!("the response has no token: {why}"), None),
            }
        }
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        let (message, reason) = error_message(&body, &[basic.as_str(), secret, id]);
        let detail = match error_status {
            _ if !status.is_success() => format!("{} {message}", status.as_u16()),
            Some(status) => format!("an error {status} with status 200: {message}"),
            None => format!("an error with status 200: {message}"),
        };
        let detail = detail.trim_end().to_owned();
        let is_html = body.trim_ascii_start().starts_with(b"<");
        let status = error_status.unwrap_or_default();
        match classify_token_error(status, &message, reason.as_deref(), is_html) {
            ErrorKind::Unauthorized => Response::Permanent(Failure::SpotifyCredentials(format!(
                "Spotify answers {detail} to the client id and secret of {}",
                self.setting
            ))),
            ErrorKind::Throttled { quota } => {
                let wait = api.cool_down(retry_after, quota);
                let failure = Failure::Throttled { wait, quota };
                Response::Transient { failure, retry_after: Some(wait) }
            }
            ErrorKind::Transient { is_odd: false } => transient(Some(status), detail, retry_after),
            ErrorKind::Transient { is_odd: true } => odd(detail, retry_after),
            ErrorKind::Premium => Response::Permanent(Failure::Premium(detail)),
            kind => {
                let obstacle = match kind {
                    ErrorKind::Permanent(obstacle) => obstacle,
                    _ => Obstacle::Address,
                };
                let call = CALL.to_owned();
                Response::Permanent(Failure::SpotifyRefused { call, detail, obstacle })
            }
        }
    }
}

/// Classifies a response without a token. `status` is 0 for an error in a 200 that has none. The error
/// codes are those of OAuth (RFC 6749, section 5.2).
fn classify_token_error(
    status: u16,
    message: &str,
    reason: Option<&str>,
    is_html: bool,
) -> ErrorKind {
    let says = |parts: &[&str]| parts.iter().any(|part| message.to_lowercase().contains(part));
    if status < 500 && says(&["invalid_client", "invalid client", "unauthorized_client"]) {
        return ErrorKind::Unauthorized;
    }
    if says(&["server_error", "temporarily_unavailable"]) {
        return ErrorKind::Transient { is_odd: false };
    }
    match (classify(status, message, reason), status) {
        // An HTML page comes from a proxy, not from the endpoint.
        (ErrorKind::Unauthorized | ErrorKind::Permanent(_), 400 | 403) if is_html => {
            ErrorKind::Transient { is_odd: true }
        }
        (ErrorKind::Permanent(_), 400 | 403) => ErrorKind::Unauthorized,
        (other, _) => other,
    }
}

pub(super) fn unavailable(status: Option<u16>, detail: String, after: Option<Duration>) -> Failure {
    Failure::SpotifyUnavailable { call: CALL.to_owned(), status, detail, after }
}

fn transient(status: Option<u16>, detail: String, retry_after: Option<Duration>) -> Response {
    Response::Transient { failure: unavailable(status, detail, retry_after), retry_after }
}

fn odd(detail: String, retry_after: Option<Duration>) -> Response {
    let failure = Failure::SpotifyUnexpected { call: CALL.to_owned(), detail };
    Response::Transient { failure, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_client_is_about_the_credentials() {
        let transient = |is_odd| ErrorKind::Transient { is_odd };
        let throttled = ErrorKind::Throttled { quota: false };
        for (status, message, is_html, expected) in [
            (400, "invalid_client: Invalid client", false, ErrorKind::Unauthorized),
            (401, "", false, ErrorKind::Unauthorized),
            (403, "Forbidden", false, ErrorKind::Unauthorized),
            (0, "invalid_client", false, ErrorKind::Unauthorized),
            (400, "", true, transient(true)),
            (403, "", true, transient(true)),
            (400, "temporarily_unavailable", false, transient(false)),
            (0, "server_error", false, transient(false)),
            (0, "Something went wrong", false, transient(true)),
            (503, "", true, transient(false)),
            (408, "", false, transient(false)),
            (425, "", false, transient(true)),
            (429, "", false, throttled),
            (302, "", true, ErrorKind::Permanent(Obstacle::Address)),
            (404, "", true, ErrorKind::NotFound),
        ] {
            let kind = classify_token_error(status, message, None, is_html);
            assert_eq!(kind, expected, "{status} {message}");
        }
    }
}
