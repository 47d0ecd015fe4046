//! Upstreams with malicious answers: each leads to a limited failure, and no call and no token reaches
//! another host.

use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::support::spotify::{Spotify, catalog, catalog_with};
use crate::support::wire::{Act, Call, Stub, answer, answer_with};
use crate::support::{Answer, App, World, message, table};

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A host that must not be called.
async fn elsewhere() -> Stub {
    Stub::start(Router::new()).await
}

/// An answer whose body repeats `piece`.
fn pieces(headers: &[(&str, &str)], piece: &'static [u8], times: usize) -> Act {
    let body = stream::iter((0..times).map(move |_| Ok::<_, String>(Bytes::from_static(piece))));
    with_body(headers, Body::from_stream(body))
}

fn with_body(headers: &[(&str, &str)], body: Body) -> Act {
    let response = headers
        .iter()
        .fold(Response::builder(), |response, (name, value)| response.header(*name, *value));
    Act::Answer(response.body(body).unwrap())
}

/// A page of a search with these fields.
fn page(extra: Value) -> String {
    let mut page = json!({"items": [], "total": 0, "limit": 10, "offset": 0});
    for (key, value) in extra.as_object().unwrap() {
        page[key] = value.clone();
    }
    json!({ "shows": page }).to_string()
}

type Trap = Box<dyn Fn(&Call) -> Act + Send>;

/// Pushes a message for podcasts, with this answer to each call below `path`.
async fn trapped(path: &'static str, trap: Trap) -> (World, Answer) {
    let world = World::new(Spotify::showing(12, 1).await).await;
    let mut config = world.config();
    config.timing.spotify_call_timeout = Duration::from_millis(1500);
    config.timing.backoff.attempts = 2;
    world.spotify.stub.on(
        move |call| {
            if call.path.starts_with(path) { trap(call) } else { Act::Pass }
        },
    );
    let app = App::start(config).await;
    let answer = app.push(&table("podcasts")).await;
    (world, answer)
}

#[tokio::test]
async fn redirects_to_another_host_are_not_followed() {
    let evil = elsewhere().await;
    for path in ["/api/token", "/v1/"] {
        for status in [301, 302, 303, 307, 308] {
            let location = format!("{}/v1/search", evil.url);
            let trap = move |_: &Call| answer_with(status, &[("location", &location)], "");
            let (world, answer) = trapped(path, Box::new(trap)).await;
            assert_eq!(answer.status, 503, "{path}");
            assert!(world.bigquery.accepted().is_empty());
        }
    }
    assert_eq!(evil.calls().len(), 0);
}

#[tokio::test]
async fn links_to_another_host_are_not_followed() {
    let evil = elsewhere().await;
    let world = World::new(Spotify::start(catalog(30, 120)).await).await;
    let app = world.app().await;
    // The same pages, with links to the other host.
    let real = Spotify::start(catalog(30, 120)).await;
    let (inner, url) = (pages_of(&real), evil.url.clone());
    world.spotify.stub.on(move |call| {
        if !call.path.starts_with("/v1/") {
            return Act::Pass;
        }
        let (offset, limit) = (call.number("offset"), call.number("limit"));
        let mut page = inner(call.path.contains("episodes"), offset, limit);
        for key in ["next", "href", "previous"] {
            page[key] = json!(format!("{url}/v1/search?offset=10"));
        }
        let page = if call.path.contains("search") { json!({ "shows": page }) } else { page };
        answer(200, &page.to_string())
    });
    assert_eq!(app.push(&table("podcasts")).await.outcome, "loaded");
    assert_eq!(app.push(&table("episodes")).await.outcome, "loaded");
    assert_eq!(world.bigquery.rows("tb_datahackers_limitada").len(), 30);
    assert_eq!(world.bigquery.rows("tb_datahackers_episodios_total").len(), 120);
    assert_eq!(evil.calls().len(), 0);
}

/// Returns pages of a catalog.
fn pages_of(spotify: &Spotify) -> impl Fn(bool, usize, usize) -> Value + use<> {
    let catalog = spotify.catalog.clone();
    move |episodes, offset, limit| {
        let all = if episodes { catalog.episodes.values().next().unwrap() } else { &catalog.shows };
        let items: Vec<&Value> = all.iter().skip(offset).take(limit).collect();
        json!({"items": items, "total": all.len(), "offset": offset, "limit": limit})
    }
}

