//! Is this push ours? Checked where the platform does not: the OIDC token of the push, its signature
//! by google-cloud-auth's verifier, its claims here. The verifier's known faults are walked around:
//! it refuses calls at once on a cold cache (so one at a time), fetches keys again for every unknown
//! key id (so not while the keys are fresh), waits for the keys without end (so with a timeout), and
//! takes a missing claim for a good one (so each is looked at here).

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use google_cloud_auth::credentials::idtoken::verifier::{Builder, Verifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config;
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

/// Verifies pushes.
#[derive(Debug)]
pub struct PushAuth {
    audience: String,
    account: String,
    keys_stay_fresh: Duration,
    key_fetch: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    verifier: Verifier,
    /// Key ids with which a token was verified.
    good: HashSet<String>,
    /// When keys were fetched in vain, and whether they were out of reach then.
    missed: Option<(Instant, bool)>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

impl PushAuth {
    /// A verifier; no key is fetched.
    pub fn new(config: &config::PushAuth, timing: &config::Timing) -> Self {
        let verifier = Builder::new([config.audience.clone()])
            .with_jwks_url(config.jwks_url.clone().unwrap_or_else(|| KEYS.to_owned()))
            .with_clock_skew(SKEW)
            .build();
        Self {
            audience: config.audience.clone(),
            account: config.service_account.clone(),
            keys_stay_fresh: config.keys_stay_fresh,
            key_fetch: timing.connect,
            state: Mutex::new(State { verifier, good: HashSet::new(), missed: None }),
        }
    }

    /// Checks the value of a push's Authorization header.
    pub async fn check(&self, authorization: Option<&str>) -> Result<(), Failure> {
        let token = authorization
            .ok_or_else(|| unauthenticated("there is no Authorization header"))?
            .strip_prefix("Bearer ")
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
            && let Some((when, out_of_reach)) = state.missed
            && when.elapsed() < self.keys_stay_fresh
        {
            return Err(if out_of_reach {
                Failure::KeysUnreachable("a moment ago they were".to_owned())
            } else {
                unauthenticated("the token's key is not among the issuer's")
            });
        }
        let error = match timeout(self.key_fetch, state.verifier.verify(token)).await {
            Ok(Ok(claims)) => {
                state.good.insert(kid);
                return Ok(claims);
            }
            Ok(Err(error)) if !error.is_load_cert() => {
                return Err(unauthenticated(&http::describe(&error)));
            }
            Ok(Err(error)) => http::describe(&error),
            Err(_) => format!("no answer within {} s", self.key_fetch.as_secs()),
        };
        // The verifier says this in words only; a test watches them.
        let out_of_reach = !error.contains("did not contain a matching");
        state.good.remove(&kid);
        state.missed = Some((Instant::now(), out_of_reach));
        Err(if out_of_reach {
            Failure::KeysUnreachable(error)
        } else {
            unauthenticated("the token's key is not among the issuer's")
        })
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), Failure> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let soonest = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + SKEW;
        for claim in ["iat", "nbf"] {
            let from = claims.get(claim).and_then(Value::as_f64).unwrap_or_default();
            if from > soonest.as_secs_f64() {
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

fn header(token: &str) -> Option<Header> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: Header = serde_json::from_slice(&bytes).ok()?;
    (header.kid.len() <= 256).then_some(header)
}

fn unauthenticated(why: &str) -> Failure {
    Failure::Unauthenticated(why.to_owned())
}
