//! `publish --wait` of the real binary, with a running service, a Pub/Sub whose messages the tests push
//! themselves, and a BigQuery that also has other jobs.

use std::process::Output;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::bigquery::{Fate, error_body};
use crate::support::binary::command;
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, answer};
use crate::support::{App, EPISODES, Push, World, message};

async fn world() -> World {
    let world = World::new(Spotify::showing(3, 9).await).await;
    world.set("MESSAGE_DEADLINE_SECONDS", "60")
}

/// Starts `publish`.
fn publish(world: &World, arguments: &[&str]) -> JoinHandle<Output> {
    let mut command = command(&[&["publish"], arguments].concat(), &world.settings);
    tokio::spawn(async move { command.output().await.unwrap() })
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// Returns the first messages of the trigger topic, to be pushed to the service.
async fn delivered(world: &World, count: usize) -> Vec<Push> {
    let mut news = world.pubsub.news.subscribe();
    while world.pubsub.published("trigger").len() < count {
        news.changed().await.unwrap();
    }
    let published = world.pubsub.published("trigger");
    let push = |message: &crate::support::pubsub::Published| Push {
        id: message.id.clone(),
        ..self::message(&serde_json::from_slice(&message.data).unwrap())
    };
    published.iter().map(push).collect()
}

async fn load(app: &App, push: &Push) {
    assert_eq!(app.push(push).await.result(), (204, "loaded"));
}

/// A completed load job into the episodes table that is not one of the message.
fn foreign(id: &str, labels: Value, dataset: &str) -> Value {
    let table = json!({"projectId": "p1", "datasetId": dataset, "tableId": EPISODES});
    json!({
        "jobReference": {"projectId": "p1", "jobId": id},
        "configuration": {"labels": labels, "load": {"destinationTable": table}},
        "status": {"state": "DONE"}, "statistics": {"creationTime": "1764061200001", "load": {"outputRows": "666"}},
    })
}

#[tokio::test]
async fn only_the_load_of_the_message_ends_the_wait() {
    let world = world().await;
    let app = world.app().await;
    world.bigquery.state.lock().unwrap().others = vec![
        json!({"jobReference": {"jobId": 5}, "configuration": {"query": {"query": "SELECT 1"}}, "status": "?"}),
        foreign("airflow_1", json!({"service": "airflow", "message": "p0"}), "spotify_podcasts"),
        foreign(
            "spotify-bq_episodes_x_0",
            json!({"service": "spotify-bq", "message": "p9"}),
            "spotify_podcasts",
        ),
        foreign(
            "spotify-bq_episodes_y_0",
            json!({"service": "spotify-bq", "message": "p0"}),
            "another",
        ),
        foreign("spotify-bq_episodes_z_0", json!({"service": "spotify-bq"}), "spotify_podcasts"),
    ];
    let show = world.spotify.catalog.shows[0]["id"].as_str().unwrap();
    world.bigquery.state.lock().unwrap().show = Some(show.to_owned());
    let waiting = publish(&world, &["--table", "episodes", "--wait"]);
    let push = delivered(&world, 1).await.remove(0);
    // The command lists the jobs several times, and some of the calls fail.
    let mut calls = 0;
    let listed = tokio_util::sync::CancellationToken::new();
    let signal = listed.clone();
    world.bigquery.stub.on(move |call| {
        if !call.path.ends_with("/jobs") || call.method != "GET" {
            return Act::Pass;
        }
        calls += 1;
        match calls {
            1..=5 => answer(502, "<html>"),
            6 => answer(429, ""),
            7 => answer(403, &error_body(403, "rateLimitExceeded", "Exceeded rate limits")),
            8 => Act::Cut,
            9 => Act::Pass,
            _ => {
                signal.cancel();
                Act::Pass
            }
        }
    });
    listed.cancelled().await;
    assert!(!waiting.is_finished());
    load(&app, &push).await;
    let output = waiting.await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let printed = text(&output);
    assert!(
        printed.contains(&format!("{EPISODES}: 9 rows"))
            && printed.contains(", job spotify-bq_episodes_"),
        "{printed}"
    );
    let link = format!("show https://open.spotify.com/show/{show} (the first result");
    assert!(printed.contains(&link), "{printed}");
    assert!(!printed.contains("666") && !printed.contains("failed"), "{printed}");
}

#[tokio::test]
async fn a_fan_out_is_expanded_and_each_message_is_waited_for() {
    let world = world().await;
    let app = world.app().await;
    let show = world.spotify.catalog.shows[0]["id"].as_str().unwrap();
    world.bigquery.state.lock().unwrap().show = Some(show.to_owned());
    let waiting = publish(&world, &["--search-term", "Café", "--wait", "--json"]);
    let pushes = delivered(&world, 3).await;
    assert_eq!(*world.pubsub.publishes.lock().unwrap(), [3]);
    for push in &pushes {
        load(&app, push).await;
    }
    let output = waiting.await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
    let lines: Vec<Value> =
        text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (published, loaded): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line["event"] == "published");
    assert_eq!((published.len(), loaded.len()), (3, 3), "{lines:#?}");
    assert_eq!(published[0]["data"]["table"], "podcasts");
    let mut tables: Vec<&str> = loaded.iter().map(|line| line["table"].as_str().unwrap()).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["episodes_cafe", "mentions_cafe", "podcasts_cafe"]);
    for line in loaded {
        assert_eq!((line["event"].as_str(), line["term"].as_str()), (Some("loaded"), Some("Café")));
        assert!(line["jobId"].as_str().unwrap().starts_with("spotify-bq_"), "{line}");
        assert!(line["readAt"].as_str().unwrap().ends_with('Z'), "{line}");
        let is_search = line["kind"] == "podcasts";
        assert!(is_search || line["showId"] == show, "{line}");
        assert!(line.get("show").is_some_and(Value::is_null), "{line}");
        let expected = if is_search { Value::Null } else { json!("first") };
        assert_eq!(line["showMatch"], expected, "{line}");
    }
}

