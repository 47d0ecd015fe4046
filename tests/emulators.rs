//! The service with Google's Pub/Sub emulator and a BigQuery emulator instead of the simulated services.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use spotify_bq::config::Phrases;

use crate::support::emulators::{Cloud, as_query_result, eventually};
use crate::support::spotify::{Spotify, catalog_with, episode_rows, podcast_rows};
use crate::support::wire::answer;
use crate::support::{EPISODES, MENTIONS, PODCASTS};

const FORBIDDEN: &str = r#"{"error":{"status":403,"message":"Forbidden"}}"#;

/// Returns the expected rows of the three tables.
fn expected_rows(cloud: &Cloud) -> [(&'static str, Vec<Value>); 3] {
    let spotify = &cloud.world.spotify;
    let shows = &spotify.catalog.shows;
    [
        (PODCASTS, podcast_rows(&shows[..shows.len().min(50)])),
        (EPISODES, episode_rows(spotify.episodes())),
        (MENTIONS, episode_rows(&spotify.mentions())),
    ]
    .map(|(table, rows)| (table, as_query_result(rows)))
}

async fn publish_three(cloud: &Cloud) {
    for table in ["podcasts", "episodes", "mentions"] {
        cloud.publish(&json!({ "table": table })).await;
    }
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn three_messages_fill_three_tables_and_three_more_do_not_change_them() {
    let cloud = Cloud::new(Spotify::showing(66, 130).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    publish_three(&cloud).await;
    cloud.until_filled(&expected_rows(&cloud)).await;
    publish_three(&cloud).await;
    eventually("six loads", || async { (cloud.load_jobs().await == 6).then_some(()) }).await;
    cloud.until_filled(&expected_rows(&cloud)).await;
    assert!(cloud.letters().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_message_that_pubsub_delivers_again_leaves_one_load_job() {
    let cloud = Cloud::new(Spotify::showing(3, 60).await).await;
    let app = cloud.world.app().await;
    let (url, deliveries) = proxy(&app.url, 2).await;
    cloud.push_to(&url).await;
    cloud.publish(&json!({"table": "episodes"})).await;
    eventually("three deliveries", || async {
        (deliveries.load(Ordering::Relaxed) == 3).then_some(())
    })
    .await;
    cloud.until_filled(&expected_rows(&cloud)[1..2]).await;
    assert_eq!(cloud.load_jobs().await, 1);
}

/// Starts a proxy that counts deliveries and replaces the first `lost` responses with 500.
async fn proxy(url: &str, lost: u32) -> (String, Arc<AtomicU32>) {
    let deliveries = Arc::new(AtomicU32::new(0));
    let state = (url.to_owned(), Arc::clone(&deliveries));
    let forward = async move |State((url, count)): State<(String, Arc<AtomicU32>)>,
                              body: String| {
        let sent = crate::support::client().post(&url).body(body).send().await.unwrap();
        let number = count.fetch_add(1, Ordering::Relaxed);
        if number < lost { StatusCode::INTERNAL_SERVER_ERROR } else { sent.status() }
    };
    let router = Router::new().fallback(forward).with_state(state);
    let stub = crate::support::wire::Stub::start(router).await;
    (format!("{}/", stub.url), deliveries)
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn an_invalid_message_is_dead_lettered_and_the_others_are_loaded() {
    let cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    let invalid = r#"{"table":"tabela_8"}"#;
    let id = cloud.publish_to("trigger", invalid, &json!({"origin": "scheduler"})).await;
    publish_three(&cloud).await;
    cloud.until_filled(&expected_rows(&cloud)).await;
    let letter =
        eventually("a dead letter", || async { cloud.letters().await.into_iter().next() }).await;
    let (data, attributes) = letter;
    assert_eq!(data, invalid);
    assert_eq!(
        (attributes["reason"].as_str(), attributes["message_id"].as_str()),
        ("refused", &*id)
    );
    assert!(attributes["detail"].contains("`table` is \"tabela_8\", expected one of podcasts"));
    assert_eq!(attributes["origin"], "scheduler");
    assert!(attributes["publish_time"].starts_with("20"), "{attributes:?}");
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_message_that_fails_is_redelivered_and_loaded() {
    let cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    let app = cloud.world.app().await;
    cloud.world.spotify.stub.next(3, "/episodes", || answer(403, FORBIDDEN));
    let (url, deliveries) = proxy(&app.url, 0).await;
    cloud.push_to(&url).await;
    cloud.publish(&json!({"table": "episodes"})).await;
    cloud.until_filled(&expected_rows(&cloud)[1..2]).await;
    eventually("four deliveries", || async {
        (deliveries.load(Ordering::Relaxed) == 4).then_some(())
    })
    .await;
    assert_eq!(cloud.load_jobs().await, 1);
    assert!(cloud.letters().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_message_that_keeps_failing_is_dead_lettered_by_the_subscription_and_can_be_redriven() {
    let cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    let app = cloud.world.app().await;
    cloud.world.spotify.stub.always("/v1/", || answer(403, FORBIDDEN));
    let (url, deliveries) = proxy(&app.url, 0).await;
    let policy = json!({"deadLetterTopic": cloud.topic("letters"), "maxDeliveryAttempts": 5});
    let subscription = json!({
        "topic": cloud.topic("trigger"), "pushConfig": {"pushEndpoint": url},
        "ackDeadlineSeconds": 600, "deadLetterPolicy": policy,
        "retryPolicy": {"minimumBackoff": "0.1s", "maximumBackoff": "1s"},
    });
    cloud.subscribe("push", &subscription).await;
    cloud.publish_to("trigger", "", &json!({"table": "podcasts"})).await;
    let letter =
        eventually("a dead letter", || async { cloud.letters().await.into_iter().next() }).await;
    assert_eq!(letter.1["table"], "podcasts");
    assert!(!letter.1.contains_key("reason"));
    assert!(letter.1.keys().any(|key| key.starts_with("CloudPubSubDeadLetterSource")));
    assert_eq!(deliveries.load(Ordering::Relaxed), 5);

    cloud.world.spotify.stub.heal();
    let redriven = cloud.run(&["redrive", "--reason", "none"]).await;
    assert!(redriven.status.success(), "{redriven:?}");
    cloud.until_filled(&expected_rows(&cloud)[..1]).await;
    assert!(cloud.letters().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_fan_out_fills_three_tables() {
    let cloud = Cloud::new(Spotify::showing(12, 60).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    cloud.publish(&json!({"search_term": ["data hackers", "Café"]})).await;
    cloud.until_filled(&expected_rows(&cloud)).await;
    let [podcasts, episodes, mentions] = expected_rows(&cloud).map(|(_, rows)| rows);
    let tables =
        [("podcasts_cafe", podcasts), ("episodes_cafe", episodes), ("mentions_cafe", mentions)];
    cloud.until_filled(&tables).await;
    assert_eq!(cloud.load_jobs().await, 6);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_load_above_five_mebibytes_is_complete() {
    let large = catalog_with(150, &"Grupo Boticário ação 🎧\n".repeat(2000));
    let cloud = Cloud::new(Spotify::start(large).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    cloud.publish(&json!({"table": "episodes"})).await;
    let expected = as_query_result(episode_rows(cloud.world.spotify.episodes()));
    assert!(serde_json::to_string(&expected).unwrap().len() > 6_000_000);
    cloud.until_filled(&[(EPISODES, expected)]).await;
    assert_eq!(cloud.load_jobs().await, 1);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn no_mentions_empty_the_table() {
    let cloud = Cloud::new(Spotify::showing(1, 9).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    cloud.publish(&json!({"table": "mentions"})).await;
    cloud.until_filled(&expected_rows(&cloud)[2..]).await;
    let mut config = cloud.world.config();
    config.mention_phrases = Phrases::parse("ninguém").unwrap();
    let other = crate::support::App::start(config).await;
    let answer = other.push(&crate::support::table("mentions")).await;
    assert_eq!(answer.result(), (204, "loaded"));
    assert_eq!(cloud.rows(MENTIONS).await, Some(Vec::new()));
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn each_load_publishes_an_event_and_a_redelivery_publishes_it_again() {
    let mut cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    cloud.create_topic("loaded").await;
    cloud.subscribe("loaded-events", &json!({"topic": cloud.topic("loaded")})).await;
    cloud.world = cloud.world.set("LOADED_TOPIC", "loaded");
    let app = cloud.world.app().await;
    let (url, _) = proxy(&app.url, 1).await;
    cloud.push_to(&url).await;
    let id = cloud.publish(&json!({"table": "episodes"})).await;
    let events = cloud.take("loaded-events", 2).await;
    let events: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    for event in &events {
        assert_eq!((&event["table"], &event["messageId"]), (&json!(EPISODES), &json!(id)));
        assert_eq!(event["jobId"], events[0]["jobId"]);
    }
    assert_eq!(cloud.load_jobs().await, 1);
}
