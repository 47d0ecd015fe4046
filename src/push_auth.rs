//! Is this push ours? Checked where the platform does not: the OIDC token of the push, its signature
//! by google-cloud-auth's verifier, its claims here. The verifier's known faults are walked around:
//! it refuses calls at once on a cold cache (so one at a time), waits for the keys without end (so
//! with a timeout), takes a missing claim for a good one (so each is looked at here), and fetches
//! keys again for every unknown key id, which anybody can invent (so the issuer's list of keys is
//! asked once in a while, and only a key on it is fetched).

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use google_cloud_auth::credentials::idtoken::verifier::{Builder, Verifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::failure::Failure;
use crate::http;
use crate::text;

/// Where Google's keys for such tokens are.
const KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";
/// The issuers of Google's tokens.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(30);
/// A token of Google's has about 1 kB.
const LONGEST: usize = 8 * 1024;
/// A list of keys has about 2 kB.
const LIST: usize = 256 * 1024;

/// Verifies pushes.
#[derive(Debug)]
pub struct PushAuth {
    audience: String,
    account: String,
    keys_url: String,
    key_list_ttl: Duration,
    key_fetch: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    verifier: Verifier,
    /// Key ids with which a token was verified: the verifier has these keys, or fetches them again
    /// when it lets them go.
    good: HashSet<String>,
    missed: Option<Missed>,
}

/// A fetch of keys that brought no key for a token.
#[derive(Debug)]
struct Missed {
    when: Instant,
    /// The issuer's key ids at that time, or why they could not be had.
    listed: Result<HashSet<String>, String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct KeyList {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    kid: Option<String>,
}

impl PushAuth {
    /// A verifier; no key is fetched.
    pub fn new(config: &Config) -> Option<Self> {
        let timing = &config.timing;
        let push_auth = config.push_auth.as_ref()?;
        let keys_url = config.test_hooks.jwks_url.clone().unwrap_or_else(|| KEYS.to_owned());
        let verifier = Builder::new([push_auth.audience.clone()])
            .with_jwks_url(keys_url.clone())
            .with_clock_skew(SKEW)
            .build();
        Some(Self {
            audience: push_auth.audience.clone(),
            account: push_auth.service_account.clone(),
            keys_url,
            key_list_ttl: timing.key_list_ttl,
            key_fetch: timing.connect_timeout,
            state: Mutex::new(State { verifier, good: HashSet::new(), missed: None }),
        })
    }

    /// Checks the value of a push's Authorization header.
    pub async fn check(&self, authorization: Option<&str>) -> Result<(), Failure> {
        let token = authorization
            .ok_or_else(|| unauthenticated("there is no Authorization header"))?
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .map(|(_, token)| token)
            .filter(|token| token.len() <= LONGEST)
            .ok_or_else(|| unauthenticated("the Authorization header holds no bearer token"))?;
        if token.ends_with(".SIGNATURE_REMOVED_BY_GOOGLE") {
            return Err(unauthenticated(
                "Cloud Run has checked this token and taken its signature off: unset PUSH_AUDIENCE \
                 and PUSH_SERVICE_ACCOUNT",
            ));
        }
        let header =
            header(token).ok_or_else(|| unauthenticated("the token has no valid header"))?;
        if header.alg != "RS256" {
            return Err(unauthenticated("the token is not signed with RS256"));
        }
        let claims = self.verify(token, header.kid).await?;
        self.check_claims(&claims)
    }

    async fn verify(&self, token: &str, kid: String) -> Result<Map<String, Value>, Failure> {
        let mut state = self.state.lock().await;
        if !state.good.contains(&kid)
            && let Some(missed) = &state.missed
            && missed.when.elapsed() < self.key_list_ttl
        {
            missed.allows(&kid)?;
        }
        let error = match timeout(self.key_fetch, state.verifier.verify(token)).await {
            Ok(Ok(claims)) => {
                state.good.insert(kid);
                return Ok(claims);
            }
            Ok(Err(error)) if !error.is_load_cert() => {
                return Err(unauthenticated(&http::describe(&error)));
            }
            Ok(Err(error)) => Some(http::describe(&error)),
            Err(_) => None,
        };
        let listed = match &error {
            Some(_) => self.list().await,
            None => Err(format!("no answer within {} s", self.key_fetch.as_secs())),
        };
        let missed = Missed { when: Instant::now(), listed };
        let allowed = missed.allows(&kid);
        state.good.remove(&kid);
        state.missed = Some(missed);
        allowed?;
        // The key is on the list, and yet could not be had.
        Err(Failure::KeysUnreachable(error.unwrap_or_default()))
    }

    /// The ids of the issuer's keys.
    async fn list(&self) -> Result<HashSet<String>, String> {
        let client = http::client(self.key_fetch, self.key_fetch);
        let client = client.map_err(|error| http::describe(&error))?;
        let sent = client.get(&self.keys_url).send().await;
        let response = sent
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| http::describe(&error))?;
        let body = http::read_body(response, LIST).await.map_err(|error| error.to_string())?;
        let list: KeyList = serde_json::from_slice(&body).map_err(|error| {
            format!("the answer is no list of keys: {}", http::describe(&error))
        })?;
        Ok(list.keys.into_iter().filter_map(|key| key.kid).collect())
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), Failure> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let soonest = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + SKEW;
        for claim in ["iat", "nbf"] {
            let from = claims.get(claim).map_or(Some(0.0), Value::as_f64);
            if from.is_none_or(|from| from > soonest.as_secs_f64()) {
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
            Some(email) if email == self.account => {}
            Some(email) => {
                let email = text::excerpt(email, 100);
                return Err(Failure::Forbidden(format!("the token is {email:?}'s")));
            }
            None => return Err(Failure::Forbidden("the token names no account".to_owned())),
        }
        if claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(Failure::Forbidden("the token's account is not verified".to_owned()));
        }
        Ok(())
    }
}

impl Missed {
    /// Whether a fetch of this key makes sense so soon after the last one.
    fn allows(&self, kid: &str) -> Result<(), Failure> {
        match &self.listed {
            Ok(listed) if listed.contains(kid) => Ok(()),
            Ok(_) => Err(unauthenticated("the token's key is not among the issuer's")),
            Err(why) => Err(Failure::KeysUnreachable(why.clone())),
        }
    }
}

fn header(token: &str) -> Option<Header> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: Header = serde_json::from_slice(&bytes).ok()?;
    (header.kid.len() <= 256).then_some(header)
}

fn unauthenticated(why: &str) -> Failure {
    Failure::Unauthenticated(why.to_owned())
}
