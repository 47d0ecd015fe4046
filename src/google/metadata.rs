//! Reads the project and tokens of the service account from the metadata server
//! (<https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys>), without a proxy. The
//! caller retries all errors, because the server sometimes returns 403, 404 or 500 for a moment.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use crate::http;
use crate::text;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// The largest response. Most have a few hundred bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// How long before its expiry a token is refreshed. The server has a new one 4 to 5 minutes before.
const REFRESH_MARGIN: Duration = Duration::from_secs(240);

/// The pause after a failed refresh, during which the old token is used.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// The lifetime of a token if the server does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Metadata {
    host: String,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    refresh_at: Instant,
    expires_at: Instant,
}

impl Token {
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.refresh_at
    }

    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < self.expires_at
    }

    pub(super) fn refresh_later(&mut self) {
        self.refresh_at = (Instant::now() + REFRESH_PAUSE).min(self.expires_at);
    }
}

impl Metadata {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    /// Returns a token of the account that the service runs as.
    pub(super) async fn token(&self, scope: &str) -> Result<Token, String> {
        let path = format!("instance/service-accounts/default/token?scopes={scope}");
        self.get(&path, "token", parse_token).await
    }

    /// Returns the project's ID.
    pub(super) async fn project(&self) -> Result<String, String> {
        self.get("project/project-id", "project", parse_project).await
    }

    async fn get<T>(
        &self,
        path: &str,
        what: &str,
        read: fn(&[u8]) -> Option<T>,
    ) -> Result<T, String> {
        let client = http::client_without_proxy(CONNECT_TIMEOUT, CALL_TIMEOUT)
            .map_err(|error| http::root_cause_first(&error))?;
        let url = format!("http://{}/computeMetadata/v1/{path}", self.host);
        let found = ask(&client, &url, what, read).await;
        found.map_err(|why| format!("the metadata server {} gives no {what}: {why}", self.host))
    }
}

async fn ask<T>(
    client: &reqwest::Client,
    url: &str,
    what: &str,
    read: fn(&[u8]) -> Option<T>,
) -> Result<T, String> {
    let sent = client.get(url).header("Metadata-Flavor", "Google").send().await;
    let response = sent.map_err(|error| http::root_cause_first(&error))?;
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = text::excerpt(kind.unwrap_or("no content type"), 100);
    let body = http::read_body(response, MAX_RESPONSE_BYTES).await;
    if !status.is_success() {
        // The status is enough if the body can't be read.
        let body = body.unwrap_or_default();
        let words = text::excerpt(&String::from_utf8_lossy(&body), text::MAX_EXCERPT_BYTES);
        return Err(format!("it responded {status} {words}").trim_end().to_owned());
    }
    let body = body.map_err(|error| http::root_cause_first(&error))?;
    // The error does not quote the body, which may contain a token.
    read(&body).ok_or_else(|| {
        format!("it responded {status} with {} bytes of {kind}, not a {what}", body.len())
    })
}

fn parse_token(body: &[u8]) -> Option<Token> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let secret = body["access_token"].as_str().filter(|token| is_header_value(token))?;
    let expires_in = &body["expires_in"];
    let seconds = expires_in.as_f64().or_else(|| expires_in.as_str()?.parse().ok());
    let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // At most a day, since a huge number would overflow the clock.
    let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME).min(Duration::from_secs(24 * 3600));
    let now = Instant::now();
    let refresh_after = lifetime.saturating_sub(REFRESH_MARGIN).max(REFRESH_PAUSE).min(lifetime);
    Some(Token {
        secret: SecretString::from(secret),
        refresh_at: now + refresh_after,
        expires_at: now + lifetime,
    })
}

fn is_header_value(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn parse_project(body: &[u8]) -> Option<String> {
    let id = std::str::from_utf8(body).ok()?.trim();
    crate::config::is_project_id(id).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_parsed_whatever_its_lifetime_looks_like() {
        for (expires_in, is_fresh, is_valid) in [
            ("3599", true, true),
            ("\"3599\"", true, true),
            ("3599.5", true, true),
            ("60", true, true),
            ("0", false, false),
            ("-1", true, true),
            ("null", true, true),
            ("1e300", true, true),
        ] {
            let body = format!(r#"{{"access_token":"ya29.x","expires_in":{expires_in}}}"#);
            let token = parse_token(body.as_bytes()).unwrap();
            assert_eq!((token.is_fresh(), token.is_valid()), (is_fresh, is_valid), "{expires_in}");
        }
        for body in ["", "<html>", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#] {
            assert!(parse_token(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn a_project_must_be_a_valid_id() {
        assert_eq!(parse_project(b"my-project-1\n").unwrap(), "my-project-1");
        assert_eq!(parse_project(b"example.com:my-project").unwrap(), "example.com:my-project");
        for body in ["", "<html>", "My Project", "a/b", "{\"a\":1}"] {
            assert_eq!(parse_project(body.as_bytes()), None, "{body}");
        }
    }
}
