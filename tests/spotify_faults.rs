//! Each failure of Spotify on its own: the response to the message, what the next delivery does, and
//! that the table is either replaced completely or unchanged.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::log::{Line, Log};
use crate::support::spotify::{Spotify, episode_page, episode_rows, error_body as error, piece};
use crate::support::wire::{Act, Fault, answer, answer_with};
use crate::support::{App, World, table};

const PREMIUM: &str = "Active premium subscription required for the owner of the app. When the \
                       subscription status changes, it can take a few hours before requests are \
                       allowed again.";

/// The number of attempts of a call.
const ATTEMPTS: usize = 5;

/// Starts a service that has loaded the table of episodes once.
async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 120).await).await;
    let mut config = world.config();
    config.timing.spotify_call_timeout = Duration::from_millis(1500);
    let app = App::start(config).await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    (world, app)
}

/// Checks that a fault makes the message a retry and leaves the table unchanged, and that the next
/// delivery after the fault replaces the table.
async fn check_retry_until_fixed(
    (world, app): (World, App),
    fault: impl Fn() -> Act + Send + 'static,
    expected: &str,
) -> Value {
    world.spotify.stub.always("/v1/", fault);
    let push = table("episodes");
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, expected));
    assert_eq!((world.episode_loads(), world.pubsub.published("letters").len()), (1, 0));
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.episode_loads(), 2);
    answer.body
}

