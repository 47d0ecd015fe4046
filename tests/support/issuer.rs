//! A token issuer with new keys in each run. Tokens are built by hand, so that they can be invalid in any
//! way.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::wire::Stub;

pub const AUDIENCE: &str = "https://spotify-bq.example/";
pub const ACCOUNT: &str = "push@p1.iam.gserviceaccount.com";

/// The issuer's key, and another one.
pub static ISSUER_KEY: LazyLock<KeyPair> = LazyLock::new(key);
pub static OTHER_KEY: LazyLock<KeyPair> = LazyLock::new(key);

fn key() -> KeyPair {
    KeyPair::generate(KeySize::Rsa2048).unwrap()
}

/// Serves the issuer's keys.
pub struct Issuer {
    pub stub: Stub,
    keys: Arc<Mutex<Value>>,
}

impl Issuer {
    /// Starts an issuer whose key has the ID `kid`.
    pub async fn start(kid: &str) -> Self {
        let keys = Arc::new(Mutex::new(json!({"keys": [jwk(kid, &ISSUER_KEY)]})));
        let served = Arc::clone(&keys);
        let answer = move || async move { axum::Json(served.lock().unwrap().clone()) };
        Self { stub: Stub::start(Router::new().route("/certs", get(answer))).await, keys }
    }

    /// Replaces the issuer's keys.
    pub fn set(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = json!({ "keys": keys });
    }

    pub fn fetches(&self) -> usize {
        self.stub.calls_to("GET", "/certs").len()
    }
}

/// Returns a key as an issuer publishes it.
pub fn jwk(kid: &str, key: &KeyPair) -> Value {
    let key = key.public_key();
    json!({
        "kid": kid, "kty": "RSA", "alg": "RS256", "use": "sig",
        "n": URL_SAFE_NO_PAD.encode(key.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(key.exponent().big_endian_without_leading_zero()),
    })
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns valid claims with `changes`. Null removes a claim.
pub fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "azp": "1", "sub": "1",
        "email": ACCOUNT, "email_verified": true, "iat": now() - 5, "exp": now() + 3600,
    });
    for (claim, value) in changes.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// Returns a token that is signed with `key`.
pub fn token(header: &Value, claims: &Value, key: &KeyPair) -> String {
    let signed = unsigned(&header.to_string(), &claims.to_string());
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the part of a token that is signed.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// Returns a valid token with changed claims, signed with the issuer's key `kid`.
pub fn valid_token(kid: &str, changes: Value) -> String {
    token(&json!({"alg": "RS256", "typ": "JWT", "kid": kid}), &claims(changes), &ISSUER_KEY)
}
