//! 100,000 bodies that are almost envelopes, or random bytes: each is answered, and none with a 500.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use spotify_bq::envelope::OUTCOME_HEADER;
use spotify_bq::server;
use spotify_bq::service::Service;
use tower::ServiceExt;

use crate::support::World;
use crate::support::spotify::Spotify;
use crate::support::wire::answer_with;

const BODIES: usize = 100_000;

/// What is inserted into texts to corrupt them.
const FRAGMENTS: [&str; 30] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\\",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "é",
    "🎧",
    "\"table\":\"episodes\",",
    "\"search_term\":[\"a\",\"b\"],",
    "\"show_id\":\"1oMIHOXsrLFENAeM743g93\",",
    "\"data\":\"e30=\",",
    "\"message\":{},",
    "\"attributes\":{\"table\":\"mentions\"},",
    "\"messageId\":\"\",",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "=",
    "\r\n",
];

fn corrupt(random: &mut StdRng, text: &mut Vec<u8>) {
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=text.len());
        let end = (at + random.random_range(0..12)).min(text.len());
        match random.random_range(0..5) {
            0 if at < text.len() => text[at] ^= 1 << random.random_range(0..8),
            1 => drop(text.drain(at..end)),
            2 => {
                let again = text[at..end].to_vec();
                text.splice(at..at, again);
            }
            3 => text.truncate(text.len() - random.random_range(0..=text.len().min(40))),
            _ => {
                let fragment = FRAGMENTS[random.random_range(0..FRAGMENTS.len())];
                text.splice(at..at, fragment.bytes());
            }
        }
    }
}

/// Returns an envelope with data, either of which may be corrupted.
fn body(random: &mut StdRng) -> Vec<u8> {
    if random.random_range(0..10) == 0 {
        return (0..random.random_range(0..300)).map(|_| random.random()).collect();
    }
    let data = [
        json!({"table": "podcasts"}),
        json!({"table": "tabela_6", "search_term": "data hackers"}),
        json!({"search_term": ["a", "b", "café"]}),
        json!({"table": "mentions", "search_term": "x", "show_id": "1oMIHOXsrLFENAeM743g93"}),
        json!({}),
    ];
    let mut data = data[random.random_range(0..data.len())].to_string().into_bytes();
    corrupt(random, &mut data);
    let mut message = json!({"messageId": "1", "publishTime": "2026-11-24T09:00:00Z"});
    if random.random() {
        message["attributes"] = json!({"table": "podcasts", "googclient_x": "y"});
    }
    if random.random_range(0..4) > 0 {
        message["data"] = Value::from(STANDARD.encode(data));
    }
    let mut body = json!({"message": message, "subscription": "s", "deliveryAttempt": 1});
    if random.random_range(0..20) == 0 {
        body["deliveryAttempt"] = json!(random.random::<i64>());
    }
    let mut body = body.to_string().into_bytes();
    corrupt(random, &mut body);
    body
}

/// Returns a service whose Spotify is rate limited for a day, and which has no topics: valid messages fail
/// immediately.
async fn router_without_upstreams() -> Router {
    let world = World::new(Spotify::showing(1, 1).await).await;
    world.spotify.stub.on(|_| answer_with(429, &[("retry-after", "86400")], ""));
    let mut config = world.set("TRIGGER_TOPIC", "").set("DEAD_LETTER_TOPIC", "").config();
    config.timing.backoff.attempts = 1;
    server::router(std::sync::Arc::new(Service::new(config).unwrap()), None, None)
}

#[tokio::test]
async fn no_answer_repeats_a_long_body() {
    let router = router_without_upstreams().await;
    let long = "x".repeat(1_000_000);
    let data = |data: Value| json!({"message": {"messageId": "1", "data": STANDARD.encode(data.to_string())}});
    for body in [
        json!({ "message": long }),
        json!({"message": {"messageId": "1", "attributes": long}}),
        json!({"message": {"messageId": "1", "data": long}}),
        json!({"message": {"messageId": "1", "attributes": {&long[..900_000]: "x"}}}),
        data(json!({"table": &long[..700_000]})),
        data(json!({&long[..700_000]: 1})),
        data(json!({"search_term": &long[..700_000]})),
    ] {
        let request = Request::post("/").body(Body::from(body.to_string())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400);
        let answer = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(answer.len() < 4096, "{} bytes", answer.len());
    }
}

#[tokio::test]
async fn a_hundred_thousand_random_bodies_are_answered_without_a_500() {
    let router = router_without_upstreams().await;
    let mut random = StdRng::seed_from_u64(5);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..BODIES {
        let body = body(&mut random);
        let request = Request::post("/").body(Body::from(body.clone())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let outcome = response.headers().get(OUTCOME_HEADER);
        let outcome = outcome.map_or("", |outcome| outcome.to_str().unwrap()).to_owned();
        assert!(
            matches!(status, 400 | 503) && !outcome.is_empty(),
            "body {n}: {status} {outcome} to {:?}",
            String::from_utf8_lossy(&body)
        );
        *answers.entry(outcome).or_default() += 1;
    }
    // Every stage was reached: the envelope, the data, the message, and the work itself.
    for outcome in [
        "refused no_envelope",
        "refused bad_base64",
        "refused bad_json",
        "refused refused",
        "retry no_trigger_topic",
        "retry throttled",
    ] {
        assert!(answers.get(outcome).is_some_and(|count| *count > 100), "{outcome}: {answers:?}");
    }
}
