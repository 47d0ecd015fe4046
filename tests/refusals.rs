//! Messages that can never succeed are dead-lettered: their data unchanged, the reason in attributes. None
//! of them reaches Spotify or BigQuery.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::pubsub::Published;
use crate::support::spotify::Spotify;
use crate::support::{Push, World, message};

async fn world() -> World {
    World::new(Spotify::showing(1, 1).await).await
}

/// A message with this text as its data.
fn text(data: &str) -> Push {
    Push { data: data.to_owned(), ..message(&Value::Null) }
}

/// A message of attributes only.
fn attributes(attributes: Value) -> Push {
    Push { attributes, ..text("") }
}

/// Checks that the message's dead letter has its data and attributes, and returns its detail.
fn detail_of(push: &Push, reason: &str, letters: &[Published]) -> String {
    let letter = letters.iter().find(|letter| letter.attributes["message_id"] == push.id);
    let Published { data, attributes, .. } = letter.expect("a dead letter");
    assert_eq!(String::from_utf8_lossy(data), push.data);
    let mut own: BTreeMap<String, Value> = serde_json::from_value(push.attributes.clone()).unwrap();
    for (key, value) in [("reason", reason), ("publish_time", &*push.publish_time)] {
        own.insert(key.to_owned(), json!(value));
    }
    for (key, value) in own {
        assert_eq!(json!(attributes[&key]), value, "{key}");
    }
    attributes["detail"].clone()
}