/// Transient failures.
fn transient() -> Vec<(&'static str, Fault)> {
    vec![
        ("500 with JSON", || answer(500, &error(500, "Server error"))),
        ("502 with HTML", || answer(502, "<html><body>Bad Gateway</body></html>")),
        ("503 without a body", || answer(503, "")),
        ("504 with plain text", || answer(504, "upstream request timeout")),
        ("408", || answer(408, "")),
        ("200 with HTML", || answer(200, "<html>maintenance</html>")),
        ("200 without a body", || answer(200, "")),
        ("200 with half a body", || answer(200, r#"{"items":[{"id":"#)),
        ("200 without the documented fields", || answer(200, r#"{"ok":true}"#)),
        ("200 with other types", || answer(200, r#"{"items":{},"total":"many"}"#)),
        ("a closed connection", || Act::Cut),
        ("a body cut off", || answer_with(200, &[("content-length", "100")], "{")),
        ("no response", || Act::Hang),
    ]
}

#[tokio::test]
async fn transient_failures_are_retried() {
    for (name, fault) in transient() {
        let (world, app) = ready().await;
        world.spotify.stub.next(ATTEMPTS - 1, "/episodes", fault);
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{name}");
        assert_eq!(world.episode_loads(), 2, "{name}");
    }
}

#[tokio::test]
async fn after_five_failed_attempts_the_message_is_a_retry() {
    for (name, fault) in transient() {
        let (world, app) = ready().await;
        let before = world.spotify.api_calls().len();
        world.spotify.stub.always("/v1/", fault);
        let push = table("episodes");
        let answer = app.push(&push).await;
        assert_eq!(answer.result(), (503, "retry spotify_unavailable"), "{name}");
        assert!(answer.detail().contains("/episodes (offset 0)"), "{name}: {}", answer.detail());
        assert_eq!(world.spotify.api_calls().len() - before, ATTEMPTS, "{name}");
        assert_eq!(world.episode_loads(), 1, "{name}");
        world.spotify.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"), "{name}");
        assert_eq!(world.episode_loads(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_failure_of_one_page_loads_nothing() {
    let (world, app) = ready().await;
    world.spotify.stub.on(|call| match call.number("offset") {
        100 => answer(500, ""),
        _ => Act::Pass,
    });
    let answer = app.push(&table("episodes")).await;
    assert_eq!(answer.result(), (503, "retry spotify_unavailable"));
    assert!(answer.detail().contains("(offset 100): 500"), "{}", answer.detail());
    assert_eq!(world.episode_loads(), 1);
}

#[tokio::test]
async fn a_server_error_with_a_long_retry_after_is_not_retried() {
    for status in [408, 425, 499, 500, 502, 503, 504] {
        let (world, app) = ready().await;
        let before = world.spotify.api_calls().len();
        let fault = move || answer_with(status, &[("retry-after", "3600")], "");
        world.spotify.stub.always("/v1/", fault);
        let response = app.push(&table("episodes")).await;
        assert_eq!(response.result(), (503, "retry spotify_unavailable"), "{status}");
        assert_eq!(world.spotify.api_calls().len() - before, 1, "{status}");
    }
}

#[tokio::test]
async fn a_token_that_expires_early_is_renewed_once_for_all_pages() {
    let world = World::new(Spotify::showing(1, 320).await).await;
    let episodes = world.spotify.episodes().to_vec();
    let mut tokens = 0;
    world.spotify.stub.on(move |call| {
        let stale = call.headers.get("authorization").is_some_and(|value| value == "Bearer stale");
        if call.path == "/api/token" {
            tokens += 1;
            // The stub refuses this token, except where this hook responds.
            let stale = r#"{"access_token":"stale","token_type":"Bearer","expires_in":3600}"#;
            return if tokens == 1 { answer(200, stale) } else { Act::Pass };
        }
        match (stale, call.path.as_str(), call.number("offset")) {
            (true, "/v1/search", _) => Act::Pass,
            (true, _, 0) => episode_page(piece(&episodes, 0, 50), episodes.len()),
            _ => Act::Pass,
        }
    });
    let app = world.app().await;
    let named = crate::support::message(&json!({
        "table": "episodes", "search_term": "x", "show_id": world.spotify.catalog.shows[0]["id"],
    }));
    // Six concurrent pages are refused.
    assert_eq!(app.push(&named).await.result(), (204, "loaded"));
    let refused = world.spotify.api_calls();
    let refused = refused.iter().filter(|call| call.headers["authorization"] == "Bearer stale");
    assert!(refused.count() > 2);
    assert_eq!(world.bigquery.rows("episodes_x"), episode_rows(world.spotify.episodes()));
    assert_eq!(world.spotify.stub.calls_to("POST", "/api/token").len(), 2);
}

#[tokio::test]
async fn a_new_token_that_is_refused_is_kept_and_accepted_after_a_pause() {
    let missing = || answer(401, &error(401, "Access token missing"));
    let (world, app) = ready().await;
    let tokens = || world.spotify.stub.calls_to("POST", "/api/token").len();
    let before = (world.spotify.api_calls().len(), tokens());
    world.spotify.stub.next(2, "/v1/", missing);
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    // One refused call, one with another token, and the three pages.
    assert_eq!((world.spotify.api_calls().len() - before.0, tokens() - before.1), (5, 1));
}

#[tokio::test]
async fn tokens_that_are_always_refused_make_a_retry_with_spotifys_message() {
    let (world, app) = ready().await;
    let before = world.spotify.api_calls().len();
    world.spotify.stub.always("/v1/", || answer(401, &error(401, "Access token missing")));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry spotify_unavailable"));
    assert!(response.detail().contains("401 Access token missing"), "{}", response.detail());
    // The first refusal replaces the token and does not count as an attempt.
    assert_eq!(world.spotify.api_calls().len() - before, ATTEMPTS + 1);
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

/// The response of Spotify or a proxy, and what the service makes of it: its own status and outcome, the
/// text from the response that the detail repeats, and a part of the advice.
type ResponseCase = (u16, String, (u16, &'static str), &'static str, &'static str);

fn responses() -> Vec<ResponseCase> {
    let plain = |status, words: &'static str, expected, advice| {
        (status, words.to_owned(), expected, words, advice)
    };
    let json = |status, words: &'static str, expected, advice| {
        (status, error(status, words), expected, words, advice)
    };
    let inside = |status, words: &'static str, expected, advice| {
        (200, error(status, words), expected, words, advice)
    };
    let refused = (503, "retry spotify_refused");
    let unavailable = (503, "retry spotify_unavailable");
    let odd = "report this response";
    let down = "whether Spotify is down";
    vec![
        json(403, "Forbidden", refused, "developer.spotify.com"),
        json(403, "This market is not available", refused, "SPOTIFY_MARKET"),
        plain(403, PREMIUM, (503, "retry premium_required"), "Premium"),
        plain(451, "Unavailable For Legal Reasons", refused, "SPOTIFY_MARKET"),
        json(400, "Invalid market code", refused, "SPOTIFY_MARKET"),
        json(400, "Unlaunched market", refused, "SPOTIFY_MARKET"),
        json(400, "Invalid limit", refused, "SPOTIFY_SEARCH_PAGE_SIZE"),
        json(400, "Only valid bearer authentication supported", unavailable, odd),
        plain(425, "Too Early", unavailable, odd),
        plain(499, "Client Closed Request", unavailable, odd),
        plain(408, "Request Timeout", unavailable, down),
        json(500, "Server error", unavailable, down),
        inside(400, "Invalid limit", refused, "SPOTIFY_SEARCH_PAGE_SIZE"),
        inside(403, "Forbidden", refused, "developer.spotify.com"),
        inside(403, PREMIUM, (503, "retry premium_required"), "Premium"),
        inside(401, "Access token missing", unavailable, odd),
        inside(502, "Bad gateway", unavailable, down),
        (
            200,
            json!({"error": "Something went wrong"}).to_string(),
            unavailable,
            "Something went wrong",
            odd,
        ),
        (200, json!({"error": {"message": "Oops"}}).to_string(), unavailable, "Oops", odd),
        (200, "<html>maintenance</html>".to_owned(), unavailable, "", odd),
    ]
}

#[tokio::test]
async fn spotifys_message_decides_and_is_repeated_with_matching_advice() {
    for (status, body, expected, words, advice) in responses() {
        let (world, app) = ready().await;
        let reply = body.clone();
        world.spotify.stub.always("/v1/", move || answer(status, &reply));
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), expected, "{status} {body}");
        assert!(response.detail().contains(words), "{status} {body}: {}", response.detail());
        let given = response.body["advice"].as_str().unwrap();
        assert!(given.contains(advice), "{status} {body}: {given}");
        assert_eq!((world.episode_loads(), world.pubsub.published("letters").len()), (1, 0));
        world.spotify.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"), "{status} {body}");
    }
}

#[tokio::test]
async fn too_many_requests_are_recognized_with_any_status() {
    for (status, body) in [
        (403, error(403, "Too many requests")),
        (200, error(429, "API rate limit exceeded")),
        (200, error(0, "Too many requests")),
        (503, "rate limit".to_owned()),
        (200, "Too many requests".to_owned()),
    ] {
        let (world, app) = ready().await;
        let before = world.spotify.api_calls().len();
        let reply = body.clone();
        world.spotify.stub.always("/v1/", move || answer(status, &reply));
        let push = table("episodes");
        assert_eq!(app.push(&push).await.result(), (503, "retry throttled"), "{status} {body}");
        assert_eq!(world.spotify.api_calls().len() - before, 10, "{status} {body}");
        world.spotify.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}

#[tokio::test]
async fn a_term_that_spotify_cannot_search_for_is_dead_lettered() {
    for (status, words) in [(400, "No search query"), (200, "No search query")] {
        for kind in ["podcasts", "episodes"] {
            let world = World::new(Spotify::showing(3, 3).await).await;
            let app = world.app().await;
            let reply = error(400, words);
            world.spotify.stub.always("/v1/search", move || answer(status, &reply));
            let push = crate::support::message(&json!({"table": kind, "search_term": "a*"}));
            assert_eq!(app.push(&push).await.result(), (204, "dead_lettered refused"));
            assert_eq!(world.spotify.api_calls().len(), 1);
            let letters = world.pubsub.published("letters");
            let detail = &letters[0].attributes["detail"];
            let said = detail.contains("`search_term`") && detail.contains(words);
            assert!(said && detail.contains("\"a*\""), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_lapsed_premium_is_logged_with_spotifys_message() {
    let log = Log::start();
    let body =
        check_retry_until_fixed(ready().await, || answer(403, PREMIUM), "retry premium_required")
            .await;
    assert!(body["detail"].as_str().unwrap().contains(PREMIUM), "{body}");
    let is_premium = |line: &Line| line.get("reason").is_some_and(|is| is == "premium_required");
    let line = log.lines("message").into_iter().find(is_premium).unwrap();
    assert!(line["message"].contains(PREMIUM), "{line:?}");
    assert!(line["advice"].contains("Premium"), "{line:?}");
}

#[tokio::test]
async fn another_403_is_not_retried() {
    let (world, app) = ready().await;
    let before = world.spotify.api_calls().len();
    world.spotify.stub.always("/v1/", || answer(403, &error(403, "Forbidden")));
    let push = table("episodes");
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, "retry spotify_refused"));
    assert!(answer.detail().contains("403 Forbidden"), "{}", answer.detail());
    assert_eq!((world.spotify.api_calls().len() - before, world.episode_loads()), (1, 1));
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_page_size_that_is_not_allowed_is_explained_with_the_setting() {
    let world =
        World::new(Spotify::showing(3, 3).await).await.set("SPOTIFY_SEARCH_PAGE_SIZE", "50");
    let app = world.app().await;
    let answer = app.push(&table("podcasts")).await;
    assert_eq!(answer.result(), (503, "retry spotify_refused"));
    assert!(answer.detail().contains("400 Invalid limit"), "{}", answer.detail());
    assert!(answer.body["advice"].as_str().unwrap().contains("SPOTIFY_SEARCH_PAGE_SIZE"));
}

#[tokio::test]
async fn an_invalid_market_makes_a_retry() {
    check_retry_until_fixed(
        ready().await,
        || answer(400, &error(400, "Invalid market code")),
        "retry spotify_refused",
    )
    .await;
}

#[tokio::test]
async fn a_404_for_a_search_makes_a_retry() {
    let world = World::new(Spotify::showing(3, 3).await).await;
    let app = world.app().await;
    world.spotify.stub.always("/v1/search", || answer(404, &error(404, "Not found.")));
    for name in ["podcasts", "episodes"] {
        let push = table(name);
        assert_eq!(app.push(&push).await.result(), (503, "retry spotify_unavailable"), "{name}");
    }
    assert!(world.pubsub.published("letters").is_empty() && world.bigquery.accepted().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (world, app) = ready().await;
    let elsewhere = World::new(Spotify::showing(1, 1).await).await;
    let url = format!("{}/v1/search", elsewhere.spotify.stub.url);
    world.spotify.stub.always("/v1/", move || answer_with(302, &[("location", &url)], ""));
    assert_eq!(app.push(&table("episodes")).await.status, 503);
    assert!(elsewhere.spotify.stub.calls().is_empty());
}

#[tokio::test]
async fn a_long_retry_after_of_a_server_error_is_passed_on() {
    for path in ["/v1/", "/api/token"] {
        let world = World::new(Spotify::showing(3, 9).await).await;
        let app = world.app().await;
        world.spotify.stub.always(path, || answer_with(503, &[("retry-after", "3600")], ""));
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry spotify_unavailable"), "{path}");
        assert_eq!(response.retry_after, Some(3600), "{path}");
        assert_eq!(
            world.spotify.stub.calls().iter().filter(|c| c.path.starts_with(path)).count(),
            1
        );
        world.spotify.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}
