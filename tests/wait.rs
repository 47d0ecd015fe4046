//! `publish --wait` of the real binary, beside a service at work, a Pub/Sub that hands nothing over by
//! itself, and a BigQuery with other people's jobs.

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

/// `publish` at work.
fn publish(world: &World, arguments: &[&str]) -> JoinHandle<Output> {
    let mut command = command(&[&["publish"], arguments].concat(), &world.settings);
    tokio::spawn(async move { command.output().await.unwrap() })
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// The next messages of the trigger topic, as the service is given them.
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
    assert_eq!(app.push(push).await.told(), (204, "loaded"));
}

/// A job into our table that is done, with these differences from one of ours.
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
    // Several looks at the jobs of others, some of which fail.
    let mut looks = 0;
    let seen = tokio_util::sync::CancellationToken::new();
    let enough = seen.clone();
    world.bigquery.stub.on(move |call| {
        if !call.path.ends_with("/jobs") || call.method != "GET" {
            return Act::Pass;
        }
        looks += 1;
        match looks {
            1..=5 => answer(502, "<html>"),
            6 => answer(429, ""),
            7 => answer(403, &error_body(403, "rateLimitExceeded", "Exceeded rate limits")),
            8 => Act::Cut,
            9 => Act::Pass,
            _ => {
                enough.cancel();
                Act::Pass
            }
        }
    });
    seen.cancelled().await;
    assert!(!waiting.is_finished());
    load(&app, &push).await;
    let output = waiting.await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains(&format!("{EPISODES}: 9 rows"))
            && said.contains(", job spotify-bq_episodes_"),
        "{said}"
    );
    let link = format!("show https://open.spotify.com/show/{show} (the first result");
    assert!(said.contains(&link), "{said}");
    assert!(!said.contains("666") && !said.contains("failed"), "{said}");
}

#[tokio::test]
async fn a_fan_out_is_published_message_by_message_and_each_is_awaited() {
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
async fn a_failed_job_is_told_and_the_next_is_awaited() {
    let world = world().await;
    let app = world.app().await;
    let mut first = true;
    world.bigquery.fate(move |_| {
        // The second runs until the first was looked at.
        let is_first = std::mem::take(&mut first);
        Fate { fails: is_first.then_some("backendError"), polls: if is_first { 0 } else { 300 } }
    });
    let waiting = publish(&world, &["--table", "podcasts", "--wait"]);
    load(&app, &delivered(&world, 1).await[0]).await;
    let output = waiting.await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("_0 failed, waiting for the next") && said.contains("_1"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_before_anything_is_published_says_so() {
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
async fn a_message_that_is_not_loaded_is_named() {
    let world = world().await.set("MESSAGE_DEADLINE_SECONDS", "10");
    let output = publish(&world, &["--table", "podcasts", "--wait"]).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    for words in ["no load of message p0 within 10 s", "redrive --dry-run"] {
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}
