//! Healthy listings of every size are loaded whole, in Spotify's order, with one request per page.

use serde_json::Value;

use crate::support::spotify::{
    Spotify, catalog, episode_page, episode_rows, podcast_rows, search_page,
};
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, table};

#[tokio::test]
async fn listings_of_any_size_are_whole_and_in_order() {
    for size in [1, 10, 11, 49, 50, 51, 320] {
        let world = World::new(Spotify::showing(size, size).await).await;
        let app = world.app().await;
        for name in ["podcasts", "episodes", "mentions"] {
            assert_eq!(app.push(&table(name)).await.result(), (204, "loaded"), "{name} of {size}");
        }
        let (shows, episodes) = (&world.spotify.catalog.shows, world.spotify.episodes());
        assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&shows[..size.min(50)]), "{size}");
        assert_eq!(world.bigquery.rows(EPISODES), episode_rows(episodes), "{size}");
        let mentioned: Vec<Value> = episodes.iter().step_by(3).cloned().collect();
        assert_eq!(world.bigquery.rows(MENTIONS), episode_rows(&mentioned), "{size}");
    }
}

#[tokio::test]
async fn each_page_is_requested_once() {
    let world = World::new(Spotify::showing(66, 320).await).await;
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    app.push(&table("episodes")).await;
    let offsets = |path: &str| {
        let calls = world.spotify.stub.calls_to("GET", path);
        let mut offsets: Vec<usize> = calls.iter().map(|call| call.number("offset")).collect();
        offsets.sort_unstable();
        offsets
    };
    // The search for the podcasts finds the show, too.
    assert_eq!(offsets("/v1/search"), [0, 10, 20, 30, 40]);
    assert_eq!(offsets("/episodes"), [0, 50, 100, 150, 200, 250, 300]);
}

#[tokio::test]
async fn every_call_names_the_market_and_the_size_of_its_page() {
    let world = World::new(Spotify::showing(20, 60).await).await.set("SPOTIFY_MARKET", "PT");
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    app.push(&table("mentions")).await;
    let calls = world.spotify.api_calls();
    assert!(calls.len() >= 4);
    for call in calls {
        assert_eq!(call.query("market"), "PT", "{call:?}");
        let size = if call.path == "/v1/search" { "10" } else { "50" };
        assert!(call.query("limit") == size || call.query("offset") == "50", "{call:?}");
    }
}

#[tokio::test]
async fn a_search_is_for_shows_and_for_the_exact_term() {
    let world = World::new(Spotify::showing(1, 1).await).await;
    let app = world.app().await;
    let term = "café & \"pão\" 日本";
    app.push(&crate::support::message(&serde_json::json!({
        "table": "podcasts", "search_term": term,
    })))
    .await;
    let calls = world.spotify.stub.calls_to("GET", "/v1/search");
    assert_eq!((calls[0].query("q"), calls[0].query("type")), (term, "show"));
}

#[tokio::test]
async fn an_empty_search_leaves_the_table_as_it_was() {
    let world = World::new(Spotify::showing(12, 7).await).await;
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    let before = world.bigquery.rows(PODCASTS);
    world.spotify.stub.always("/v1/search", || search_page(&[], 0));
    let answer = app.push(&table("podcasts")).await;
    assert_eq!(answer.result(), (204, "dead_lettered no_results"));
    assert_eq!(world.bigquery.rows(PODCASTS), before);
    assert_eq!(world.bigquery.table(PODCASTS).unwrap().loads, 1);
}

#[tokio::test]
async fn a_show_without_episodes_leaves_both_its_tables_as_they_were() {
    let world = World::new(Spotify::showing(1, 7).await).await;
    let app = world.app().await;
    for (name, table_name) in [("episodes", EPISODES), ("mentions", MENTIONS)] {
        app.push(&table(name)).await;
        world.spotify.stub.always("/episodes", || episode_page(&[], 0));
        let answer = app.push(&table(name)).await;
        assert_eq!(answer.result(), (204, "dead_lettered no_results"));
        assert_eq!(world.bigquery.table(table_name).unwrap().loads, 1, "{name}");
        world.spotify.stub.heal();
    }
}

#[tokio::test]
async fn episodes_without_mentions_empty_the_mentions_table() {
    let mut shown = catalog(1, 90);
    let world = World::new(Spotify::start(shown.clone()).await).await;
    let app = world.app().await;
    app.push(&table("mentions")).await;
    assert_eq!(world.bigquery.rows(MENTIONS).len(), 30);

    // The sponsor disappears from all episodes.
    for episode in shown.episodes.values_mut().flatten() {
        episode["description"] = "Sem apoio.".into();
    }
    let id = shown.shows[0]["id"].as_str().unwrap();
    let without = shown.episodes[id].clone();
    world.spotify.stub.on(move |call| {
        use crate::support::{spotify::piece, wire::Act};
        if !call.path.ends_with("/episodes") {
            return Act::Pass;
        }
        let shown = piece(&without, call.number("offset"), call.number("limit"));
        episode_page(shown, without.len())
    });
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(MENTIONS), [Value::Null; 0]);
    assert_eq!(world.bigquery.table(MENTIONS).unwrap().loads, 2);
}