#[tokio::test]
async fn each_refusal_names_the_key_and_what_is_allowed() {
    let show = "1oMIHOXsrLFENAeM743g93";
    let long = json!({"table": "podcasts", "search_term": "á".repeat(101)});
    let many = json!({ "search_term": vec!["x"; 301] });
    let refusals = [
        (text("not json"), "bad_json", "message.data is not JSON"),
        (text(r#"{"table":"podcasts"} "#.trim_end().trim_end_matches('}')), "bad_json", "EOF"),
        (text("[]"), "refused", "not a JSON object"),
        (text(r#""podcasts""#), "refused", "not a JSON object"),
        (text("null"), "refused", "not a JSON object"),
        (message(&json!({})), "refused", "neither `table` nor `search_term`"),
        (message(&json!({"table": "x"})), "refused", "podcasts, tabela_5, tb_datahackers_limitada"),
        (message(&json!({"table": 5})), "refused", "`table` is a number"),
        (message(&json!({"table": ["podcasts"]})), "refused", "`table` is a list"),
        (
            message(&json!({"tables": "podcasts"})),
            "refused",
            "unknown field `tables`, expected one of `table`, `search_term`, `show_id`",
        ),
        (text(r#"{"table":"podcasts","table":"episodes"}"#), "refused", "duplicate field `table`"),
        (message(&json!({"table": "podcasts", "search_term": 7})), "refused", "a number"),
        (message(&json!({"search_term": [["x"]]})), "refused", "contains a list"),
        (message(&json!({"search_term": " "})), "refused", "at least one visible character"),
        (message(&json!({"search_term": "a\nb"})), "refused", "no control character"),
        (message(&json!({"search_term": "*"})), "refused", "at least one letter or digit"),
        (
            message(&json!({"search_term": ["a", "🎧 …"]})),
            "refused",
            "at least one letter or digit",
        ),
        (
            message(&json!({"table": "episodes", "max_missing_percent": "5"})),
            "refused",
            "`max_missing_percent` is \"5\", expected a whole number from 0 to 100",
        ),
        (message(&json!({"max_missing_percent": 5})), "refused", "neither `table` nor"),
        (
            attributes(json!({"table": "podcasts", "max_missing_percent": "101"})),
            "refused",
            "`max_missing_percent` is 101,",
        ),
        (message(&long), "refused", "at most 100 characters, but this one has 101"),
        (message(&json!({"search_term": []})), "refused", "expected 1 to 300 terms"),
        (message(&many), "refused", "a list of 301, expected 1 to 300 terms"),
        (message(&json!({"show_id": show})), "refused", "neither `table` nor `search_term`"),
        (
            message(&json!({"table": "episodes", "show_id": show})),
            "refused",
            "requires exactly one `search_term`",
        ),
        (
            message(&json!({"search_term": ["a", "b"], "show_id": show})),
            "refused",
            "`show_id` requires exactly one `search_term`",
        ),
        (
            message(&json!({"table": "podcasts", "search_term": "a", "show_id": show})),
            "refused",
            "`show_id` can't be used with the table `podcasts`",
        ),
        (
            message(&json!({"table": "episodes", "search_term": "a", "show_id": "../me"})),
            "refused",
            "22 letters and digits",
        ),
        (attributes(json!({})), "refused", "neither `table` nor `search_term`"),
        (
            attributes(json!({"Table": "podcasts"})),
            "refused",
            "unknown attribute `Table`, expected one of `table`, `search_term`, `show_id`",
        ),
        (attributes(json!({"table": "podcast", "origin": "x"})), "refused", "`origin`"),
        (
            attributes(json!({"googclient_schemarevisionid": "1"})),
            "refused",
            "neither `table` nor `search_term`",
        ),
    ];
    let world = world().await;
    let app = world.app().await;
    for (push, reason, says) in refusals {
        let answer = app.push(&push).await;
        let dead = format!("dead_lettered {reason}");
        assert_eq!(answer.result(), (204, dead.as_str()), "{}", push.data);
        let detail = detail_of(&push, reason, &world.pubsub.published("letters"));
        assert!(detail.contains(says), "{}: {detail}", push.data);
        assert!(detail.contains("What to do: correct the message"), "{detail}");
    }
    assert!(world.spotify.stub.calls().is_empty() && world.bigquery.stub.calls().is_empty());
}

#[tokio::test]
async fn data_that_is_not_base64_is_dead_lettered() {
    let world = world().await;
    let app = world.app().await;
    let mut envelope = message(&json!({})).envelope();
    envelope["message"]["data"] = json!("{\"table\":\"podcasts\"}");
    let answer = app.post(envelope.to_string()).await.unwrap();
    assert_eq!(answer.result(), (204, "dead_lettered bad_base64"));
    assert_eq!(world.pubsub.published("letters")[0].data, br#"{"table":"podcasts"}"#);
}

#[tokio::test]
async fn data_that_is_not_text_is_dead_lettered_unchanged() {
    let world = world().await;
    let app = world.app().await;
    let mut envelope = message(&json!({})).envelope();
    envelope["message"]["data"] = json!(STANDARD.encode([0xff, 0x00, b'{']));
    let answer = app.post(envelope.to_string()).await.unwrap();
    assert_eq!(answer.result(), (204, "dead_lettered bad_json"));
    assert_eq!(world.pubsub.published("letters")[0].data, [0xff, 0x00, b'{']);
}

#[tokio::test]
async fn a_dead_letter_keeps_the_messages_attributes_except_the_services_own() {
    let world = world().await;
    let app = world.app().await;
    let own = json!({"origin": "scheduler", "reason": "mine", "long": "é".repeat(600)});
    let push = Push { attributes: own, ..message(&json!({"tabel": "x"})) };
    app.push(&push).await;
    let letter = &world.pubsub.published("letters")[0];
    assert_eq!(letter.attributes["origin"], "scheduler");
    assert_eq!(letter.attributes["reason"], "refused");
    assert_eq!(letter.attributes["long"], "é".repeat(512));
}

#[tokio::test]
async fn without_a_dead_letter_topic_the_message_is_answered_400() {
    let world = world().await.set("DEAD_LETTER_TOPIC", "");
    let app = world.app().await;
    let answer = app.push(&message(&json!({"table": "x"}))).await;
    assert_eq!(answer.result(), (400, "refused refused"));
    assert_eq!(answer.body["reason"], "refused");
    assert!(answer.detail().contains("`table` is \"x\""));
    assert!(answer.body["advice"].as_str().is_some_and(|advice| advice.contains("correct")));
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_published_is_published_by_the_next_delivery() {
    for code in [tonic::Code::PermissionDenied, tonic::Code::NotFound, tonic::Code::Unavailable] {
        let world = world().await;
        let app = world.app().await;
        world.pubsub.on(move |_| Some(code));
        let push = message(&json!({"table": "x"}));
        assert_eq!(app.push(&push).await.result(), (400, "refused refused"), "{code:?}");
        assert!(world.pubsub.published("letters").is_empty());
        world.pubsub.on(|_| None);
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "dead_lettered refused"));
        assert_eq!(world.pubsub.published("letters").len(), 1);
    }
}

#[tokio::test]
async fn a_transient_publish_failure_is_retried() {
    let world = world().await;
    let app = world.app().await;
    let mut failures = 3;
    world.pubsub.on(move |_| {
        failures -= 1;
        (failures > 0).then_some(tonic::Code::Unavailable)
    });
    let answer = app.push(&message(&json!({"table": "x"}))).await;
    assert_eq!(answer.result(), (204, "dead_lettered refused"));
    assert_eq!(world.pubsub.published("letters").len(), 1);
}

#[tokio::test]
async fn a_request_that_is_not_a_push_is_answered_400_and_not_dead_lettered() {
    let world = world().await;
    let app = world.app().await;
    for body in ["", "{}", "[]", r#"{"table":"podcasts"}"#, r#"{"message":{"data":"e30="}}"#] {
        assert_eq!(app.post(body).await.unwrap().result(), (400, "refused no_envelope"), "{body}");
    }
    assert!(world.pubsub.published("letters").is_empty());
}

#[tokio::test]
async fn a_message_may_be_in_attributes_and_old_names_work() {
    let world = world().await;
    let app = world.app().await;
    for (push, kind) in [
        (attributes(json!({"table": "episodes", "googclient_x": "1"})), "episodes"),
        (attributes(json!({"table": "tabela_5"})), "podcasts"),
        (message(&json!({"table": "tabela_7"})), "mentions"),
        (message(&json!({"table": "tb_datahackers_episodios_total"})), "episodes"),
    ] {
        assert_eq!(app.push(&push).await.result(), (204, "loaded"), "{push:?}");
        let accepted = world.bigquery.accepted();
        assert!(accepted.last().unwrap().starts_with(&format!("spotify-bq_{kind}_")));
    }
}
