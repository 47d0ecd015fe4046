//! The SQLite warehouse: the same tables and guarantees as BigQuery.

use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use spotify_bq::demo::Catalog;

use crate::support::spotify::{Spotify, episode_rows, podcast_rows};
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, message, table};

/// Returns a world whose tables are in a new file.
async fn world(name: &str) -> (World, PathBuf) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.sqlite"));
    let _ = std::fs::remove_file(&file);
    let world = World::new(Spotify::showing(66, 120).await).await;
    let warehouse = format!("sqlite:{}", file.display());
    (world.set("WAREHOUSE", &warehouse).set("GOOGLE_CLOUD_PROJECT", "p1"), file)
}

/// Reads a table, with booleans as 0 and 1.
fn rows(file: &PathBuf, table: &str) -> Vec<Value> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let row = |row: &rusqlite::Row<'_>| {
        let cell = |at: usize| match row.get::<_, Cell>(at).unwrap() {
            Cell::Null => Value::Null,
            Cell::Integer(number) => json!(number),
            Cell::Text(text) => json!(text),
            other => panic!("unexpected type: {other:?}"),
        };
        Ok(names.iter().enumerate().map(|(at, name)| (name.clone(), cell(at))).collect())
    };
    statement.query_map([], row).unwrap().map(|row| Value::Object(row.unwrap())).collect()
}

/// Returns a show whose texts look like numbers. SQLite turns them into numbers unless the column is TEXT.
fn show_of_digits() -> Value {
    let mut show = crate::support::spotify::show(0);
    show["name"] = json!("007");
    show["description"] = json!("1e3");
    show
}

/// Returns the rows with booleans as SQLite has them.
fn as_numbers(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        let explicit = row["explicit"].as_bool();
        row["explicit"] = json!(explicit.map(i64::from));
    }
    rows
}

#[tokio::test]
async fn the_three_tables_have_the_same_rows_as_in_bigquery() {
    let (world, file) = world("three").await;
    let app = world.app().await;
    for name in ["podcasts", "episodes", "mentions"] {
        assert_eq!(app.push(&table(name)).await.result(), (204, "loaded"), "{name}");
    }
    let episodes = world.spotify.episodes();
    assert_eq!(rows(&file, PODCASTS), podcast_rows(&world.spotify.catalog.shows[..50]));
    assert_eq!(rows(&file, EPISODES), as_numbers(episode_rows(episodes)));
    let mentioned: Vec<Value> = episodes.iter().step_by(3).cloned().collect();
    assert_eq!(rows(&file, MENTIONS), as_numbers(episode_rows(&mentioned)));
    assert!(world.bigquery.stub.calls().is_empty());
}

#[tokio::test]
async fn columns_have_the_types_of_the_schema() {
    let (world, file) = world("types").await;
    world.app().await.push(&table("episodes")).await;
    let connection = Connection::open(&file).unwrap();
    let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?)").unwrap();
    let columns: Vec<(String, String)> = statement
        .query_map([EPISODES], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let schema: Value =
        serde_json::from_str(include_str!("../terraform/schemas/episodes.json")).unwrap();
    let text = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
    let expected: Vec<(String, String)> = schema
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (text(column, "name"), text(column, "type").replace("STRING", "TEXT")))
        .collect();
    assert_eq!(columns, expected);
}

#[tokio::test]
async fn a_text_of_digits_stays_a_text() {
    let (world, file) = world("digits").await;
    let spotify =
        Spotify::start(Catalog { shows: vec![show_of_digits()], ..Catalog::default() }).await;
    let world = world.set("SPOTIFY_API_URL", &spotify.stub.url);
    let app = world.set("SPOTIFY_ACCOUNTS_URL", &spotify.stub.url).app().await;
    assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
    assert_eq!(rows(&file, PODCASTS), podcast_rows(&[show_of_digits()]));
}

#[tokio::test]
async fn a_table_of_an_earlier_version_is_created_again() {
    let (world, file) = world("earlier_version").await;
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE {PODCASTS} (name STRING, description STRING, id STRING, total_episodes INTEGER);
             INSERT INTO {PODCASTS} VALUES ('007', NULL, 'x', 1);
             CREATE INDEX by_name ON {PODCASTS} (name);
             CREATE VIEW names AS SELECT name FROM {PODCASTS};
             CREATE TABLE spotify_bq_loads (id TEXT PRIMARY KEY, job TEXT NOT NULL, table_name TEXT NOT NULL, \
             row_count INTEGER NOT NULL, loaded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        ))
        .unwrap();
    let spotify =
        Spotify::start(Catalog { shows: vec![show_of_digits()], ..Catalog::default() }).await;
    let world = world.set("SPOTIFY_API_URL", &spotify.stub.url);
    let world = world.set("SPOTIFY_ACCOUNTS_URL", &spotify.stub.url);
    let app = world.app().await;
    let log = crate::support::log::Log::start();
    let push = table("podcasts");
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(log.outcome(&push.id)["rows_before"], "1");
    assert_eq!(rows(&file, PODCASTS), podcast_rows(&[show_of_digits()]));
    assert_eq!(rows(&file, "names"), [json!({"name": "007"})]);
    let of = "SELECT count(*) FROM sqlite_schema WHERE name = 'by_name'";
    assert_eq!(connection.query_row(of, [], |row| row.get::<_, i64>(0)), Ok(1));
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "already_loaded"));
}

