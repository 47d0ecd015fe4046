//! Spotify's 429: a short `Retry-After` is waited for; after a long one the process makes no call until it
//! has passed.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::{Act, answer, answer_with};
use crate::support::{App, EPISODES, World, message, table};

const TOO_MANY: &str = r#"{"error":{"status":429,"message":"Too many requests"}}"#;
const QUOTA: &str =
    r#"{"error":{"status":429,"message":"Too many requests","reason":"QUOTA_EXCEEDED"}}"#;

async fn world() -> World {
    World::new(Spotify::showing(3, 120).await).await
}

/// A 429 with a `Retry-After`.
fn wait(seconds: &'static str) -> Act {
    answer_with(429, &[("retry-after", seconds)], TOO_MANY)
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let world = world().await;
    let app = world.app().await;
    world.spotify.stub.next(1, "/v1/", || wait("1"));
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    let calls = world.spotify.api_calls();
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn a_cooldown_holds_for_all_messages() {
    let world = world().await;
    let app = world.app().await;
    world.spotify.stub.next(1, "/v1/", || wait("1"));
    let pushes = ["podcasts", "episodes", "mentions"].map(table);
    let answers = futures_util::future::join_all(pushes.iter().map(|push| app.push(push))).await;
    assert!(answers.iter().all(|answer| answer.result() == (204, "loaded")), "{answers:?}");
    let calls = world.spotify.api_calls();
    let after = calls[0].at + Duration::from_secs(1);
    assert!(calls[1..].iter().all(|call| call.at >= after), "a call during the cooldown");
}

#[tokio::test]
async fn a_long_retry_after_is_passed_on_and_no_call_is_made_meanwhile() {
    let world = world().await;
    let app = world.app().await;
    let log = Log::start();
    app.push(&table("podcasts")).await;
    world.spotify.stub.always("/v1/", || wait("83316"));
    let push = table("episodes");
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, "retry throttled"));
    assert!((83_300..=83_316).contains(&answer.retry_after.unwrap()), "{answer:?}");
    assert_eq!(log.lines("spotify_ban")[0]["retry_after_seconds"], "83316");

    world.spotify.stub.heal();
    let calls = world.spotify.stub.calls().len();
    for push in
        [push.again(2), table("podcasts"), message(&json!({"table":"mentions","search_term":"x"}))]
    {
        let answer = app.push(&push).await;
        assert_eq!(answer.result(), (503, "retry throttled"));
        assert!(answer.retry_after.is_some_and(|seconds| seconds > 83_000));
    }
    assert_eq!(world.spotify.stub.calls().len(), calls);
    assert_eq!(log.lines("spotify_ban").len(), 1);

    // Another process needs one call to notice, and messages that need no call are processed.
    world.spotify.stub.always("/v1/", || wait("83316"));
    let fresh = world.app().await;
    let before = world.spotify.api_calls().len();
    let pushes = ["podcasts", "episodes", "mentions"].map(table);
    let answers = futures_util::future::join_all(pushes.iter().map(|push| fresh.push(push))).await;
    assert!(answers.iter().all(|answer| answer.result() == (503, "retry throttled")));
    assert_eq!(world.spotify.api_calls().len() - before, 1);
    let fan_out = message(&json!({"search_term": "x"}));
    assert_eq!(app.push(&fan_out).await.result(), (204, "fanned_out"));
}

#[tokio::test]
async fn after_a_long_retry_after_the_message_is_loaded() {
    let world = world().await;
    let mut config = world.config();
    config.timing.backoff.max_retry_after = Duration::from_millis(100);
    let app = App::start(config).await;
    world.spotify.stub.next(1, "/v1/", || wait("1"));
    let push = table("episodes");
    assert_eq!(app.push(&push).await.retry_after, Some(1));
    let ban_start = world.spotify.api_calls()[0].at;
    let mut attempt = 1;
    loop {
        attempt += 1;
        let answer = app.push(&push.again(attempt)).await;
        if answer.status == 204 {
            break;
        }
        assert_eq!(answer.result(), (503, "retry throttled"));
        tokio::task::yield_now().await;
    }
    let calls = world.spotify.api_calls();
    assert!(calls[1].at >= ban_start + Duration::from_secs(1), "a call during the ban");
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn a_retry_after_past_the_messages_deadline_is_not_waited_for() {
    let world = world().await;
    let mut config = world.config();
    config.timing.message_deadline = Duration::from_secs(5);
    let app = App::start(config).await;
    world.spotify.stub.next(1, "/v1/", || wait("20"));
    let answer = app.push(&table("episodes")).await;
    assert_eq!(answer.result(), (503, "retry throttled"));
    assert!(answer.retry_after.is_some_and(|seconds| seconds > 5 && seconds <= 20));
    assert_eq!(world.spotify.api_calls().len(), 1);
}

#[tokio::test]
async fn a_429_without_retry_after_is_backed_off_from() {
    for body in [TOO_MANY, "Too many requests", "<html>429</html>", ""] {
        let world = world().await;
        let app = world.app().await;
        world.spotify.stub.next(6, "/v1/", move || answer(429, body));
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{body}");
        let calls = world.spotify.api_calls();
        let waits: Vec<Duration> = calls.windows(2).map(|two| two[1].at - two[0].at).collect();
        // 1, 2, 4, 8, 16 ms, then the maximum of 20. Only lower bounds, since the machine may be slow.
        for (wait, least) in waits.iter().zip([1, 2, 4, 8, 16, 20]) {
            assert!(*wait >= Duration::from_millis(least), "{waits:?}");
        }
    }
}

#[tokio::test]
async fn ten_429s_in_a_row_make_a_retry() {
    let world = world().await;
    let app = world.app().await;
    world.spotify.stub.always("/v1/", || answer(429, TOO_MANY));
    let push = table("episodes");
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, "retry throttled"));
    assert!(answer.retry_after.is_some());
    assert_eq!(world.spotify.api_calls().len(), 10);
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn messages_share_the_backoff_after_a_retry_after_without_a_pause() {
    for headers in [
        &["0"][..],
        &["-1"],
        &["0.0"],
        &["soon"],
        &[""],
        &["1e-3"],
        &["Sun, 06 Nov 1994 08:49:37 GMT"],
        &["0", "Sun, 06 Nov 1994 08:49:37 GMT"],
    ] {
        let world = world().await;
        let mut config = world.config();
        config.timing.backoff.base_delay = Duration::from_millis(40);
        config.timing.backoff.max_delay = Duration::from_millis(80);
        let app = App::start(config).await;
        let headers: Vec<_> = headers.iter().map(|value| ("retry-after", *value)).collect();
        world.spotify.stub.always("/v1/", move || answer_with(429, &headers, TOO_MANY));
        let data = |n| json!({"table": "podcasts", "search_term": format!("term {n}")});
        let pushes: Vec<_> = (0..8).map(|n| message(&data(n))).collect();
        let answers = futures_util::future::join_all(pushes.iter().map(|push| app.push(push)));
        for answer in answers.await {
            assert_eq!(answer.result(), (503, "retry throttled"));
        }
        let calls = world.spotify.api_calls();
        assert_eq!(calls.len(), 10);
        for (n, two) in calls.windows(2).enumerate() {
            let least = Duration::from_millis(if n == 0 { 40 } else { 80 });
            assert!(two[1].at - two[0].at >= least, "wait {n}: {:?}", two[1].at - two[0].at);
        }
        // The next delivery needs one call to notice that it lasts.
        let again: Vec<_> = pushes.iter().map(|push| push.again(2)).collect();
        futures_util::future::join_all(again.iter().map(|push| app.push(push))).await;
        assert!(world.spotify.api_calls().len() <= 12);
    }
}

