//! The log lines of the real binary, one for each event and outcome: `docs/logs.md` lists their events and
//! fields, and Terraform's metrics match them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::documents::read;
use crate::support::binary::Binary;
use crate::support::emulators::eventually;
use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode, episode_page, search_page, show};
use crate::support::wire::{Act, answer, answer_with};
use crate::support::{EPISODES, Push, World, client, message, table};

async fn start(world: &World, max_files: u32) -> Binary {
    let mut settings = world.settings.clone();
    settings.insert("LOG_FORMAT".to_owned(), "json".to_owned());
    Binary::start_with_max_files(&settings, max_files).await
}

async fn post(binary: &Binary, body: String) -> u16 {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let post = client().post(&binary.url).header("traceparent", trace).body(body);
    post.send().await.unwrap().status().as_u16()
}

async fn push(binary: &Binary, push: &Push) -> u16 {
    post(binary, push.envelope().to_string()).await
}

/// Ends the service with SIGTERM, as Cloud Run does, and returns its log.
async fn stop(binary: Binary) -> Vec<Value> {
    binary.signal("-TERM");
    let (status, log) = binary.wait().await;
    assert!(status.success(), "{log}");
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}")))
        .collect()
}

/// Returns at least one line for each event, and for each outcome of a message.
async fn all_lines() -> Vec<Value> {
    let world = World::new(Spotify::showing(3, 7).await).await;
    let binary = start(&world, 1024).await;
    let podcasts = table("podcasts");
    assert_eq!(push(&binary, &podcasts).await, 204);
    assert_eq!(push(&binary, &podcasts.again(1)).await, 204);
    assert_eq!(push(&binary, &podcasts.again(2)).await, 204);
    // One of three shows is less than half.
    world.spotify.stub.always("/v1/search", || search_page(&[show(0)], 1));
    assert_eq!(push(&binary, &table("podcasts")).await, 204);
    // 6 of 7 episodes, which is within the tolerance.
    world.spotify.stub.on(|call| match call.path.ends_with("/episodes") {
        true => episode_page(&(0..6).map(episode).collect::<Vec<_>>(), 7),
        false => Act::Pass,
    });
    assert_eq!(push(&binary, &table("episodes")).await, 204);
    world.spotify.stub.heal();
    assert_eq!(push(&binary, &message(&json!({"search_term": ["a", "b"]}))).await, 204);
    let unknown = message(&json!({"tabel": "x"}));
    assert_eq!(push(&binary, &unknown).await, 204);
    world.pubsub.on(|_| Some(tonic::Code::PermissionDenied));
    assert_eq!(push(&binary, &unknown).await, 400);
    assert_eq!(post(&binary, "no envelope".to_owned()).await, 400);
    world.spotify.stub.on(|_| answer(403, "Active premium subscription required"));
    assert_eq!(push(&binary, &table("episodes")).await, 503);
    world.spotify.stub.on(|_| answer_with(429, &[("retry-after", "86400")], "Too many requests"));
    assert_eq!(push(&binary, &table("podcasts")).await, 503);
    let mut lines = stop(binary).await;

    // More connections than open files allow.
    let binary = start(&world, 24).await;
    let address = binary.url.trim_start_matches("http://").trim_end_matches('/');
    let many: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(many);
    lines.extend(stop(binary).await);
    lines.extend(crate::panics::lines().0.into_iter().filter(|line| line["event"] == "panic"));
    lines
}

