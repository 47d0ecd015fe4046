//! Verification of pushes where the platform does not do it. A simulated issuer signs valid and invalid
//! tokens.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use spotify_bq::config::{Config, PushAuth};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::issuer::{
    ACCOUNT, AUDIENCE, ISSUER_KEY, Issuer, OTHER_KEY, claims, jwk, now, token, unsigned,
    valid_token,
};
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, answer};
use crate::support::{App, World, table};

const KID: &str = "key-1";

/// Returns settings with push verification.
fn verified(world: &World, issuer: &Issuer) -> Config {
    let mut config = world.config();
    config.push_auth =
        Some(PushAuth { audience: AUDIENCE.to_owned(), service_account: ACCOUNT.to_owned() });
    config.test_hooks.jwks_url = Some(format!("{}/certs", issuer.stub.url));
    config.timing.key_list_ttl = Duration::from_secs(3600);
    config
}

async fn world() -> World {
    World::new(Spotify::showing(1, 1).await).await
}

/// Posts an invalid body with a token. The status 400 means that the token was accepted.
async fn status(app: &App, authorization: &str) -> u16 {
    app.post_with(&[("authorization", authorization)], "no push").await.unwrap().status
}

#[tokio::test]
async fn a_push_with_a_valid_token_is_handled() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    let push = table("podcasts").envelope().to_string();
    for (issuer, scheme) in
        [("https://accounts.google.com", "Bearer"), ("accounts.google.com", "bearer")]
    {
        let authorization = format!("{scheme} {}", valid_token(KID, json!({ "iss": issuer })));
        let headers = [("authorization", authorization.as_str())];
        let answer = app.post_with(&headers, push.clone()).await.unwrap();
        assert_eq!(answer.status, 204, "{issuer}");
    }
    assert_eq!(world.bigquery.accepted().len(), 1);
}