#[tokio::test]
async fn a_failed_job_is_printed_and_the_next_one_waited_for() {
    let world = world().await;
    let app = world.app().await;
    let mut first = true;
    world.bigquery.fate(move |_| {
        // The second runs until the command has seen the first.
        let is_first = std::mem::take(&mut first);
        Fate { fails: is_first.then_some("backendError"), polls: if is_first { 0 } else { 300 } }
    });
    let waiting = publish(&world, &["--table", "podcasts", "--wait"]);
    load(&app, &delivered(&world, 1).await[0]).await;
    let output = waiting.await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let printed = text(&output);
    assert!(
        printed.contains("_0 failed, waiting for the service to retry") && printed.contains("_1"),
        "{printed}"
    );
}

#[tokio::test]
async fn an_error_before_the_publish_says_that_nothing_was_published() {
    let world = world().await;
    world.bigquery.stub.on(|call| {
        let denied = error_body(403, "accessDenied", "no bigquery.jobs.listAll");
        if call.path.ends_with("/jobs") { answer(403, &denied) } else { Act::Pass }
    });
    let output = publish(&world, &["--table", "podcasts", "--wait"]).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    for words in ["nothing was published", "bigquery.jobs.listAll", "roles/bigquery.resourceViewer"]
    {
        assert!(text(&output).contains(words), "{}", text(&output));
    }
    world.bigquery.stub.always("/jobs", || answer(503, ""));
    let output = publish(&world, &["--table", "podcasts", "--wait"]).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("run the command again"), "{}", text(&output));
    assert!(!text(&output).contains("comes again"), "{}", text(&output));

    for topic in [
        "a",
        "a/b",
        "projects/p1/subscriptions/abc",
        "projects/p1/topics/",
        "projects//topics/abc",
        "",
    ] {
        let output = publish(&world, &["--table", "podcasts", "--topic", topic]).await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{topic}: {}", text(&output));
        assert!(text(&output).contains("--topic is"), "{}", text(&output));
    }
    assert!(world.pubsub.published("trigger").is_empty());
}

#[tokio::test]
async fn a_message_without_a_load_is_an_error_with_advice() {
    let world = world().await.set("MESSAGE_DEADLINE_SECONDS", "10");
    let output = publish(&world, &["--table", "podcasts", "--wait"]).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    for words in ["no load of message p0 within 10 s", "redrive --dry-run"] {
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}
