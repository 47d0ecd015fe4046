//! The service between Google's own Pub/Sub emulator and a BigQuery emulator: nothing that this
//! project wrote stands in for either.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use spotify_bq::config::Phrases;

use crate::support::emulators::{Cloud, eventually, in_bigquerys_text};
use crate::support::spotify::{Spotify, catalog, episode_rows, podcast_rows};
use crate::support::wire::answer;
use crate::support::{EPISODES, MENTIONS, PODCASTS};

const FORBIDDEN: &str = r#"{"error":{"status":403,"message":"Forbidden"}}"#;

/// What the three tables must hold.
fn shown(cloud: &Cloud) -> [(&'static str, Vec<Value>); 3] {
    let spotify = &cloud.world.spotify;
    let mentioned: Vec<Value> = spotify.episodes().iter().step_by(3).cloned().collect();
    let shows = &spotify.catalog.shows;
    [
        (PODCASTS, podcast_rows(&shows[..shows.len().min(50)])),
        (EPISODES, episode_rows(spotify.episodes())),
        (MENTIONS, episode_rows(&mentioned)),
    ]
    .map(|(table, rows)| (table, in_bigquerys_text(rows)))
}

async fn publish_three(cloud: &Cloud) {
    for table in ["podcasts", "episodes", "mentions"] {
        cloud.publish(&json!({ "table": table })).await;
    }
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn three_messages_fill_three_tables_and_three_more_leave_them_the_same() {
    let cloud = Cloud::new(Spotify::showing(66, 130).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    publish_three(&cloud).await;
    cloud.until_filled(&shown(&cloud)).await;
    publish_three(&cloud).await;
    eventually("six loads", || async { (cloud.load_jobs().await == 6).then_some(()) }).await;
    cloud.until_filled(&shown(&cloud)).await;
    assert!(cloud.letters().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_message_that_pubsub_delivers_again_leaves_one_load_job() {
    let cloud = Cloud::new(Spotify::showing(3, 60).await).await;
    let app = cloud.world.app().await;
    // In front of the service stands one that loses its first two answers.
    let (url, deliveries) = losing_answers(&app.url, 2).await;
    cloud.push_to(&url).await;
    cloud.publish(&json!({"table": "episodes"})).await;
    eventually("three deliveries", || async {
        (deliveries.load(Ordering::Relaxed) == 3).then_some(())
    })
    .await;
    cloud.until_filled(&shown(&cloud)[1..2]).await;
    assert_eq!(cloud.load_jobs().await, 1);
}

/// A front that passes pushes on and counts them.
async fn counting(url: &str) -> (String, Arc<AtomicU32>) {
    losing_answers(url, 0).await
}

/// A front that passes pushes on and answers the first `lost` of them with 500, whatever came of
/// them. Counts the deliveries.
async fn losing_answers(url: &str, lost: u32) -> (String, Arc<AtomicU32>) {
    let deliveries = Arc::new(AtomicU32::new(0));
    let passed_on = (url.to_owned(), Arc::clone(&deliveries));
    let pass = async move |State((url, count)): State<(String, Arc<AtomicU32>)>, body: String| {
        let sent = crate::support::client().post(&url).body(body).send().await.unwrap();
        let number = count.fetch_add(1, Ordering::Relaxed);
        if number < lost { StatusCode::INTERNAL_SERVER_ERROR } else { sent.status() }
    };
    let router = Router::new().fallback(pass).with_state(passed_on);
    let stub = crate::support::wire::Stub::start(router).await;
    (format!("{}/", stub.url), deliveries)
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_poison_message_becomes_a_dead_letter_while_healthy_ones_pass() {
    let cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    let poison = r#"{"table":"tabela_8"}"#;
    let id = cloud.publish_to("trigger", poison, &json!({"origin": "scheduler"})).await;
    publish_three(&cloud).await;
    cloud.until_filled(&shown(&cloud)).await;
    let letter =
        eventually("a letter", || async { cloud.letters().await.into_iter().next() }).await;
    let (data, attributes) = letter;
    assert_eq!(data, poison);
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
async fn a_message_that_is_handed_back_comes_again_and_succeeds() {
    let cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    let app = cloud.world.app().await;
    cloud.world.spotify.stub.next(3, "/episodes", || answer(403, FORBIDDEN));
    let (url, deliveries) = counting(&app.url).await;
    cloud.push_to(&url).await;
    cloud.publish(&json!({"table": "episodes"})).await;
    cloud.until_filled(&shown(&cloud)[1..2]).await;
    eventually("four deliveries", || async {
        (deliveries.load(Ordering::Relaxed) == 4).then_some(())
    })
    .await;
    assert_eq!(cloud.load_jobs().await, 1);
    assert!(cloud.letters().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn one_that_never_succeeds_is_forwarded_by_the_subscription_and_can_be_redriven() {
    let cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    let app = cloud.world.app().await;
    cloud.world.spotify.stub.always("/v1/", || answer(403, FORBIDDEN));
    let (url, deliveries) = counting(&app.url).await;
    let policy = json!({"deadLetterTopic": cloud.topic("letters"), "maxDeliveryAttempts": 5});
    let subscription = json!({
        "topic": cloud.topic("trigger"), "pushConfig": {"pushEndpoint": url},
        "ackDeadlineSeconds": 600, "deadLetterPolicy": policy,
        "retryPolicy": {"minimumBackoff": "0.1s", "maximumBackoff": "1s"},
    });
    cloud.subscribe("push", &subscription).await;
    cloud.publish_to("trigger", "", &json!({"table": "podcasts"})).await;
    let letter =
        eventually("a letter", || async { cloud.letters().await.into_iter().next() }).await;
    assert_eq!(letter.1["table"], "podcasts");
    assert!(!letter.1.contains_key("reason"));
    assert!(letter.1.keys().any(|key| key.starts_with("CloudPubSubDeadLetterSource")));
    assert_eq!(deliveries.load(Ordering::Relaxed), 5);

    cloud.world.spotify.stub.heal();
    let redriven = cloud.run(&["redrive", "--reason", "none"]).await;
    assert!(redriven.status.success(), "{redriven:?}");
    cloud.until_filled(&shown(&cloud)[..1]).await;
    assert!(cloud.letters().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_fan_out_fills_three_tables() {
    let cloud = Cloud::new(Spotify::showing(12, 60).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    cloud.publish(&json!({"search_term": ["data hackers", "Café"]})).await;
    cloud.until_filled(&shown(&cloud)).await;
    let [podcasts, episodes, mentions] = shown(&cloud).map(|(_, rows)| rows);
    let tables =
        [("podcasts_cafe", podcasts), ("episodes_cafe", episodes), ("mentions_cafe", mentions)];
    cloud.until_filled(&tables).await;
    assert_eq!(cloud.load_jobs().await, 6);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn a_load_above_five_mebibytes_arrives_whole() {
    let mut large = catalog(1, 150);
    for episode in large.episodes.values_mut().flatten() {
        episode["description"] = json!("Grupo Boticário ação 🎧\n".repeat(2000));
    }
    let cloud = Cloud::new(Spotify::start(large).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    cloud.publish(&json!({"table": "episodes"})).await;
    let whole = in_bigquerys_text(episode_rows(cloud.world.spotify.episodes()));
    assert!(serde_json::to_string(&whole).unwrap().len() > 6_000_000);
    cloud.until_filled(&[(EPISODES, whole)]).await;
    assert_eq!(cloud.load_jobs().await, 1);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn no_mentions_empty_the_table() {
    let cloud = Cloud::new(Spotify::showing(1, 9).await).await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    cloud.publish(&json!({"table": "mentions"})).await;
    cloud.until_filled(&shown(&cloud)[2..]).await;
    let mut config = cloud.world.config();
    config.mention_phrases = Phrases::parse("ninguém").unwrap();
    let other = crate::support::App::start(config).await;
    let told = other.push(&crate::support::table("mentions")).await;
    assert_eq!(told.told(), (204, "loaded"));
    assert_eq!(cloud.rows(MENTIONS).await, Some(Vec::new()));
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn each_load_is_told_and_a_redelivery_tells_it_again() {
    let mut cloud = Cloud::new(Spotify::showing(3, 9).await).await;
    cloud.create_topic("loaded").await;
    cloud.subscribe("ears", &json!({"topic": cloud.topic("loaded")})).await;
    cloud.world = cloud.world.set("LOADED_TOPIC", "loaded");
    let app = cloud.world.app().await;
    let (url, _) = losing_answers(&app.url, 1).await;
    cloud.push_to(&url).await;
    let id = cloud.publish(&json!({"table": "episodes"})).await;
    let events = cloud.take("ears", 2).await;
    let events: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    for event in &events {
        assert_eq!((&event["table"], &event["messageId"]), (&json!(EPISODES), &json!(id)));
        assert_eq!(event["jobId"], events[0]["jobId"]);
    }
    assert_eq!(cloud.load_jobs().await, 1);
}
