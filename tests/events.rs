//! The event after a load: published before the message is answered, and again by a redelivery, but never
//! without a load.

use std::path::PathBuf;

use serde_json::{Value, json};
use tonic::Code;

use crate::support::bigquery::Fate;
use crate::support::log::Log;
use crate::support::pubsub::Published;
use crate::support::spotify::Spotify;
use crate::support::wire::answer;
use crate::support::{EPISODES, MENTIONS, PODCASTS, Push, World, message, table};

async fn world() -> World {
    World::new(Spotify::showing(3, 9).await).await.set("LOADED_TOPIC", "loaded")
}

fn events(world: &World) -> Vec<Published> {
    world.pubsub.published("loaded")
}

fn data(event: &Published) -> Value {
    serde_json::from_slice(&event.data).unwrap()
}

fn failing(reason: &'static str) -> Fate {
    Fate { fails: Some(reason), polls: 0 }
}

/// Makes publishing events fail this many times, with an error that the service does not retry itself.
fn refuse_events(world: &World, mut times: u32) {
    world.pubsub.on(move |topic| {
        let refused = topic.ends_with("/loaded") && times > 0;
        times -= u32::from(refused);
        refused.then_some(Code::NotFound)
    });
}

#[tokio::test]
async fn each_load_publishes_an_event_before_the_response() {
    let world = world().await;
    let app = world.app().await;
    for (kind, name, rows) in [("podcasts", PODCASTS, 3), ("episodes", EPISODES, 9)] {
        let push = table(kind);
        let log = Log::start();
        assert_eq!(app.push(&push).await.result(), (204, "loaded"));
        let event = events(&world).pop().unwrap();
        let attributes = [("kind", kind), ("table", name)];
        assert_eq!(event.attributes, attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let line = log.outcome(&push.id);
        let show = &world.spotify.catalog.shows[0];
        let of_show = |value: &Value| if kind == "podcasts" { Value::Null } else { value.clone() };
        let expected = json!({
            "table": name, "kind": kind, "term": "data hackers", "showId": of_show(&show["id"]),
            "show": of_show(&show["name"]), "rows": rows, "jobId": world.bigquery.accepted().last(),
            "messageId": push.id, "readAt": line["read_at"], "sharedReading": false,
            "loadedAt": "2025-11-25T09:02:00Z",
        });
        assert_eq!(data(&event), expected);
    }
    // `mentions` uses the reading of `episodes`.
    app.push(&table("mentions")).await;
    assert_eq!(data(events(&world).last().unwrap())["sharedReading"], true);
    assert_eq!(events(&world).len(), 3);
}

#[tokio::test]
async fn without_a_topic_nothing_is_published() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    assert_eq!(world.app().await.push(&table("episodes")).await.result(), (204, "loaded"));
    assert!(world.pubsub.publishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_next_delivery_publishes_an_event_that_failed() {
    for attempt in [Some(2), Some(1), None] {
        let world = world().await;
        let app = world.app().await;
        refuse_events(&world, 1);
        let push = table("mentions");
        let log = Log::start();
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry event_not_published"));
        for words in ["is loaded (job spotify-bq_mentions_", "topics/loaded", "NotFound"] {
            assert!(response.detail().contains(words), "{}", response.detail());
        }
        let line = log.outcome(&push.id);
        assert_eq!(line["job_id"], world.bigquery.accepted()[0]);
        assert!(events(&world).is_empty());

        // Another process knows only the job.
        let again = Push { attempt, ..push.clone() };
        assert_eq!(world.app().await.push(&again).await.result(), (204, "already_loaded"));
        let [event] = &events(&world)[..] else { panic!("one event") };
        let show = &world.spotify.catalog.shows[0];
        let event = data(event);
        assert_eq!(event["readAt"].as_str().unwrap().len(), "2026-11-25T09:00:00Z".len());
        let expected = json!({
            "table": MENTIONS,
            "kind": "mentions", "term": "data hackers", "showId": show["id"], "show": null,
            "rows": 3, "jobId": world.bigquery.accepted()[0], "messageId": push.id,
            "readAt": event["readAt"], "sharedReading": false, "loadedAt": "2025-11-25T09:02:00Z",
        });
        assert_eq!(event, expected);
        assert_eq!(world.bigquery.accepted().len(), 1);
    }
}

#[tokio::test]
async fn a_repeated_event_differs_only_in_the_shows_name() {
    let world = world().await;
    let app = world.app().await;
    app.push(&table("episodes")).await;
    // Only the job's labels tell a later delivery that the reading was shared.
    let push = table("mentions");
    app.push(&push).await;
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "already_loaded"));
    let [.., first, second] = &events(&world)[..] else { panic!("three events") };
    let mut expected = data(first);
    assert_eq!(expected["sharedReading"], true);
    expected["show"] = Value::Null;
    assert_eq!((data(second), &second.attributes), (expected, &first.attributes));
}

