//! Spotify's token, and each failure of the token endpoint on its own.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::spotify::{Spotify, error_body};
use crate::support::wire::{Act, Call, Fault, answer, answer_with};
use crate::support::{App, EPISODES, World, table};

async fn world() -> World {
    World::new(Spotify::showing(3, 20).await).await
}

fn token_calls(world: &World) -> Vec<Call> {
    world.spotify.stub.calls_to("POST", "/api/token")
}

/// Accepts only the client with this secret.
fn only(secret: &'static str) -> impl FnMut(&Call) -> Act + Send {
    move |call| {
        let basic = format!("Basic {}", STANDARD.encode(format!("the-id:{secret}")));
        if call.path != "/api/token" || call.headers["authorization"] == basic {
            return Act::Pass;
        }
        answer(400, r#"{"error":"invalid_client","error_description":"Invalid client secret"}"#)
    }
}

#[tokio::test]
async fn a_token_request_follows_the_client_credentials_flow() {
    let world = world().await;
    world.app().await.push(&table("podcasts")).await;
    let call = &token_calls(&world)[0];
    assert_eq!(call.body, "grant_type=client_credentials");
    assert_eq!(call.headers["content-type"], "application/x-www-form-urlencoded");
    let basic = format!("Basic {}", STANDARD.encode("the-client-id:the-client-secret"));
    assert_eq!(call.headers["authorization"], basic.as_str());
}

#[tokio::test]
async fn one_token_serves_all_messages() {
    let world = world().await;
    let app = world.app().await;
    let pushes = ["podcasts", "episodes", "mentions"].map(table);
    futures_util::future::join_all(pushes.iter().map(|push| app.push(push))).await;
    app.push(&table("episodes")).await;
    assert_eq!(token_calls(&world).len(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let world = world().await;
    let mut config = world.config();
    config.timing.token_refresh_margin = Duration::from_secs(3600);
    let app = App::start(config).await;
    app.push(&table("podcasts")).await;
    let first = token_calls(&world).len();
    app.push(&table("podcasts")).await;
    assert!(token_calls(&world).len() > first);
    let refused = world.spotify.api_calls();
    assert!(refused.iter().all(|call| call.headers["authorization"] == "Bearer sample-token"));
}

#[tokio::test]
async fn wrong_credentials_make_a_retry_after_one_call() {
    for (status, body, says) in [
        (
            400,
            r#"{"error":"invalid_client","error_description":"Invalid client"}"#,
            "Invalid client",
        ),
        (400, r#"{"error":"invalid_client"}"#, "invalid_client"),
        (401, r#"{"error":"invalid_client"}"#, "401"),
        (403, "Forbidden", "403 Forbidden"),
        (200, r#"{"error":"invalid_client"}"#, "invalid_client"),
        (200, r#"{"error":{"status":401,"message":"Invalid client"}}"#, "Invalid client"),
    ] {
        let world = world().await;
        let app = world.app().await;
        world.spotify.stub.always("/api/token", move || answer(status, body));
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry spotify_credentials"), "{body}");
        assert!(response.detail().contains(says), "{}", response.detail());
        assert!(response.detail().contains("SPOTIFY_CREDENTIALS"), "{}", response.detail());
        assert!(!response.body.to_string().contains("the-client-secret"));
        assert_eq!((token_calls(&world).len(), world.spotify.api_calls().len()), (1, 0));
        assert!(world.pubsub.published("letters").is_empty());
        world.spotify.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}

#[tokio::test]
async fn a_rotated_secret_needs_no_restart() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rotated.json");
    let put = |secret: &str| {
        let client = json!({"client_id": "the-id", "client_secret": secret});
        std::fs::write(&file, client.to_string()).unwrap();
    };
    put("old");
    let world = world().await.set("SPOTIFY_CREDENTIALS_FILE", file.to_str().unwrap());
    let mut config = world.config();
    // The token is renewed for each message, as a real one is after an hour.
    config.timing.token_refresh_margin = Duration::from_secs(3600);
    let app = App::start(config).await;
    world.spotify.stub.on(only("old"));
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));

    world.spotify.stub.on(only("new"));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry spotify_credentials"));
    assert!(response.detail().contains("SPOTIFY_CREDENTIALS_FILE"), "{}", response.detail());
    put("new");
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 2);
}

#[tokio::test]
async fn a_missing_or_invalid_file_is_named_and_read_again() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("missing.json");
    let _ = std::fs::remove_file(&file);
    let world = world().await.set("SPOTIFY_CREDENTIALS_FILE", file.to_str().unwrap());
    let app = world.app().await;
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry spotify_credentials"));
    assert!(response.detail().contains("missing.json"), "{}", response.detail());
    std::fs::write(&file, r#"{"client_id":"x","secret":"hidden"}"#).unwrap();
    let response = app.push(&push.again(2)).await;
    assert_eq!(response.result(), (503, "retry spotify_credentials"));
    assert!(!response.body.to_string().contains("hidden"));
    std::fs::write(&file, r#"{"client_id":"x","client_secret":"y"}"#).unwrap();
    assert_eq!(app.push(&push.again(3)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn transient_failures_are_retried() {
    let faults: [Fault; 12] = [
        || answer(503, ""),
        || answer(500, "<html>"),
        || answer(408, ""),
        || answer(425, ""),
        || answer(499, ""),
        || answer(403, "<html>Access denied</html>"),
        || answer(400, r#"{"error":"temporarily_unavailable"}"#),
        || answer(200, r#"{"error":"server_error"}"#),
        || answer(200, r#"{"error":{"status":503,"message":"x"}}"#),
        || answer(200, "<html>"),
        || answer(200, r#"{"token_type":"Bearer"}"#),
        || Act::Cut,
    ];
    for fault in faults {
        let world = world().await;
        let app = world.app().await;
        world.spotify.stub.next(4, "/api/token", fault);
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));

        let app = world.app().await;
        world.spotify.stub.always("/api/token", fault);
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry spotify_unavailable"));
        assert!(response.detail().contains("POST /api/token"), "{}", response.detail());
        world.spotify.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_respond_gets_five_attempts() {
    let world = world().await;
    let mut config = world.config();
    config.timing.spotify_call_timeout = Duration::from_millis(50);
    let app = App::start(config).await;
    world.spotify.stub.always("/api/token", || Act::Hang);
    assert_eq!(app.push(&table("episodes")).await.result(), (503, "retry spotify_unavailable"));
    assert_eq!(token_calls(&world).len(), 5);
}

#[tokio::test]
async fn too_many_requests_are_recognized_in_every_form() {
    let faults: [Fault; 5] = [
        || answer_with(429, &[("retry-after", "3600")], "Too many requests"),
        || answer_with(429, &[("retry-after", "3600")], &error_body(429, "Too many requests")),
        || answer_with(429, &[("retry-after", "3600")], "<html>"),
        || answer_with(403, &[("retry-after", "3600")], "Rate limit exceeded"),
        || answer_with(200, &[("retry-after", "3600")], &error_body(429, "Too many requests")),
    ];
    for fault in faults {
        let world = world().await;
        let app = world.app().await;
        world.spotify.stub.always("/api/token", fault);
        for kind in ["episodes", "podcasts"] {
            let response = app.push(&table(kind)).await;
            assert_eq!(response.result(), (503, "retry throttled"));
            assert!(response.retry_after.is_some_and(|seconds| seconds > 3500));
        }
        assert_eq!((token_calls(&world).len(), world.spotify.stub.calls().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_wrong_address_is_reported_with_the_setting() {
    for (status, body) in [(404, "<html>"), (302, ""), (405, "Method Not Allowed")] {
        let world = world().await;
        let app = world.app().await;
        world.spotify.stub.always("/api/token", move || answer(status, body));
        let response = app.push(&table("episodes")).await;
        assert_eq!(response.result(), (503, "retry spotify_refused"), "{status}");
        assert!(response.body["advice"].as_str().unwrap().contains("SPOTIFY_ACCOUNTS_URL"));
        assert_eq!(token_calls(&world).len(), 1);
    }
}