#[tokio::test]
async fn a_redelivered_message_loads_once_and_another_message_replaces() {
    let (world, file) = world("again").await;
    let app = world.app().await;
    let push = table("podcasts");
    assert_eq!(app.push(&push).await.outcome, "loaded");
    for attempt in [Some(1), Some(2), None] {
        let again = crate::support::Push { attempt, ..push.clone() };
        assert_eq!(world.app().await.push(&again).await.result(), (204, "already_loaded"));
    }
    assert_eq!(app.push(&table("podcasts")).await.outcome, "loaded");
    assert_eq!(rows(&file, PODCASTS).len(), 50);
}

#[tokio::test]
async fn the_same_message_twice_at_once_loads_once() {
    let (world, file) = world("at_once").await;
    let push = table("episodes");
    let apps = futures_util::future::join_all((0..4).map(|_| world.app())).await;
    let answers = futures_util::future::join_all(apps.iter().map(|app| app.push(&push))).await;
    assert!(answers.iter().all(|answer| answer.status == 204), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.outcome == "loaded").count(), 1);
    assert_eq!(rows(&file, EPISODES).len(), 120);
}

#[tokio::test]
async fn a_load_that_fails_halfway_does_not_change_the_table() {
    let (world, file) = world("halfway").await;
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    let before = rows(&file, PODCASTS);
    let last = world.spotify.catalog.shows[49]["id"].as_str().unwrap();
    let connection = Connection::open(&file).unwrap();
    let trigger = format!(
        "CREATE TRIGGER stop BEFORE INSERT ON {PODCASTS} WHEN NEW.id = '{last}' \
         BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    );
    connection.execute_batch(&trigger).unwrap();
    let push = table("podcasts");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert!(response.detail().contains("disk full"), "{}", response.detail());
    assert_eq!(rows(&file, PODCASTS), before);
    connection.execute_batch("DROP TRIGGER stop").unwrap();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(rows(&file, PODCASTS), before);
}

#[tokio::test]
async fn a_table_with_other_columns_is_not_touched_until_it_is_fixed() {
    let (world, file) = world("foreign").await;
    let app = world.app().await;
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE {PODCASTS} (id INTEGER, nome STRING); INSERT INTO {PODCASTS} VALUES (1, 'x')"
        ))
        .unwrap();
    let push = table("podcasts");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry foreign_columns"));
    for difference in
        ["name is missing", "id is INTEGER, expected STRING", "unexpected column nome STRING"]
    {
        assert!(response.detail().contains(difference), "{}", response.detail());
    }
    assert_eq!(rows(&file, PODCASTS), [json!({"id": 1, "nome": "x"})]);
    connection.execute_batch(&format!("DROP TABLE {PODCASTS}")).unwrap();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_view_with_the_tables_name_is_not_touched() {
    let (world, file) = world("view").await;
    let app = world.app().await;
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(&format!("CREATE VIEW {PODCASTS} AS SELECT 1 AS id")).unwrap();
    let push = table("podcasts");
    assert_eq!(app.push(&push).await.result(), (503, "retry not_a_table"));
    connection.execute_batch(&format!("DROP VIEW {PODCASTS}")).unwrap();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_table_that_shrinks_by_more_than_half_is_a_warning() {
    let (world, _) = world("shrinks").await;
    let app = world.app().await;
    let log = crate::support::log::Log::start();
    app.push(&table("podcasts")).await;
    for (shown, before, words) in [
        (25, "50", "was replaced by 25 rows"),
        (12, "25", "shrank from 25 to 12 rows"),
        (12, "12", "was replaced by 12 rows"),
        (50, "12", "was replaced by 50 rows"),
    ] {
        let shows: Vec<Value> = (0..shown).map(crate::support::spotify::show).collect();
        world.spotify.stub.on(move |call| {
            let at = call.number("offset").min(shows.len());
            let page = &shows[at..(at + call.number("limit")).min(shows.len())];
            match call.path.contains("/v1/search") {
                true => crate::support::spotify::search_page(page, shows.len()),
                false => crate::support::wire::Act::Pass,
            }
        });
        let push = table("podcasts");
        assert_eq!(app.push(&push).await.result(), (204, "loaded"));
        let line = log.outcome(&push.id);
        assert_eq!(line["rows_before"], before);
        assert!(line["message"].contains(words), "{line:?}");
        assert_eq!(line["message"].contains("docs/restore.md"), words.contains("shrank"));
    }
}

#[tokio::test]
async fn a_search_without_results_does_not_change_the_table() {
    let (world, file) = world("nothing").await;
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    world.spotify.stub.always("/v1/search", || crate::support::spotify::search_page(&[], 0));
    let push = message(&json!({"table": "podcasts"}));
    assert_eq!(app.push(&push).await.result(), (204, "dead_lettered no_results"));
    assert_eq!(rows(&file, PODCASTS).len(), 50);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_a_transient_failure() {
    let (world, file) = world("elsewhere").await;
    let world = world.set("WAREHOUSE", &format!("sqlite:{}/no/such.sqlite", file.display()));
    let response = world.app().await.push(&table("podcasts")).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert!(response.detail().contains("such.sqlite"), "{}", response.detail());
}
