//! Messages share what one call finds out: during an outage eight messages make about as many calls as
//! one. A page that fails while other calls succeed stops no other message.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::log::{Line, Log};
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, Call, Fault, answer, answer_with};
use crate::support::{Answer, App, Push, World, message, table};

/// The number of attempts of a call.
const ATTEMPTS: usize = 5;

/// The timeout of a call to Spotify.
const CALL_TIMEOUT: Duration = Duration::from_millis(400);

/// Long enough for eight messages to arrive.
const RESPONSE_DELAY: Duration = Duration::from_millis(500);

/// Starts a service whose first backoff is long enough for eight messages to arrive.
async fn start(world: &World) -> App {
    start_with(world, CALL_TIMEOUT).await
}

async fn start_with(world: &World, timeout: Duration) -> App {
    let mut config = world.config();
    config.timing.spotify_call_timeout = timeout;
    config.timing.backoff.base_delay = Duration::from_millis(100);
    config.timing.backoff.max_delay = Duration::from_millis(100);
    App::start(config).await
}

async fn world() -> World {
    World::new(Spotify::showing(3, 20).await).await
}

/// Eight messages for eight tables.
fn eight() -> Vec<Push> {
    let data = |n| json!({"table": "podcasts", "search_term": format!("term {n}")});
    (0..8).map(|n| message(&data(n))).collect()
}

async fn push_all(app: &App, pushes: &[Push]) -> Vec<Answer> {
    join_all(pushes.iter().map(|push| app.push(push))).await
}

fn again(pushes: &[Push]) -> Vec<Push> {
    pushes.iter().map(|push| push.again(2)).collect()
}

fn outages() -> Vec<(&'static str, Fault)> {
    vec![
        ("no response", || Act::Hang),
        ("a closed connection", || Act::Cut),
        ("500", || answer(500, "")),
        ("503 with HTML", || answer(503, "<html>")),
        ("408", || answer(408, "")),
        ("200 with HTML", || answer(200, "<html>maintenance</html>")),
        ("an error in a 200", || answer(200, r#"{"error":{"status":502,"message":"x"}}"#)),
    ]
}

#[tokio::test]
async fn eight_messages_share_the_attempts_of_one_call() {
    for path in ["/v1/", "/api/token"] {
        for (name, fault) in outages() {
            let world = world().await;
            let app = start(&world).await;
            world.spotify.stub.always(path, fault);
            let pushes = eight();
            for answer in push_all(&app, &pushes).await {
                assert_eq!(answer.result(), (503, "retry spotify_unavailable"), "{path} {name}");
            }
            let calls = || {
                let calls = world.spotify.stub.calls();
                calls.iter().filter(|call| call.path.starts_with(path)).count()
            };
            // A message that arrives after the others have failed makes one more call.
            let first = calls();
            assert!((ATTEMPTS..=ATTEMPTS + 3).contains(&first), "{path} {name}: {first}");
            // While the outage lasts, the next deliveries make one call, or one for each that is late.
            push_all(&app, &again(&pushes)).await;
            assert!(calls() - first <= 4, "{path} {name}: {}", calls() - first);
            world.spotify.stub.heal();
            for answer in push_all(&app, &again(&pushes)).await {
                assert_eq!(answer.result(), (204, "loaded"), "{path} {name}");
            }
        }
    }
}

#[tokio::test]
async fn an_outage_costs_the_calls_in_flight_and_the_attempts_of_one() {
    for (name, fault) in outages() {
        let world = world().await;
        let app = start(&world).await;
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
        let before = world.spotify.api_calls().len();
        world.spotify.stub.always("/v1/", fault);
        for answer in push_all(&app, &eight()).await {
            assert_eq!(answer.result(), (503, "retry spotify_unavailable"), "{name}");
        }
        // Eight calls are made at once.
        let calls = world.spotify.api_calls().len() - before;
        assert!(calls <= 8 + ATTEMPTS, "{name}: {calls}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_an_outage() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let world = world().await.set("SPOTIFY_API_URL", &url);
    let log = Log::start();
    let app = start(&world).await;
    for answer in push_all(&app, &eight()).await {
        assert_eq!(answer.result(), (503, "retry spotify_unavailable"));
        assert!(answer.detail().contains("Connection refused"), "{}", answer.detail());
    }
    let calls = |line: &Line| line["spotify_calls"].parse::<usize>().unwrap();
    let calls: usize = log.lines("message").iter().map(calls).sum();
    // One of them is for the token.
    assert!((ATTEMPTS + 1..=ATTEMPTS + 4).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_refusal_of_the_client_is_shared() {
    for (body, reason) in [
        (r#"{"error":"invalid_client"}"#, "retry spotify_credentials"),
        ("Active premium subscription required", "retry premium_required"),
    ] {
        let world = world().await;
        let app = start_with(&world, 10 * RESPONSE_DELAY).await;
        world.spotify.stub.always("/api/token", move || answer(400, body).after(RESPONSE_DELAY));
        for answer in push_all(&app, &eight()).await {
            assert_eq!(answer.result(), (503, reason));
        }
        assert_eq!(world.spotify.stub.calls().len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn a_lapsed_premium_costs_one_call() {
    let world = world().await;
    let app = start_with(&world, 10 * RESPONSE_DELAY).await;
    let body = "Active premium subscription required";
    world.spotify.stub.always("/v1/", move || answer(403, body).after(RESPONSE_DELAY));
    for answer in push_all(&app, &eight()).await {
        assert_eq!(answer.result(), (503, "retry premium_required"));
    }
    assert_eq!(world.spotify.api_calls().len(), 1);
}

#[tokio::test]
async fn a_long_retry_after_is_passed_on_to_all_that_wait() {
    for path in ["/v1/", "/api/token"] {
        for status in [408, 503] {
            let world = world().await;
            let app = start_with(&world, 10 * RESPONSE_DELAY).await;
            let late =
                move || answer_with(status, &[("retry-after", "3600")], "").after(RESPONSE_DELAY);
            world.spotify.stub.always(path, late);
            for answer in push_all(&app, &eight()).await {
                assert_eq!(answer.result(), (503, "retry spotify_unavailable"));
                assert_eq!(answer.retry_after, Some(3600));
            }
            let calls = world.spotify.stub.calls();
            let calls = calls.iter().filter(|call| call.path.starts_with(path)).count();
            assert_eq!(calls, 1, "{path}");
        }
    }
}

#[tokio::test]
async fn a_page_that_keeps_failing_stops_no_other() {
    let faults: [Fault; 3] = [|| answer(500, ""), || Act::Hang, || Act::Cut];
    for fault in faults {
        let world = world().await;
        let app = start(&world).await;
        let calls = || world.spotify.api_calls().len();
        push_all(&app, &eight()).await;
        let before = calls();
        push_all(&app, &eight()).await;
        let healthy = calls() - before;

        let is_bad = |call: &Call| call.path.ends_with("/episodes");
        world.spotify.stub.on(move |call| if is_bad(call) { fault() } else { Act::Pass });
        let show = &world.spotify.catalog.shows[0]["id"];
        let bad = json!({"table": "episodes", "search_term": "bad", "show_id": show});
        let before = calls();
        let fails = async {
            let response = app.push(&message(&bad)).await;
            assert_eq!(response.result(), (503, "retry spotify_unavailable"));
        };
        let others = async {
            for push in eight().iter().chain(&eight()) {
                assert_eq!(app.push(push).await.result(), (204, "loaded"));
            }
        };
        tokio::join!(fails, others);
        assert_eq!(calls() - before, ATTEMPTS + 2 * healthy);
    }
}
