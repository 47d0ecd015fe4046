//! The show of a term: the show named like it, otherwise the first; or the one that the message names.

use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::spotify::{Spotify, catalog, episode, episode_rows, search_page, show};
use crate::support::wire::{Act, answer};
use crate::support::{EPISODES, Push, World, message, table};

/// Three shows with different episodes: show `n` has those from 10·n on.
fn three_shows() -> spotify_bq::demo::Catalog {
    let mut shown = catalog(3, 0);
    for (n, show) in shown.shows.iter().enumerate() {
        let id = show["id"].as_str().unwrap().to_owned();
        shown.episodes.insert(id, (10 * n..10 * n + 7).map(episode).collect());
    }
    shown
}

fn rows_of_show(n: usize) -> Vec<Value> {
    episode_rows(&(10 * n..10 * n + 7).map(episode).collect::<Vec<_>>())
}

fn not_found() -> Act {
    answer(404, &json!({"error": {"status": 404, "message": "non existing id"}}).to_string())
}

#[tokio::test]
async fn the_first_show_is_chosen_if_none_has_the_terms_name() {
    let mut shown = three_shows();
    shown.shows.insert(0, Value::Null);
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), rows_of_show(0));
}

#[tokio::test]
async fn a_show_with_the_terms_name_in_any_spelling_is_chosen_over_the_first() {
    for name in ["Data Hackers", "DATA\u{a0}HÁCKERS ", "data  hac\u{327}kers"] {
        let mut shown = three_shows();
        shown.shows[0]["name"] = json!("Data Hackers Club");
        shown.shows[1]["name"] = json!(name);
        shown.shows[2]["name"] = json!("data hackers");
        let world = World::new(Spotify::start(shown).await).await;
        let app = world.app().await;
        app.push(&table("episodes")).await;
        assert_eq!(world.bigquery.rows(EPISODES), rows_of_show(1), "{name}");
    }
}

#[tokio::test]
async fn only_the_first_page_of_the_search_is_considered() {
    let mut shown = three_shows();
    let mut named = shown.shows.remove(1);
    named["name"] = json!("data hackers");
    shown.shows.extend((20..28).map(show));
    shown.shows.push(named);
    assert_eq!(shown.shows[10]["name"], "data hackers");
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    app.push(&table("episodes")).await;
    assert_eq!(world.bigquery.rows(EPISODES), rows_of_show(0));
    assert_eq!(world.spotify.stub.calls_to("GET", "/v1/search").len(), 1);
}

#[tokio::test]
async fn the_show_that_the_message_names_is_read_without_a_search() {
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    let id = &world.spotify.catalog.shows[2]["id"];
    let push = message(&json!({"table": "episodes", "search_term": "outro", "show_id": id}));
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows("episodes_outro"), rows_of_show(2));
    assert_eq!(world.spotify.stub.calls_to("GET", "/v1/search").len(), 0);

    // It does not become the term's show.
    app.push(&message(&json!({"table": "mentions", "search_term": "outro"}))).await;
    assert_eq!(world.spotify.stub.calls_to("GET", "/v1/search").len(), 1);
}

#[tokio::test]
async fn all_messages_of_a_term_share_one_search() {
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    let pushes = ["episodes", "mentions"].map(table);
    let answers = futures_util::future::join_all(pushes.iter().map(|push| app.push(push))).await;
    assert!(answers.iter().all(|answer| answer.result() == (204, "loaded")));
    app.push(&table("episodes")).await;
    assert_eq!(world.spotify.stub.calls_to("GET", "/v1/search").len(), 1);
}

#[tokio::test]
async fn a_cached_show_that_vanishes_is_searched_for_again() {
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    app.push(&table("episodes")).await;
    let shows = world.spotify.catalog.shows.clone();
    world.spotify.stub.on(move |call| {
        let gone = shows[0]["id"].as_str().unwrap();
        match call.path.as_str() {
            "/v1/search" => search_page(&shows[1..], 2),
            path if path.contains(gone) => not_found(),
            _ => Act::Pass,
        }
    });
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), rows_of_show(1));
}

#[tokio::test]
async fn a_cached_show_expires() {
    let world = World::new(Spotify::start(three_shows()).await).await;
    let mut config = world.config();
    config.timing.show_ttl = std::time::Duration::ZERO;
    let app = crate::support::App::start(config).await;
    app.push(&table("episodes")).await;
    app.push(&table("episodes")).await;
    assert_eq!(world.spotify.stub.calls_to("GET", "/v1/search").len(), 2);
}

#[tokio::test]
async fn a_show_that_was_just_found_but_does_not_exist_is_retried() {
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    world.spotify.stub.always("/v1/shows/", not_found);
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (503, "retry show_vanished"));
    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), rows_of_show(0));
}

#[tokio::test]
async fn a_first_page_without_a_valid_show_id_is_retried() {
    let mut shown = catalog(1, 0);
    shown.shows[0]["id"] = json!("../x");
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    let answer = app.push(&table("episodes")).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    assert!(answer.detail().contains("no show on the first page has a valid ID"));
}

#[tokio::test]
async fn the_log_line_names_the_show_that_was_requested_last() {
    let log = Log::start();
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    app.push(&table("episodes")).await;
    let shows = world.spotify.catalog.shows.clone();
    let found_later = shows[1]["id"].as_str().unwrap().to_owned();
    world.spotify.stub.on(move |call| match call.path.as_str() {
        "/v1/search" => search_page(&shows[1..], 2),
        _ => not_found(),
    });
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (503, "retry show_vanished"));
    let line = log.outcome(&push.id);
    assert_eq!(line["show_id"], found_later);
    assert!(line["message"].contains(&found_later), "{line:?}");
}

#[tokio::test]
async fn a_named_show_that_does_not_exist_is_a_dead_letter() {
    let invalid = json!({"error": {"status": 400, "message": "Invalid base62 id"}}).to_string();
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    let named = || -> Push {
        message(&json!({
            "table": "episodes", "search_term": "x", "show_id": "1oMIHOXsrLFENAeM743g93",
        }))
    };
    assert_eq!(app.push(&named()).await.result(), (204, "dead_lettered no_such_show"));
    world.spotify.stub.always("/episodes", move || answer(400, &invalid));
    assert_eq!(app.push(&named()).await.result(), (204, "dead_lettered no_such_show"));
    let letters = world.pubsub.published("letters");
    assert!(letters[0].attributes["detail"].contains("1oMIHOXsrLFENAeM743g93"));
    assert!(world.bigquery.accepted().is_empty());
}

#[tokio::test]
async fn a_term_that_finds_no_show_is_a_dead_letter() {
    let world = World::new(Spotify::start(three_shows()).await).await;
    let app = world.app().await;
    world.spotify.stub.always("/v1/search", || search_page(&[], 0));
    let push = message(&json!({"table": "mentions", "search_term": "nada disso"}));
    assert_eq!(app.push(&push).await.result(), (204, "dead_lettered no_results"));
    assert!(world.pubsub.published("letters")[0].attributes["detail"].contains("nada disso"));
    assert!(world.bigquery.table("mentions_nada_disso").is_none());
}
