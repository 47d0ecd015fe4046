//! A table that exists: it is loaded if it has the expected columns, and otherwise left unchanged.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::bigquery::{Table, error_body, schema};
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::{Act, answer};
use crate::support::{App, EPISODES, World, table, until};

async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let app = world.app().await;
    (world, app)
}

/// Returns the schema of episodes with one column changed.
fn schema_with(column: &str, change: Value) -> Value {
    let mut schema = schema("episodes");
    let fields = schema["fields"].as_array_mut().unwrap();
    let field = fields.iter_mut().find(|field| field["name"] == column).unwrap();
    field.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    schema
}

fn put(world: &World, table: Table) {
    let table = Table { rows: vec![json!({"id": "existing"})], ..table };
    world.bigquery.state.lock().unwrap().tables.insert(EPISODES.to_owned(), table);
}

/// Checks that a table makes the message a retry with this reason and detail, and is unchanged, and that the
/// next delivery loads after the table was deleted.
async fn check_is_unchanged(existing: Table, reason: &str, words: &[&str]) {
    let (world, app) = ready().await;
    put(&world, existing);
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(
        (response.status, response.outcome.as_str()),
        (503, format!("retry {reason}").as_str())
    );
    for words in words {
        assert!(response.detail().contains(words), "{} lacks {words}", response.detail());
    }
    assert!(world.bigquery.accepted().is_empty(), "there is no load job");
    assert!(world.pubsub.published("letters").is_empty());
    assert_eq!(world.bigquery.rows(EPISODES), [json!({"id": "existing"})]);
    world.bigquery.state.lock().unwrap().tables.remove(EPISODES);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn a_table_with_a_different_column_is_unchanged() {
    for (column, change, words) in [
        ("id", json!({"mode": "REQUIRED"}), "id is REQUIRED, expected NULLABLE"),
        ("name", json!({"mode": "REPEATED"}), "name is REPEATED, expected NULLABLE"),
        ("release_date", json!({"type": "RANGE"}), "release_date is RANGE, expected DATE"),
        ("language", json!({"type": "FOREIGN"}), "language is FOREIGN, expected STRING"),
        ("type", json!({"type": "NEW_IN_BIGQUERY"}), "type is NEW_IN_BIGQUERY, expected STRING"),
        ("name", json!({"maxLength": "20"}), "name is STRING(20), expected STRING"),
        ("explicit", json!({"name": "explícito"}), "unexpected column explícito BOOLEAN"),
    ] {
        let schema = schema_with(column, change);
        check_is_unchanged(Table { schema, ..Table::default() }, "foreign_columns", &[words]).await;
    }
}

#[tokio::test]
async fn a_view_or_another_type_of_table_is_unchanged_even_with_the_expected_columns() {
    for kind in ["VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT", "NEW_IN_BIGQUERY"] {
        let existing = Table { r#type: Some(kind), schema: schema("episodes"), ..Table::default() };
        check_is_unchanged(existing, "not_a_table", &[EPISODES, kind]).await;
    }
}

#[tokio::test]
async fn a_table_without_a_schema_is_loaded() {
    for schema in [Value::Null, json!({}), json!({"fields": []})] {
        let (world, app) = ready().await;
        let empty = Table { schema, ..Table::default() };
        world.bigquery.state.lock().unwrap().tables.insert(EPISODES.to_owned(), empty);
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
        assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    }
}

#[tokio::test]
async fn a_dropped_table_is_created_again_with_its_description() {
    let (world, app) = ready().await;
    for _ in 0..2 {
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
        let state = &mut world.bigquery.state.lock().unwrap();
        assert!(state.tables.remove(EPISODES).unwrap().description.is_string());
    }
}

#[tokio::test]
async fn the_table_is_checked_once_for_each_message_and_concurrently_with_spotify() {
    let (world, app) = ready().await;
    app.push(&table("episodes")).await;
    let before = world.bigquery.stub.calls().len();
    app.push(&table("episodes")).await;
    let calls = world.bigquery.stub.calls().split_off(before);
    let paths: Vec<&str> = calls.iter().map(|call| call.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(paths, [EPISODES, "jobs"], "a check and a load");
    // The check ends before Spotify responds.
    let held = world.spotify.stub.hold("/episodes");
    let checks = || world.bigquery.stub.calls_to("GET", "/tables/").len();
    let before = checks();
    let push = table("episodes");
    let (response, ()) = futures_util::future::join(app.push(&push), async {
        until(|| checks() > before).await;
        held.cancel();
    })
    .await;
    assert_eq!(response.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_load_that_fails_because_of_the_table_is_retried() {
    for (words, advice) in [
        ("Provided Schema does not match Table p1:x. Field id has changed mode", "copy it"),
        ("Incompatible table partitioning specification. Expected none", "copy it"),
        ("Cloud KMS key projects/p1/cryptoKeys/k is disabled", "Cloud KMS"),
        ("Billing has not been enabled for this project", "billing account"),
        ("Write disposition is not supported for this table", "copy it"),
    ] {
        let (world, app) = ready().await;
        put(&world, Table { refuses: Some(words), schema: schema("episodes"), ..Table::default() });
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry load_refused"), "{words}");
        assert!(response.detail().contains(words), "{}", response.detail());
        assert!(
            response.body["advice"].as_str().unwrap().contains(advice),
            "{}",
            response.body["advice"]
        );
        assert!(world.pubsub.published("letters").is_empty());
        assert_eq!(world.bigquery.rows(EPISODES), [json!({"id": "existing"})]);
        put(&world, Table { schema: schema("episodes"), ..Table::default() });
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}

#[tokio::test]
async fn a_dataset_that_moved_is_found_again() {
    let (world, app) = ready().await;
    assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
    let words = "Not found: Dataset p1:spotify_podcasts was not found in location US";
    world.bigquery.stub.next(1, "/upload/", || {
        let words = "Not found: Dataset p1:spotify_podcasts was not found in location US";
        answer(404, &error_body(404, "notFound", words))
    });
    let lookups = || {
        let calls = world.bigquery.stub.calls_to("GET", "/datasets/spotify_podcasts");
        calls.iter().filter(|call| call.path.ends_with("/spotify_podcasts")).count()
    };
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry dataset_missing"));
    assert!(response.detail().contains(words), "{}", response.detail());
    assert_eq!(lookups(), 1);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(lookups(), 2, "the location is looked up again");
}

#[tokio::test]
async fn concurrent_messages_share_a_failed_lookup_of_the_location() {
    let (world, app) = ready().await;
    let lookups = || {
        let calls = world.bigquery.stub.calls_to("GET", "/datasets/spotify_podcasts");
        calls.iter().filter(|call| call.path.ends_with("/spotify_podcasts")).count()
    };
    let failed = CancellationToken::new();
    let held = failed.clone();
    world.bigquery.stub.on(move |call| {
        let body = error_body(403, "accessDenied", "Access Denied: Dataset p1:spotify_podcasts");
        let is_lookup = call.path.ends_with("/spotify_podcasts");
        if is_lookup { answer(403, &body).held(held.clone()) } else { Act::Pass }
    });
    let pushes = ["podcasts", "episodes", "mentions"].map(table);
    let fail = async {
        // Each message checks its table and the location concurrently.
        until(|| world.bigquery.stub.calls_to("GET", "/tables/").len() == 3).await;
        failed.cancel();
    };
    let (answers, ()) = join(join_all(pushes.iter().map(|push| app.push(push))), fail).await;
    for answer in &answers {
        assert_eq!(answer.result(), (503, "retry warehouse_denied"));
    }
    assert_eq!(lookups(), 1);
    world.bigquery.stub.heal();
    assert_eq!(app.push(&pushes[0].again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn the_check_finds_a_deleted_dataset() {
    let (world, app) = ready().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    world.bigquery.state.lock().unwrap().dataset = false;
    let posts = || world.bigquery.stub.calls_to("POST", "/").len();
    let before = posts();
    let response = app.push(&table("podcasts")).await;
    assert_eq!(response.result(), (503, "retry dataset_missing"));
    assert!(
        response.detail().contains("Not found: Dataset p1:spotify_podcasts"),
        "{}",
        response.detail()
    );
    assert_eq!(posts(), before, "no table and no job is created");
}