#[tokio::test]
async fn endless_and_huge_answers_are_aborted() {
    static SPACES: [u8; 1 << 16] = [b' '; 1 << 16];
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let bomb = gzip(&vec![b' '; 100 << 20]);
    let flood: Vec<(String, String)> =
        (0..500).map(|n| (format!("x-{n}"), "y".repeat(500))).collect();
    let in_items = page(json!({"items": [serde_json::from_str::<Value>(&deep(100)).unwrap()]}));
    let traps: Vec<(&str, Trap)> = vec![
        ("100 MB", Box::new(|_| pieces(&[], &SPACES, 1600))),
        (
            "100 MB, announced",
            Box::new(|_| pieces(&[("content-length", "104857600")], &SPACES, 1600)),
        ),
        ("no end", {
            Box::new(|_| {
                let slow = stream::unfold((), |()| async {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    Some((Ok::<_, String>(Bytes::from_static(b" ")), ()))
                });
                with_body(&[], Body::from_stream(slow.boxed()))
            })
        }),
        ("a gzip bomb", {
            Box::new(move |_| with_body(&[("content-encoding", "gzip")], Body::from(bomb.clone())))
        }),
        (
            "gzip in name only",
            Box::new(|_| answer_with(200, &[("content-encoding", "gzip")], "{}")),
        ),
        ("deep nesting", Box::new(move |_| answer(200, &deep(1_000_000)))),
        ("deep nesting in items", Box::new(move |_| answer(200, &in_items))),
        ("a flood of headers", {
            Box::new(move |_| {
                let headers: Vec<_> = flood.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                answer_with(200, &headers, "{}")
            })
        }),
        ("another charset", {
            Box::new(|_| answer_with(200, &[("content-type", "text/html; charset=utf-7")], "+ADw-"))
        }),
        ("a total of 18 EB and nothing", {
            Box::new(|_| answer(200, &page(json!({"total": u64::MAX}))))
        }),
        ("a text of 5 MB instead of a number", {
            let body = page(json!({"total": "x".repeat(5 << 20)}));
            Box::new(move |_| answer(200, &body))
        }),
        ("an error's text of 5 MB", {
            let words = "x".repeat(5 << 20);
            Box::new(move |_| answer(500, &words))
        }),
        ("a total below zero", Box::new(|_| answer(200, &page(json!({"total": -1}))))),
    ];
    for (what, trap) in traps {
        let (world, answer) = trapped("/v1/", trap).await;
        assert_eq!(answer.status, 503, "{what}: {answer:?}");
        assert!(answer.body.to_string().len() < 4096, "{what}");
        assert!(world.bigquery.accepted().is_empty(), "{what}");
        assert!(world.spotify.api_calls().len() <= 20, "{what}");
    }
}

#[tokio::test]
async fn a_show_whose_id_is_a_path_is_not_called() {
    let world = World::new(Spotify::showing(1, 1).await).await;
    world.spotify.stub.on(|call| {
        if !call.path.starts_with("/v1/search") {
            return Act::Pass;
        }
        let ids = ["../../api/token", "a/b", "a?b", "a#b", "%2e%2e", "", "é", "a b"];
        let items: Vec<Value> =
            ids.iter().map(|id| json!({"id": id, "name": "data hackers"})).collect();
        answer(200, &page(json!({"items": items, "total": items.len()})))
    });
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.status, 503);
    let called = world.spotify.api_calls();
    assert!(called.iter().all(|call| call.path == "/v1/search"), "{called:?}");
}

#[tokio::test]
async fn an_upload_goes_only_to_google_or_the_configured_host() {
    let evil = elsewhere().await;
    // More than 5 MiB, so that the upload is resumable.
    let large = catalog_with(60, &"x".repeat(100_000));
    let world = World::new(Spotify::start(large).await).await;
    let app = world.app().await;
    let host = evil.url.strip_prefix("http://").unwrap().to_owned();
    let own = world.bigquery.stub.url.strip_prefix("http://").unwrap().to_owned();
    for location in [
        format!("http://{host}/upload"),
        format!("//{host}/upload"),
        format!("\\\\{host}\\upload"),
        format!("http://{own}@{host}/upload"),
        format!("https://{host}/?.googleapis.com"),
        format!("https://googleapis.com.{host}/"),
        "https://evilgoogleapis.com/".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        let there = location.clone();
        world.bigquery.stub.on(move |call| {
            if call.query("uploadType") == "resumable" && call.method == "POST" {
                answer_with(200, &[("location", &there)], "")
            } else {
                Act::Pass
            }
        });
        let answer = app.push(&table("episodes")).await;
        assert_eq!(answer.status, 503, "{location}: {}", answer.outcome);
    }
    for status in [301, 307, 308] {
        let there = format!("http://{host}/upload");
        world.bigquery.stub.on(move |_| answer_with(status, &[("location", &there)], ""));
        for name in ["episodes", "podcasts"] {
            assert_eq!(app.push(&table(name)).await.status, 503);
        }
    }
    assert_eq!(evil.calls().len(), 0);
    assert!(world.bigquery.accepted().is_empty());
    world.bigquery.stub.heal();
    assert_eq!(app.push(&message(&json!({"table": "episodes"}))).await.outcome, "loaded");
}

#[tokio::test]
async fn a_huge_answer_from_bigquery_is_aborted() {
    static SPACES: [u8; 1 << 16] = [b' '; 1 << 16];
    let world = World::new(Spotify::showing(1, 1).await).await;
    let mut config = world.config();
    config.timing.backoff.attempts = 2;
    let app = App::start(config).await;
    world.bigquery.stub.on(|call| {
        if call.method == "POST" && call.path.starts_with("/upload/") {
            pieces(&[], &SPACES, 1600)
        } else {
            Act::Pass
        }
    });
    let answer = app.push(&table("podcasts")).await;
    assert_eq!((answer.status, answer.outcome.as_str()), (503, "retry warehouse_unavailable"));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("longer than"), "{detail}");
}
