//! What has the table's name in BigQuery: nothing, a table of ours, or something that is left alone.

use serde_json::{Value, json};

use crate::support::bigquery::{Table, error_body};
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::{Act, answer};
use crate::support::{App, EPISODES, World, table};

async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let app = world.app().await;
    (world, app)
}

fn our_schema() -> Value {
    let fields: Value =
        serde_json::from_str(include_str!("../terraform/schemas/episodes.json")).unwrap();
    json!({ "fields": fields })
}

/// Our schema, one column changed.
fn schema_with(column: &str, change: Value) -> Value {
    let mut schema = our_schema();
    let fields = schema["fields"].as_array_mut().unwrap();
    let field = fields.iter_mut().find(|field| field["name"] == column).unwrap();
    field.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    schema
}

fn put(world: &World, table: Table) {
    let theirs = Table { rows: vec![json!({"id": "theirs"})], ..table };
    world.bigquery.state.lock().unwrap().tables.insert(EPISODES.to_owned(), theirs);
}

/// The message is retried, for this reason and with these words, and nothing was touched; when the
/// table is out of the way, its redelivery loads.
async fn is_left_alone(theirs: Table, reason: &str, words: &[&str]) {
    let (world, app) = ready().await;
    put(&world, theirs);
    let push = table("episodes");
    let told = app.push(&push).await;
    assert_eq!((told.status, told.outcome.as_str()), (503, format!("retry {reason}").as_str()));
    for words in words {
        assert!(told.detail().contains(words), "{} lacks {words}", told.detail());
    }
    assert!(world.bigquery.accepted().is_empty(), "a load was tried");
    assert!(world.pubsub.published("letters").is_empty());
    assert_eq!(world.bigquery.rows(EPISODES), [json!({"id": "theirs"})]);
    world.bigquery.state.lock().unwrap().tables.remove(EPISODES);
    assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn columns_of_another_name_type_or_mode_are_left_alone() {
    for (column, change, words) in [
        ("id", json!({"mode": "REQUIRED"}), "id is REQUIRED, expected NULLABLE"),
        ("name", json!({"mode": "REPEATED"}), "name is REPEATED, expected NULLABLE"),
        ("release_date", json!({"type": "RANGE"}), "release_date is RANGE, expected DATE"),
        ("language", json!({"type": "FOREIGN"}), "language is FOREIGN, expected STRING"),
        ("type", json!({"type": "UNHEARD_OF"}), "type is UNHEARD_OF, expected STRING"),
        ("name", json!({"maxLength": "20"}), "name is STRING(20), expected STRING"),
        ("explicit", json!({"name": "explícito"}), "unexpected column explícito BOOLEAN"),
    ] {
        let schema = schema_with(column, change);
        is_left_alone(Table { schema, ..Table::default() }, "foreign_columns", &[words]).await;
    }
}

#[tokio::test]
async fn what_is_no_table_is_left_alone_whatever_its_columns() {
    for kind in ["VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT", "UNHEARD_OF"] {
        let theirs = Table { r#type: Some(kind), schema: our_schema(), ..Table::default() };
        is_left_alone(theirs, "not_a_table", &[EPISODES, kind]).await;
    }
}

#[tokio::test]
async fn a_table_without_a_schema_is_ours_to_fill() {
    for schema in [Value::Null, json!({}), json!({"fields": []})] {
        let (world, app) = ready().await;
        let empty = Table { schema, ..Table::default() };
        world.bigquery.state.lock().unwrap().tables.insert(EPISODES.to_owned(), empty);
        assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
        assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    }
}

#[tokio::test]
async fn a_table_that_was_dropped_is_created_with_its_description_again() {
    let (world, app) = ready().await;
    for _ in 0..2 {
        assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
        let state = &mut world.bigquery.state.lock().unwrap();
        assert!(state.tables.remove(EPISODES).unwrap().description.is_string());
    }
}

#[tokio::test]
async fn the_table_is_looked_at_once_for_each_message_and_beside_spotify() {
    let (world, app) = ready().await;
    app.push(&table("episodes")).await;
    let before = world.bigquery.stub.calls().len();
    app.push(&table("episodes")).await;
    let calls = world.bigquery.stub.calls().split_off(before);
    let paths: Vec<&str> = calls.iter().map(|call| call.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(paths, [EPISODES, "jobs"], "a look and a load");
    // The look is over before Spotify has answered.
    let held = tokio_util::sync::CancellationToken::new();
    let until = held.clone();
    world.spotify.stub.always("/episodes", move || Act::Held(until.clone()));
    let looks = || world.bigquery.stub.calls_to("GET", "/tables/").len();
    let before = looks();
    let push = table("episodes");
    let (told, ()) = futures_util::future::join(app.push(&push), async {
        while looks() == before {
            tokio::task::yield_now().await;
        }
        held.cancel();
    })
    .await;
    assert_eq!(told.told(), (204, "loaded"));
}

#[tokio::test]
async fn refusals_of_the_table_are_no_fault_of_the_rows() {
    for (words, advice) in [
        ("Provided Schema does not match Table p1:x. Field id has changed mode", "copy it"),
        ("Incompatible table partitioning specification. Expected none", "copy it"),
        ("Cloud KMS key projects/p1/cryptoKeys/k is disabled", "Cloud KMS"),
        ("Billing has not been enabled for this project", "billing account"),
        ("Write disposition is not supported for this table", "copy it"),
    ] {
        let (world, app) = ready().await;
        put(&world, Table { refuses: Some(words), schema: our_schema(), ..Table::default() });
        let push = table("episodes");
        let told = app.push(&push).await;
        assert_eq!(told.told(), (503, "retry load_refused"), "{words}");
        assert!(told.detail().contains(words), "{}", told.detail());
        assert!(told.body["advice"].as_str().unwrap().contains(advice), "{}", told.body["advice"]);
        assert!(world.pubsub.published("letters").is_empty());
        assert_eq!(world.bigquery.rows(EPISODES), [json!({"id": "theirs"})]);
        put(&world, Table { schema: our_schema(), ..Table::default() });
        assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"));
    }
}

#[tokio::test]
async fn a_dataset_that_moved_is_found_again() {
    let (world, app) = ready().await;
    assert_eq!(app.push(&table("podcasts")).await.told(), (204, "loaded"));
    let words = "Not found: Dataset p1:spotify_podcasts was not found in location US";
    world.bigquery.stub.next(1, "/upload/", || {
        let words = "Not found: Dataset p1:spotify_podcasts was not found in location US";
        answer(404, &error_body(404, "notFound", words))
    });
    let asked = || {
        let calls = world.bigquery.stub.calls_to("GET", "/datasets/spotify_podcasts");
        calls.iter().filter(|call| call.path.ends_with("/spotify_podcasts")).count()
    };
    let push = table("episodes");
    let told = app.push(&push).await;
    assert_eq!(told.told(), (503, "retry dataset_missing"));
    assert!(told.detail().contains(words), "{}", told.detail());
    assert_eq!(asked(), 1);
    assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"));
    assert_eq!(asked(), 2, "the location is asked for again");
}

#[tokio::test]
async fn a_dataset_that_was_deleted_is_told_by_the_look() {
    let (world, app) = ready().await;
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
    world.bigquery.state.lock().unwrap().dataset = false;
    let posts = || world.bigquery.stub.calls_to("POST", "/").len();
    let before = posts();
    let told = app.push(&table("podcasts")).await;
    assert_eq!(told.told(), (503, "retry dataset_missing"));
    assert!(told.detail().contains("Not found: Dataset p1:spotify_podcasts"), "{}", told.detail());
    assert_eq!(posts(), before, "no table and no job is created");
}