#[tokio::test]
async fn both_events_have_the_show_id_of_the_message() {
    let world = world().await;
    let app = world.app().await;
    let id = &world.spotify.catalog.shows[0]["id"];
    let push = message(&json!({"table": "episodes", "search_term": "Café", "show_id": id}));
    app.push(&push).await;
    app.push(&push.again(2)).await;
    let events = events(&world);
    assert_eq!((data(&events[0]), events.len()), (data(&events[1]), 2));
    let event = data(&events[0]);
    assert_eq!((&event["showId"], &event["show"]), (id, &Value::Null));
    assert_eq!((&event["table"], &event["term"]), (&json!("episodes_cafe"), &json!("Café")));
}

#[tokio::test]
async fn a_short_outage_of_pubsub_is_retried() {
    let world = world().await;
    let app = world.app().await;
    let mut times = 3;
    world.pubsub.on(move |_| {
        times -= i32::from(times > 0);
        (times > 0).then_some(Code::Unavailable)
    });
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(events(&world).len(), 1);
}

#[tokio::test]
async fn no_event_is_published_without_a_load() {
    let world = world().await;
    let app = world.app().await;
    world.spotify.stub.always("/v1/", || answer(403, "Forbidden"));
    assert_eq!(app.push(&table("episodes")).await.status, 503);
    world.spotify.stub.heal();
    for (reason, outcome) in [
        ("quotaExceeded", "retry warehouse_unavailable"),
        ("backendError", "retry warehouse_unavailable"),
        ("accessDenied", "retry warehouse_denied"),
        ("invalid: Error while reading data, error message: JSON", "dead_lettered invalid_rows"),
    ] {
        world.bigquery.fate(move |_| failing(reason));
        assert_eq!(app.push(&table("episodes")).await.outcome, outcome, "{reason}");
        assert!(events(&world).is_empty(), "{reason}");
    }
    let nonsense = message(&json!({"table": "nonsense"}));
    assert_eq!(app.push(&nonsense).await.result(), (204, "dead_lettered refused"));
    let fan_out = message(&json!({"search_term": "x"}));
    assert_eq!(app.push(&fan_out).await.result(), (204, "fanned_out"));
    assert!(events(&world).is_empty());
    // The job that replaces the table after a failed one has one event.
    let mut fails = true;
    world.bigquery.fate(move |_| {
        if std::mem::take(&mut fails) { failing("backendError") } else { Fate::default() }
    });
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    let [event] = &events(&world)[..] else { panic!("one event") };
    assert_eq!(&data(event)["jobId"], world.bigquery.accepted().last().unwrap());
}

#[tokio::test]
async fn a_load_into_sqlite_publishes_an_event() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("events.sqlite");
    let _ = std::fs::remove_file(&file);
    let world = world().await.set("WAREHOUSE", &format!("sqlite:{}", file.display()));
    let app = world.app().await;
    refuse_events(&world, 1);
    let refused = table("episodes");
    assert_eq!(app.push(&refused).await.result(), (503, "retry event_not_published"));
    assert_eq!(app.push(&refused.again(2)).await.result(), (204, "already_loaded"));
    let push = table("mentions");
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "already_loaded"));
    let [late, first, second] = &events(&world)[..] else { panic!("three events") };
    let mut expected = data(first);
    assert_eq!((&expected["rows"], &expected["sharedReading"]), (&json!(3), &json!(true)));
    assert_eq!(expected["show"], world.spotify.catalog.shows[0]["name"]);
    expected["show"] = Value::Null;
    assert_eq!(data(second), expected);
    let late = data(late);
    assert_eq!((&late["rows"], &late["messageId"]), (&json!(9), &json!(refused.id)));
    assert_eq!(late["showId"], world.spotify.catalog.shows[0]["id"]);
}

#[tokio::test]
async fn the_page_shows_an_event_with_its_keys() {
    let world = world().await;
    world.app().await.push(&table("episodes")).await;
    let page = crate::documents::read("docs/tables.md");
    let section = page.split("## Get an event after each load").nth(1).unwrap();
    let shown = section.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let keys =
        |event: &Value| -> Vec<String> { event.as_object().unwrap().keys().cloned().collect() };
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(keys(&shown), keys(&data(&events(&world)[0])));
}