#[tokio::test]
async fn invalid_tokens_are_refused() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT", "kid": KID});
    let good = valid_token(KID, json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let claimed = claims(json!({})).to_string();
    // Signed with the public key as an HMAC secret. A verifier that trusts `alg` would accept this.
    let n = jwk(KID, &ISSUER_KEY)["n"].as_str().unwrap().to_owned();
    let by_public_key = |key: &[u8]| {
        let signed = unsigned(&header("HS256").to_string(), &claimed);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let with = |changes: Value| valid_token(KID, changes);

    let tokens = [
        ("none", String::new()),
        ("not even a header", ".".to_owned()),
        ("garbage", "aaaa.bbbb.cccc".to_owned()),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.x")),
        ("no signature", format!("{signed}.")),
        ("a changed character in the signature", format!("{signed}.{}", flipped(signature))),
        ("claims changed after signing", {
            let other = claims(json!({"email": "evil@example.com"})).to_string();
            format!("{}.{signature}", unsigned(&header("RS256").to_string(), &other))
        }),
        ("alg none", format!("{}.", unsigned(&header("none").to_string(), &claimed))),
        ("alg none, signature kept", {
            format!("{}.{signature}", unsigned(&header("none").to_string(), &claimed))
        }),
        ("HS256 with the public modulus", by_public_key(n.as_bytes())),
        ("HS256 with its bytes", by_public_key(&URL_SAFE_NO_PAD.decode(&n).unwrap())),
        ("HS256 with an empty key", by_public_key(b"")),
        ("RS512 in name", token(&header("RS512"), &claims(json!({})), &ISSUER_KEY)),
        ("ES256 in name", token(&header("ES256"), &claims(json!({})), &ISSUER_KEY)),
        ("alg as a list", {
            token(&json!({"alg": ["RS256"], "kid": KID}), &claims(json!({})), &ISSUER_KEY)
        }),
        ("another key with our key id", token(&header("RS256"), &claims(json!({})), &OTHER_KEY)),
        ("no key id", token(&json!({"alg": "RS256"}), &claims(json!({})), &ISSUER_KEY)),
        ("a key id that is a number", {
            token(&json!({"alg": "RS256", "kid": 1}), &claims(json!({})), &ISSUER_KEY)
        }),
        ("an unknown key id", valid_token("key-2", json!({}))),
        ("a key id that is a path", valid_token("../../etc/passwd", json!({}))),
        ("a key id of 300 characters", valid_token(&"k".repeat(300), json!({}))),
        ("a key in the header", {
            let header = json!({"alg": "RS256", "kid": KID, "jwk": jwk(KID, &OTHER_KEY)});
            token(&header, &claims(json!({})), &OTHER_KEY)
        }),
        ("expired", with(json!({"exp": now() - 60}))),
        ("expired in 1970", with(json!({"exp": 0}))),
        ("expiry as a string", with(json!({"exp": (now() + 3600).to_string()}))),
        ("negative expiry", with(json!({"exp": -1}))),
        ("no expiry", with(json!({"exp": null}))),
        ("issued tomorrow", with(json!({"iat": now() + 86_400}))),
        ("not valid before tomorrow", with(json!({"nbf": now() + 86_400}))),
        ("not valid before a string", with(json!({"nbf": "tomorrow"}))),
        ("another audience", with(json!({"aud": "https://other.example/"}))),
        ("an audience without its slash", with(json!({"aud": AUDIENCE.trim_end_matches('/')}))),
        ("an audience with an extra slash", with(json!({"aud": format!("{AUDIENCE}/")}))),
        (
            "an audience that starts with the expected one",
            with(json!({"aud": format!("{AUDIENCE}x")})),
        ),
        ("an audience in capitals", with(json!({"aud": AUDIENCE.to_uppercase()}))),
        ("two audiences", with(json!({"aud": [AUDIENCE, "https://other.example/"]}))),
        ("no audience", with(json!({"aud": null}))),
        ("an empty audience", with(json!({"aud": ""}))),
        ("another issuer", with(json!({"iss": "https://accounts.google.com.evil.example"}))),
        ("issuers in a list", with(json!({"iss": ["https://accounts.google.com", "x"]}))),
        ("no issuer", with(json!({"iss": null}))),
        ("no claims", token(&header("RS256"), &json!({}), &ISSUER_KEY)),
        ("claims that are a list", token(&header("RS256"), &json!([]), &ISSUER_KEY)),
        ("claims nested deeply", {
            let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
            format!("{}.{signature}", unsigned(&header("RS256").to_string(), &deep))
        }),
        ("a token that is too long", with(json!({"x": "x".repeat(10_000)}))),
    ];
    for (what, token) in &tokens {
        assert_eq!(status(&app, &format!("Bearer {token}")).await, 401, "{what}");
    }
    for (what, changes) in [
        ("another account", json!({"email": "evil@p1.iam.gserviceaccount.com"})),
        ("the account in capitals", json!({"email": ACCOUNT.to_uppercase()})),
        (
            "an account that starts with the expected one",
            json!({"email": format!("{ACCOUNT}.evil.example")}),
        ),
        ("no account", json!({"email": null})),
        ("an empty account", json!({"email": ""})),
        ("an account in a list", json!({"email": [ACCOUNT]})),
        ("an unverified account", json!({"email_verified": false})),
        ("no email_verified", json!({"email_verified": null})),
        ("email_verified as a string", json!({"email_verified": "true"})),
    ] {
        assert_eq!(status(&app, &format!("Bearer {}", with(changes))).await, 403, "{what}");
    }
    for (what, header) in [
        ("an empty header", " ".to_owned()),
        ("no scheme", good.clone()),
        ("another scheme", format!("Basic {good}")),
        ("a scheme that starts like the expected one", format!("Bearerx {good}")),
        ("an extra space", format!("Bearer  {good}")),
        ("the token twice", format!("Bearer {good} {good}")),
    ] {
        assert_eq!(status(&app, &header).await, 401, "{what}");
    }
    assert_eq!(app.post("no push").await.unwrap().status, 401, "no header");
    assert_eq!(
        status(&app, &format!("Bearer {good}")).await,
        400,
        "a valid token is still accepted"
    );
}

fn flipped(signature: &str) -> String {
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{other}{}", &signature[1..])
}

#[tokio::test]
async fn a_token_without_its_signature_from_cloud_run_says_what_to_do() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    let token = valid_token(KID, json!({}));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let authorization = format!("Bearer {signed}.SIGNATURE_REMOVED_BY_GOOGLE");
    let answer = app.post_with(&[("authorization", &authorization)], "").await.unwrap();
    assert_eq!(answer.status, 401);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("unset PUSH_AUDIENCE and PUSH_SERVICE_ACCOUNT"), "{detail}");
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test]
async fn a_push_without_a_token_is_refused_before_its_body_is_read() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    let address = app.url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 500\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
}

