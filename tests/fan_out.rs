//! A fan-out: one publish request with one message for each table and term, each of which replaces its
//! table.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::binary::output;
use crate::support::spotify::Spotify;
use crate::support::{MENTIONS, Push, World, message};

fn read(data: &[u8]) -> Value {
    serde_json::from_slice(data).unwrap()
}

async fn world() -> World {
    World::new(Spotify::showing(2, 9).await).await
}

#[tokio::test]
async fn a_term_alone_fans_out_to_its_three_tables_in_order() {
    let world = world().await;
    let app = world.app().await;
    let answer = app.push(&message(&json!({"search_term": "data hackers"}))).await;
    assert_eq!(answer.result(), (204, "fanned_out"));
    let published = world.pubsub.published("trigger");
    let orders: Vec<Value> = published.iter().map(|message| read(&message.data)).collect();
    assert_eq!(
        orders,
        ["podcasts", "episodes", "mentions"]
            .map(|table| json!({"table": table, "search_term": "data hackers"}))
    );
    assert!(published.iter().all(|message| message.attributes.is_empty()));
    assert!(world.bigquery.stub.calls().is_empty() && world.spotify.stub.calls().is_empty());
}

#[tokio::test]
async fn the_published_messages_fill_the_tables() {
    let world = world().await;
    let app = world.app().await;
    let show = &world.spotify.catalog.shows[0]["id"];
    app.push(&message(&json!({"search_term": "a", "show_id": show}))).await;
    app.push(&message(&json!({"table": "mentions", "search_term": ["b", "data hackers"]}))).await;
    for published in world.pubsub.published("trigger") {
        let push = Push {
            data: String::from_utf8(published.data).unwrap(),
            id: published.id,
            ..message(&Value::Null)
        };
        assert_eq!(app.push(&push).await.result(), (204, "loaded"), "{push:?}");
    }
    let state = world.bigquery.state.lock().unwrap();
    let filled: BTreeSet<&str> = state.tables.keys().map(String::as_str).collect();
    let expected = ["podcasts_a", "episodes_a", "mentions_a", "mentions_b", MENTIONS];
    assert_eq!(filled, BTreeSet::from(expected));
}

#[tokio::test]
async fn max_missing_percent_is_kept_in_each_message() {
    let world = world().await;
    let app = world.app().await;
    let attributes = json!({"search_term": "x", "max_missing_percent": "15"});
    let push = Push { attributes, data: String::new(), ..message(&Value::Null) };
    assert_eq!(app.push(&push).await.result(), (204, "fanned_out"));
    app.push(&message(
        &json!({"table": "mentions", "search_term": ["y", "z"], "max_missing_percent": 0}),
    ))
    .await;
    let percents: Vec<Value> = world
        .pubsub
        .published("trigger")
        .iter()
        .map(|message| read(&message.data)["max_missing_percent"].clone())
        .collect();
    assert_eq!(percents, [15, 15, 15, 0, 0]);
}

#[tokio::test]
async fn the_command_publishes_max_missing_percent() {
    let world = world().await;
    let app = world.app().await;
    let publish = async |percent: &str| {
        let flags = ["publish", "--table", "episodes", "--url", &app.url];
        output(&[&flags[..], &["--max-missing-percent", percent]].concat(), &world.settings).await
    };
    let printed = publish("7").await;
    assert!(
        printed.contains(r#"204 loaded {"table":"episodes","max_missing_percent":7}"#),
        "{printed}"
    );
    let printed = publish("101").await;
    assert!(printed.contains("101 is not in 0..=100"), "{printed}");
}

#[tokio::test]
async fn three_hundred_terms_are_nine_hundred_messages_in_one_publish() {
    let world = world().await;
    let app = world.app().await;
    let terms: Vec<String> = (0..300).map(|n| format!("{n:03} {}", "é".repeat(96))).collect();
    let answer = app.push(&message(&json!({ "search_term": terms }))).await;
    assert_eq!(answer.result(), (204, "fanned_out"));
    assert_eq!(*world.pubsub.publishes.lock().unwrap(), [900]);
    let published = world.pubsub.published("trigger");
    let distinct: BTreeSet<Vec<u8>> = published.into_iter().map(|message| message.data).collect();
    assert_eq!(distinct.len(), 900);
}

#[tokio::test]
async fn a_duplicate_term_is_published_once() {
    let world = world().await;
    let app = world.app().await;
    app.push(&message(&json!({"table": "podcasts", "search_term": ["Café", "cafe", "x"]}))).await;
    assert_eq!(*world.pubsub.publishes.lock().unwrap(), [2]);
}

#[tokio::test]
async fn a_fan_out_that_cannot_be_published_is_retried() {
    for code in [tonic::Code::Unavailable, tonic::Code::NotFound, tonic::Code::PermissionDenied] {
        let world = world().await;
        let app = world.app().await;
        world.pubsub.on(move |_| Some(code));
        let push = message(&json!({"search_term": "x"}));
        let answer = app.push(&push).await;
        assert_eq!(answer.result(), (503, "retry publish_failed"));
        assert!(answer.detail().contains("projects/p1/topics/trigger"), "{}", answer.detail());
        world.pubsub.on(|_| None);
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "fanned_out"));
        assert_eq!(world.pubsub.published("trigger").len(), 3);
    }
}

#[tokio::test]
async fn without_a_trigger_topic_it_is_retried() {
    let world = world().await.set("TRIGGER_TOPIC", "");
    let answer = world.app().await.push(&message(&json!({"search_term": "x"}))).await;
    assert_eq!(answer.result(), (503, "retry no_trigger_topic"));
    assert!(answer.body["advice"].as_str().unwrap().contains("TRIGGER_TOPIC"));
}