/// Returns the text under a heading, up to the next heading of the same or a higher level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) =
        page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let level = heading.split(' ').next().unwrap();
    let end = rest.match_indices("\n#").map(|(at, _)| at).find(|at| {
        let next = rest[at + 1..].split(' ').next().unwrap();
        next.len() <= level.len()
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// Returns the first cells of a text's tables, without backticks and without table headers.
fn first_cells(text: &str) -> BTreeSet<String> {
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(cell).collect()
}

fn keys(line: &Value) -> BTreeSet<String> {
    line.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_page_and_the_metrics_match_the_log() {
    let lines = all_lines().await;
    the_page_lists_every_event_field_and_outcome(&lines);
    every_line_has_the_fields_of_cloud_logging(&lines);
    metrics_match_event_labels_and_value(&lines);
    queries_use_existing_fields(&lines);
}

fn the_page_lists_every_event_field_and_outcome(lines: &[Value]) {
    let page = read("docs/logs.md");
    let everywhere = first_cells(section(&page, "## Every line"));
    let mut events: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in lines {
        events.entry(line["event"].as_str().unwrap()).or_default().extend(keys(line));
    }
    let listed = section(&page, "## Events").split("\n### ").next().unwrap();
    let found: BTreeSet<String> = events.keys().map(|event| (*event).to_owned()).collect();
    assert_eq!(first_cells(listed), found, "events");
    for (event, keys) in events {
        let text = section(&page, &format!("### `{event}`"));
        let fields = text.split("| outcome |").next().unwrap();
        let own: BTreeSet<String> = keys.difference(&everywhere).cloned().collect();
        assert_eq!(first_cells(fields), own, "fields of {event}");
    }

    let outcomes: BTreeSet<String> = lines
        .iter()
        .filter(|line| line["event"] == "message")
        .map(|line| format!("| `{}` | `{}` |", text(line, "outcome"), text(line, "severity")))
        .collect();
    let table = page.split("| outcome | severity |").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|row| !row.is_empty()).collect();
    assert_eq!(rows.len(), outcomes.len(), "{outcomes:?}");
    for outcome in outcomes {
        assert!(rows.iter().any(|row| row.starts_with(&outcome)), "{outcome}");
    }
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"))
}

fn every_line_has_the_fields_of_cloud_logging(lines: &[Value]) {
    for line in lines {
        assert!(["INFO", "WARNING", "ERROR"].contains(&text(line, "severity")), "{line}");
        assert!(!text(line, "message").is_empty() && text(line, "time").ends_with('Z'), "{line}");
        let is_error = line["severity"] == "ERROR";
        for key in ["@type", "serviceContext", "context"] {
            assert_eq!(line.get(key).is_some(), is_error, "{key}: {line}");
        }
        if ["message", "spotify_ban"].contains(&text(line, "event")) {
            let trace = "projects/p1/traces/0af7651916cd43dd8448eb211c80319c";
            assert_eq!(text(line, "logging.googleapis.com/trace"), trace);
        }
        let whole = line.to_string();
        assert!(!whole.contains("the-client-secret") && !whole.contains("Bearer"), "{line}");
    }
}

fn metrics_match_event_labels_and_value(lines: &[Value]) {
    let metrics: Value = serde_json::from_str(&read("terraform/log_metrics.json")).unwrap();
    for (metric, definition) in metrics.as_object().unwrap() {
        let wanted = definition["where"].as_object().unwrap();
        let matching: Vec<&Value> = lines
            .iter()
            .filter(|line| wanted.iter().all(|(key, value)| line[key] == *value))
            .collect();
        assert!(!matching.is_empty(), "no line is counted by {metric}");
        for label in definition["labels"].as_array().unwrap() {
            let label = label.as_str().unwrap();
            let found = matching.iter().any(|line| line[label].is_string());
            assert!(found, "{metric}: no line has the label {label}");
        }
        if let Some(value) = definition["value"].as_str() {
            let without: Vec<_> = matching.iter().filter(|line| !line[value].is_u64()).collect();
            // A request without a message has no duration; distributions ignore it.
            let are_envelope_errors = without.iter().all(|line| line["reason"] == "no_envelope");
            assert!(are_envelope_errors, "{metric}: {value} is not a number in {without:?}");
            assert!(without.len() < matching.len(), "{metric}: {value}");
        }
    }
}

fn queries_use_existing_fields(lines: &[Value]) {
    let fields: BTreeSet<String> = lines.iter().flat_map(keys).collect();
    for path in ["docs/operations.md", "docs/logs.md", "deploy/deploy.sh"] {
        let text = read(path);
        for (at, _) in text.match_indices("jsonPayload.") {
            let rest = &text[at + "jsonPayload.".len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            assert!(fields.contains(&rest[..end]), "{path} uses {}", &rest[..end]);
        }
    }
}

#[tokio::test]
async fn a_message_whose_client_disconnects_has_its_line() {
    let world = World::new(Spotify::showing(3, 7).await).await;
    let app = world.app().await;
    let log = Log::start();
    world.spotify.stub.always("/v1/search", || Act::Hang);
    let push = table("episodes");
    {
        let answer = app.push(&push);
        tokio::pin!(answer);
        while world.spotify.api_calls().is_empty() {
            tokio::select! {
                answer = &mut answer => panic!("{answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
        // Dropping the request closes the connection.
    }
    eventually("a line", || async { log.lines("message").pop() }).await;
    let line = log.outcome(&push.id);
    assert_eq!((line["outcome"].as_str(), line["reason"].as_str()), ("retry", "client_gone"));
    assert_eq!(line["table"], EPISODES);
    // The table's lock is released, and the next delivery loads it.
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(log.lines("message").len(), 2);
}