#[tokio::test]
async fn concurrent_pushes_on_a_cold_cache_need_one_fetch_of_keys() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    issuer.stub.on(|_| Act::Late(Duration::from_millis(50)));
    let good = format!("Bearer {}", valid_token(KID, json!({})));
    let statuses = join_all((0..200).map(|_| status(&app, &good))).await;
    assert_eq!(statuses, vec![400; 200]);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn unreachable_keys_make_a_push_a_retry_with_few_fetches() {
    type Keys = fn(&crate::support::wire::Call) -> Act;
    let failures: [(&str, Keys); 8] = [
        ("slow", |_| Act::Hang),
        ("down", |_| Act::Cut),
        ("503", |_| answer(503, "")),
        ("404", |_| answer(404, "")),
        ("garbage", |_| answer(200, "<html>")),
        ("other JSON", |_| answer(200, r#"{"keys":{}}"#)),
        ("an empty body", |_| answer(200, "")),
        ("too long", |_| answer(200, &format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(300_000)))),
    ];
    let world = world().await;
    for (what, failure) in failures {
        let issuer = Issuer::start(KID).await;
        let mut config = verified(&world, &issuer);
        config.timing.connect_timeout = Duration::from_millis(300);
        let app = App::start(config).await;
        issuer.stub.on(failure);
        let good = format!("Bearer {}", valid_token(KID, json!({})));
        let statuses = join_all((0..50).map(|_| status(&app, &good))).await;
        assert_eq!(statuses, vec![503; 50], "{what}");
        // One by the verifier, and one for the list of key IDs.
        assert!(issuer.fetches() <= 2, "{what}: {} fetches", issuer.fetches());
    }
}

#[tokio::test]
async fn keys_that_become_reachable_are_fetched() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let mut config = verified(&world, &issuer);
    config.timing.key_list_ttl = Duration::ZERO;
    let app = App::start(config).await;
    let good = format!("Bearer {}", valid_token(KID, json!({})));
    issuer.stub.on(|_| Act::Cut);
    assert_eq!(status(&app, &good).await, 503);
    issuer.stub.heal();
    assert_eq!(status(&app, &good).await, 400);
}

#[tokio::test]
async fn invented_key_ids_cause_few_fetches_and_do_not_block_valid_tokens() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    // The cache is cold: the first invented ID arrives before a valid token.
    for n in 0..30 {
        assert_eq!(
            status(&app, &format!("Bearer {}", valid_token(&format!("x{n}"), json!({})))).await,
            401
        );
    }
    let before = issuer.fetches();
    assert!(before <= 2, "{before} fetches for keys that do not exist");
    assert_eq!(status(&app, &format!("Bearer {}", valid_token(KID, json!({})))).await, 400);
    assert_eq!(issuer.fetches(), before + 1);
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_fetched_and_the_old_one_stays_valid() {
    let (world, issuer) = (world().await, Issuer::start(KID).await);
    let app = App::start(verified(&world, &issuer)).await;
    let old = format!("Bearer {}", valid_token(KID, json!({})));
    assert_eq!(status(&app, &old).await, 400);
    issuer.set(&[jwk(KID, &ISSUER_KEY), jwk("key-2", &OTHER_KEY)]);
    let header = json!({"alg": "RS256", "kid": "key-2"});
    let new = format!("Bearer {}", token(&header, &claims(json!({})), &OTHER_KEY));
    assert_eq!(status(&app, &new).await, 400);
    issuer.stub.on(|_| Act::Cut);
    assert_eq!((status(&app, &old).await, status(&app, &new).await), (400, 400));
}
