//! The tables of terms other than the configured one: their names, and their schema and descriptions,
//! which are those of Terraform.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::bigquery::schema;
use crate::support::spotify::Spotify;
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, message};

#[tokio::test]
async fn tables_of_other_terms_are_created_with_columns_and_descriptions() {
    let tables: Value =
        serde_json::from_str(include_str!("../terraform/schemas/tables.json")).unwrap();
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    for kind in ["podcasts", "episodes", "mentions"] {
        let push = message(&json!({"table": kind, "search_term": "Café\u{a0} da  MANHÃ"}));
        assert_eq!(app.push(&push).await.result(), (204, "loaded"));
        let table = world.bigquery.table(&format!("{kind}_cafe_da_manha")).unwrap();
        assert_eq!(table.schema, schema(kind));
        assert_eq!(table.description, tables[kind]["description"]);
        assert!(!table.rows.is_empty());
    }
}

#[tokio::test]
async fn tables_of_the_configured_term_are_named_after_it() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let world = world.set("SEARCH_TERM", "Mamilos").set("EPISODES_TABLE", "podcasts_data_hackers");
    let app = world.app().await;
    let tables = json!([
        [{"table": "podcasts"}, "podcasts_mamilos"],
        [{"table": "podcasts_mamilos"}, "podcasts_mamilos"],
        [{"table": "episodes", "search_term": "MAMILOS"}, "podcasts_data_hackers"],
        [{"table": "mentions"}, "mentions_mamilos"],
        // The default term has no special names here, and one of its derived names is taken.
        [{"table": "episodes", "search_term": "data hackers"}, "episodes_data_hackers"],
        [{"table": "podcasts", "search_term": "data hackers"}, "podcasts_data_hackers_"],
    ]);
    for case in tables.as_array().unwrap() {
        assert_eq!(app.push(&message(&case[0])).await.result(), (204, "loaded"), "{case}");
        let job = world.bigquery.job(world.bigquery.accepted().last().unwrap());
        let table = job.configuration["load"]["destinationTable"]["tableId"].as_str().unwrap();
        let expected = case[1].as_str().unwrap();
        let fits = match expected.ends_with('_') {
            true => table.starts_with(expected) && table.len() == expected.len() + 8,
            false => table == expected,
        };
        assert!(fits, "{case}: {table}");
    }
    assert!([PODCASTS, EPISODES, MENTIONS].iter().all(|old| world.bigquery.table(old).is_none()));
}

#[tokio::test]
async fn a_table_is_created_once_and_read_once_per_message() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    for _ in 0..3 {
        app.push(&message(&json!({"table": "podcasts", "search_term": "x"}))).await;
    }
    let created = world.bigquery.stub.calls_to("POST", "/datasets/spotify_podcasts/tables");
    let read = world.bigquery.stub.calls_to("GET", "/tables/podcasts_x");
    assert_eq!((created.len(), read.len()), (1, 3));
    // Another process finds the table and does not create it.
    let other = world.app().await;
    other.push(&message(&json!({"table": "podcasts", "search_term": "x"}))).await;
    let created = world.bigquery.stub.calls_to("POST", "/datasets/spotify_podcasts/tables");
    assert_eq!(created.len(), 1);
    assert_eq!(world.bigquery.table("podcasts_x").unwrap().loads, 4);
}

#[tokio::test]
async fn spellings_of_a_term_share_a_table_and_different_terms_do_not() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    let mut tables = HashSet::new();
    for spellings in [
        vec!["c", "C", " ç "],
        vec!["c++", "C++"],
        vec!["c cedb1bac"],
        vec!["日本", "日本 "],
        vec!["日木"],
        vec!["Data-Hackers"],
        vec!["data_hackers"],
        vec!["data hackers", "DATA\u{a0}HÁCKERS"],
    ] {
        let mut of_term = HashSet::new();
        for term in spellings {
            app.push(&message(&json!({"table": "podcasts", "search_term": term}))).await;
            let job = world.bigquery.job(world.bigquery.accepted().last().unwrap());
            let table = &job.configuration["load"]["destinationTable"]["tableId"];
            of_term.insert(table.as_str().unwrap().to_owned());
        }
        assert_eq!(of_term.len(), 1, "{of_term:?}");
        assert!(tables.is_disjoint(&of_term), "{of_term:?} twice");
        tables.extend(of_term);
    }
    assert!(tables.contains("podcasts_c") && tables.contains(PODCASTS), "{tables:?}");
    // printf 'c++' | sha256sum
    assert!(tables.contains("podcasts_c_cedb1bac"), "{tables:?}");
}

#[tokio::test]
async fn a_deleted_table_is_created_again() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    let push = || message(&json!({"table": "podcasts", "search_term": "x"}));
    app.push(&push()).await;
    world.bigquery.state.lock().unwrap().tables.clear();
    assert_eq!(app.push(&push()).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows("podcasts_x").len(), 3);
}