#[tokio::test]
async fn a_429_in_the_body_of_a_200_counts() {
    let world = world().await;
    let app = world.app().await;
    let headers = [("retry-after", "3600")];
    world.spotify.stub.always("/v1/", move || answer_with(200, &headers, QUOTA));
    for kind in ["podcasts", "episodes"] {
        let answer = app.push(&table(kind)).await;
        assert_eq!(answer.result(), (503, "retry quota_exceeded"));
        assert!(answer.retry_after.is_some_and(|seconds| seconds > 3500), "{answer:?}");
    }
    assert_eq!(world.spotify.api_calls().len(), 1);
}

#[tokio::test]
async fn the_longest_of_several_retry_after_headers_counts() {
    let world = world().await;
    let app = world.app().await;
    let headers = [("retry-after", "0"), ("retry-after", "3599.5"), ("retry-after", "x")];
    world.spotify.stub.always("/v1/", move || answer_with(429, &headers, TOO_MANY));
    let answer = app.push(&table("episodes")).await;
    assert_eq!(answer.result(), (503, "retry throttled"));
    assert!(answer.retry_after.is_some_and(|seconds| seconds > 3590), "{answer:?}");
    assert_eq!(world.spotify.api_calls().len(), 1);
}

#[tokio::test]
async fn a_retry_after_is_never_shorter_than_the_growing_backoff() {
    let world = world().await;
    let mut config = world.config();
    config.timing.backoff.base_delay = Duration::from_millis(800);
    config.timing.backoff.max_delay = Duration::from_millis(1600);
    let app = App::start(config).await;
    world.spotify.stub.next(2, "/v1/", || wait("1"));
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    let calls = world.spotify.api_calls();
    let waits: Vec<Duration> = calls.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(
        waits[0] >= Duration::from_secs(1) && waits[1] >= Duration::from_millis(1600),
        "{waits:?}"
    );
}

#[tokio::test]
async fn an_exhausted_quota_has_a_reason_of_its_own() {
    let world = world().await;
    let app = world.app().await;
    let log = Log::start();
    world.spotify.stub.always("/v1/", || answer_with(429, &[("retry-after", "86400")], QUOTA));
    let push = table("episodes");
    let answer = app.push(&push).await;
    assert_eq!(answer.result(), (503, "retry quota_exceeded"));
    assert!(answer.detail().contains("the developer account's quota is used up"));
    assert!(answer.retry_after.is_some_and(|seconds| seconds > 86_000));
    assert_eq!(log.lines("spotify_ban")[0]["reason"], "quota_exceeded");
    assert_eq!(log.outcome(&push.id)["reason"], "quota_exceeded");
    // Later messages have the same reason.
    assert_eq!(app.push(&table("podcasts")).await.result(), (503, "retry quota_exceeded"));
}

#[tokio::test]
async fn a_429_is_recorded_although_its_message_was_cancelled() {
    for path in ["/v1/", "/api/token"] {
        let world = world().await;
        let mut config = world.config();
        config.timing.message_deadline = Duration::from_millis(300);
        let app = App::start(config).await;
        let cancelled = CancellationToken::new();
        let held = cancelled.clone();
        world.spotify.stub.always(path, move || wait("83316").held(held.clone()));
        assert_eq!(app.push(&table("episodes")).await.result(), (503, "retry deadline_passed"));
        cancelled.cancel();
        assert_eq!(app.push(&table("podcasts")).await.status, 503);
        let calls = world.spotify.stub.calls();
        assert_eq!(calls.iter().filter(|call| call.path.starts_with(path)).count(), 1, "{path}");
    }
}
