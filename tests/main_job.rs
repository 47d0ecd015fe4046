//! The main task: a message replaces a table.

use serde_json::json;

use crate::support::log::Log;
use crate::support::spotify::{Spotify, catalog, episode_rows, podcast_rows};
use crate::support::wire::answer;
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, message, table};

#[tokio::test]
async fn three_messages_fill_three_tables() {
    let world = World::new(Spotify::showing(66, 120).await).await;
    let app = world.app().await;
    for name in ["podcasts", "episodes", "mentions"] {
        let answer = app.push(&table(name)).await;
        assert_eq!((answer.status, answer.outcome.as_str()), (204, "loaded"), "{name}");
    }
    let catalog = &world.spotify.catalog;
    assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&catalog.shows[..50]));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    assert_eq!(world.bigquery.rows(MENTIONS), episode_rows(&world.spotify.mentions()));
}

#[tokio::test]
async fn a_redelivered_message_loads_once() {
    let world = World::new(Spotify::start(catalog(3, 7)).await).await;
    let app = world.app().await;
    let push = table("episodes");
    assert_eq!(app.push(&push).await.outcome, "loaded");
    for attempt in [1, 2, 17] {
        let answer = app.push(&push.again(attempt)).await;
        assert_eq!((answer.status, answer.outcome.as_str()), (204, "already_loaded"));
    }
    assert_eq!(world.bigquery.accepted().len(), 1);
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 1);
}

#[tokio::test]
async fn a_fan_out_is_published_and_a_refused_message_is_dead_lettered() {
    let world = World::new(Spotify::showing(1, 1).await).await;
    let app = world.app().await;
    let answer = app.push(&message(&json!({"search_term": ["a", "b"]}))).await;
    assert_eq!((answer.status, answer.outcome.as_str()), (204, "fanned_out"));
    assert_eq!(world.pubsub.published("trigger").len(), 6);
    assert_eq!(*world.pubsub.publishes.lock().unwrap(), [6]);

    let answer = app.push(&message(&json!({"tabel": "x"}))).await;
    assert_eq!((answer.status, answer.outcome.as_str()), (204, "dead_lettered refused"));
    let dead_letters = world.pubsub.published("letters");
    assert_eq!(dead_letters[0].data, br#"{"tabel":"x"}"#);
    assert!(dead_letters[0].attributes["detail"].contains("unknown field `tabel`"));
}

#[tokio::test]
async fn each_delivery_writes_one_line_with_its_outcome() {
    let log = Log::start();
    let world = World::new(Spotify::showing(3, 120).await).await;
    let app = world.app().await;
    let (good, bad, many) =
        (table("episodes"), table("nonsense"), message(&json!({"search_term": "x"})));
    for push in [&good, &good.again(2), &bad, &many] {
        app.push(push).await;
    }
    world.spotify.stub.always("/v1/", || answer(403, "Forbidden"));
    app.push(&table("podcasts")).await;
    let lines = log.lines("message");
    let outcomes: Vec<&str> = lines.iter().map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["loaded", "already_loaded", "dead_lettered", "fanned_out", "retry"]);
    let fields = |line: usize, keys: &[&str]| -> Vec<String> {
        keys.iter().map(|key| lines[line].get(*key).cloned().unwrap_or_default()).collect()
    };
    let of_job = ["table", "kind", "term", "rows", "spotify_calls", "delivery_attempt"];
    assert_eq!(fields(0, &of_job), [EPISODES, "episodes", "data hackers", "120", "5", "1"]);
    assert_eq!(lines[0]["job_id"], world.bigquery.accepted()[0]);
    assert_eq!(fields(1, &["message_id", "delivery_attempt"]), [good.id.as_str(), "2"]);
    assert_eq!(fields(2, &["reason", "table"]), ["refused", ""]);
    assert_eq!(fields(3, &["messages"]), ["3"]);
    assert_eq!(fields(4, &["reason"]), ["spotify_refused"]);
    assert!(lines[4]["advice"].contains("SPOTIFY_MARKET"));
}
