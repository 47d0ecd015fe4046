//! Verifies that a push comes from the configured subscription, if the platform does not: checks the
//! signature of its OIDC token with google-cloud-auth's verifier, and its claims here.
//!
//! The verifier (version 1.18) needs help in four ways:
//! - It fails concurrent calls while it fetches keys, so it gets one call at a time.
//! - It waits for the keys forever, so it gets a timeout.
//! - It accepts a token without the claims that it checks, so they are checked here too.
//! - It fetches the keys again for each unknown key ID, and a token can have any. So after a failed
//!   fetch, it gets only tokens with one of the issuer's key IDs, from a list that is kept for a while.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use google_cloud_auth::credentials::idtoken::verifier::{Builder, Verifier};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::failure::Failure;
use crate::http;
use crate::text;

/// Google's public keys for OIDC tokens (<https://accounts.google.com/.well-known/openid-configuration>).
const GOOGLE_JWKS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// The issuers of Google's tokens.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// How much the clocks of the issuer and this machine may differ.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

/// The largest token. Google's have about 1 kB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The largest list of keys. Google's has about 2 kB.
const MAX_JWKS_BYTES: usize = 256 * 1024;

/// Verifies pushes.
#[derive(Debug)]
pub struct PushAuth {
    audience: String,
    service_account: String,
    jwks_url: String,
    key_list_ttl: Duration,
    fetch_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    verifier: Verifier,
    key_list: Option<KeyList>,
}

/// The IDs of the issuer's keys, fetched after the verifier found no key for a token.
#[derive(Debug)]
struct KeyList {
    fetched_at: Instant,
    /// The IDs, or why they could not be fetched.
    ids: Result<HashSet<String>, String>,
}

impl PushAuth {
    /// Returns `None` if pushes are not to be verified. Fetches no keys yet.
    pub fn new(config: &Config) -> Option<Self> {
        let push_auth = config.push_auth.as_ref()?;
        let hook = config.test_hooks.jwks_url.clone();
        let jwks_url = hook.unwrap_or_else(|| GOOGLE_JWKS_URL.to_owned());
        let verifier = Builder::new([push_auth.audience.clone()])
            .with_jwks_url(jwks_url.clone())
            .with_clock_skew(MAX_CLOCK_SKEW)
            .build();
        Some(Self {
            audience: push_auth.audience.clone(),
            service_account: push_auth.service_account.clone(),
            jwks_url,
            key_list_ttl: config.timing.key_list_ttl,
            fetch_timeout: config.timing.connect_timeout,
            state: Mutex::new(State { verifier, key_list: None }),
        })
    }

    /// Verifies the value of a push's Authorization header.
    pub async fn check(&self, authorization: Option<&str>) -> Result<(), Failure> {
        let token = authorization
            .ok_or_else(|| unauthenticated("the request has no Authorization header"))?
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .map(|(_, token)| token)
            .filter(|token| token.len() <= MAX_TOKEN_BYTES)
            .ok_or_else(|| unauthenticated("the Authorization header has no bearer token"))?;
        if token.ends_with(".SIGNATURE_REMOVED_BY_GOOGLE") {
            return Err(unauthenticated(
                "Cloud Run has verified this token and removed its signature: unset PUSH_AUDIENCE \
                 and PUSH_SERVICE_ACCOUNT",
            ));
        }
        let header = decode_header(token);
        if header["alg"] != "RS256" {
            return Err(unauthenticated("the token is not signed with RS256"));
        }
        let key_id = header["kid"].as_str();
        let key_id = key_id.ok_or_else(|| unauthenticated("the token does not name its key"))?;
        let claims = self.verify(token, key_id).await?;
        self.check_claims(&claims)
    }

    /// Verifies the token's signature and returns its claims.
    async fn verify(&self, token: &str, key_id: &str) -> Result<Map<String, Value>, Failure> {
        let mut state = self.state.lock().await;
        if let Some(list) = &state.key_list
            && list.fetched_at.elapsed() < self.key_list_ttl
        {
            list.require_key(key_id)?;
        }
        let why = match timeout(self.fetch_timeout, state.verifier.verify(token)).await {
            Ok(Ok(claims)) => return Ok(claims),
            Ok(Err(error)) if !error.is_load_cert() => {
                return Err(unauthenticated(&http::describe(&error)));
            }
            Ok(Err(error)) => http::describe(&error),
            Err(_) => format!("no response within {} s", self.fetch_timeout.as_secs()),
        };
        // The error does not say whether the keys could not be fetched or this one does not exist.
        let list = KeyList { fetched_at: Instant::now(), ids: self.fetch_key_ids().await };
        let result = list.require_key(key_id);
        state.key_list = Some(list);
        result?;
        Err(Failure::KeysUnreachable(why))
    }

    async fn fetch_key_ids(&self) -> Result<HashSet<String>, String> {
        let client = http::client(self.fetch_timeout, self.fetch_timeout)
            .map_err(|error| http::describe(&error))?;
        let response = client.get(&self.jwks_url).send().await;
        let response = response
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| http::describe(&error))?;
        let body = http::read_body(response, MAX_JWKS_BYTES).await;
        let body = body.map_err(|error| error.to_string())?;
        let set: Value = serde_json::from_slice(&body).unwrap_or_default();
        let keys = set["keys"].as_array().ok_or("the response is not a JSON Web Key Set")?;
        Ok(keys.iter().filter_map(|key| key["kid"].as_str()).map(str::to_owned).collect())
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), Failure> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let latest = (now + MAX_CLOCK_SKEW).as_secs_f64();
        for claim in ["iat", "nbf"] {
            let start = claims.get(claim).map_or(Some(0.0), Value::as_f64);
            if start.is_none_or(|start| start > latest) {
                return Err(unauthenticated("the token is not valid yet"));
            }
        }
        if !text("iss").is_some_and(|issuer| ISSUERS.contains(&issuer)) {
            return Err(unauthenticated("the token's issuer is not Google"));
        }
        if text("aud") != Some(&self.audience) {
            return Err(unauthenticated("the token's audience is not PUSH_AUDIENCE"));
        }
        match text("email") {
            Some(email) if email == self.service_account => {}
            Some(email) => {
                let email = text::excerpt(email, 100);
                return Err(forbidden(&format!("the token is for {email:?}")));
            }
            None => return Err(forbidden("the token has no email claim")),
        }
        if claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(forbidden("the token's email is not verified"));
        }
        Ok(())
    }
}

impl KeyList {
    /// Fails if the issuer has no key with this ID, or if that is unknown.
    fn require_key(&self, key_id: &str) -> Result<(), Failure> {
        match &self.ids {
            Ok(ids) if ids.contains(key_id) => Ok(()),
            Ok(_) => Err(unauthenticated("the token's key is not one of the issuer's")),
            Err(why) => Err(Failure::KeysUnreachable(why.clone())),
        }
    }
}

/// Returns the token's header, or null if it can't be decoded.
fn decode_header(token: &str) -> Value {
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    header.and_then(|header| serde_json::from_slice(&header).ok()).unwrap_or_default()
}

fn unauthenticated(why: &str) -> Failure {
    Failure::Unauthenticated(why.to_owned())
}

fn forbidden(why: &str) -> Failure {
    Failure::Forbidden(why.to_owned())
}
