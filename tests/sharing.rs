//! The three tables of a term cost each page of its search and of its show's episodes once. A second
//! message for the same table always reads again.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::bigquery::Fate;
use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::Act;
use crate::support::{App, EPISODES, MENTIONS, Push, World, message, table};

const ORDERS: [[&str; 3]; 6] = [
    ["podcasts", "episodes", "mentions"],
    ["podcasts", "mentions", "episodes"],
    ["episodes", "podcasts", "mentions"],
    ["mentions", "podcasts", "episodes"],
    ["episodes", "mentions", "podcasts"],
    ["mentions", "episodes", "podcasts"],
];

/// A search of five pages and a show of seven.
async fn world() -> World {
    World::new(Spotify::showing(66, 320).await).await
}

/// Returns how many pages of searches and of episodes were requested.
fn calls(world: &World) -> (usize, usize) {
    let to = |path| world.spotify.stub.calls_to("GET", path).len();
    (to("/v1/search"), to("/episodes"))
}

/// Returns the number of search pages. A search for the show alone takes one page more.
fn searches(order: [&str; 3]) -> usize {
    if order[0] == "podcasts" { 5 } else { 6 }
}

#[tokio::test]
async fn three_messages_in_sequence_cost_each_page_once() {
    for order in ORDERS {
        let (world, log) = (world().await, Log::start());
        let app = world.app().await;
        let pushes = order.map(table);
        for push in &pushes {
            assert_eq!(app.push(push).await.result(), (204, "loaded"), "{order:?}");
        }
        assert_eq!(calls(&world), (searches(order), 7), "{order:?}");
        assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));

        let lines: Vec<_> = pushes
            .iter()
            .map(|push| log.outcome(&push.id))
            .filter(|line| line["kind"] != "podcasts")
            .collect();
        let shared = lines.iter().map(|line| line["shared_reading"].as_str());
        assert_eq!(shared.collect::<Vec<_>>(), ["false", "true"], "{order:?}");
        assert_eq!(lines[0]["read_at"], lines[1]["read_at"]);
        assert_eq!(lines[1]["spotify_calls"], "0", "{order:?}");
    }
}

#[tokio::test]
async fn three_concurrent_messages_cost_each_page_once() {
    for order in ORDERS {
        let world = world().await;
        let app = world.app().await;
        let pushes = order.map(table);
        let answers = join_all(pushes.iter().map(|push| app.push(push))).await;
        assert!(answers.iter().all(|answer| answer.result() == (204, "loaded")), "{answers:?}");
        let (search, episodes) = calls(&world);
        assert!(search <= 6, "{search} search pages, {order:?}");
        assert_eq!(episodes, 7, "{order:?}");
    }
}

#[tokio::test]
async fn terms_that_find_the_same_show_share_its_reading() {
    let world = world().await;
    let app = world.app().await;
    let other = |kind: &str| message(&json!({"table": kind, "search_term": "programa"}));
    for push in [table("episodes"), other("episodes")] {
        assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    }
    assert_eq!(calls(&world).1, 7);
}

#[tokio::test]
async fn a_second_message_for_one_table_reads_again() {
    let world = world().await;
    let app = world.app().await;
    for (name, pages) in
        [("episodes", 7), ("episodes", 14), ("mentions", 14), ("mentions", 21), ("episodes", 21)]
    {
        assert_eq!(app.push(&table(name)).await.result(), (204, "loaded"));
        assert_eq!(calls(&world).1, pages, "{name}");
    }
}

#[tokio::test]
async fn after_a_failed_load_only_the_redelivery_uses_the_reading() {
    let world = world().await;
    let app = world.app().await;
    world.bigquery.fate(|_| Fate { fails: Some("stopped"), polls: 0 });
    let push = table("episodes");
    let answer = app.push(&push).await;
    assert_eq!((answer.status, calls(&world).1), (503, 7), "{answer:?}");
    world.bigquery.fate(|_| Fate::default());
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(calls(&world).1, 7);

    world.bigquery.fate(|_| Fate { fails: Some("stopped"), polls: 0 });
    assert_eq!(app.push(&table("mentions")).await.status, 503);
    world.bigquery.fate(|_| Fate::default());
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
    assert_eq!(calls(&world).1, 14, "another message used a reading whose load may still succeed");
}

#[tokio::test]
async fn a_load_that_succeeds_after_its_message_uses_the_reading() {
    let world = world().await;
    let mut config = world.config();
    config.timing.message_deadline = std::time::Duration::from_secs(8);
    // The table stays locked until the job's end is known.
    config.timing.google_call_timeout = std::time::Duration::from_millis(500);
    let app = App::start(config).await;
    // The job succeeds, but the message does not learn of it.
    world.bigquery.fate(|_| Fate { fails: None, polls: 1 });
    world.bigquery.stub.on(|call| match call.method == "GET" && call.path.contains("/jobs/") {
        true => Act::Hang,
        false => Act::Pass,
    });
    let push: Push = table("episodes");
    assert_eq!(app.push(&push).await.status, 503);
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 1);
    world.bigquery.stub.heal();
    world.bigquery.fate(|_| Fate::default());
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(calls(&world).1, 14);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "already_loaded"));
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
    assert_eq!(calls(&world).1, 14);
    assert_eq!(world.bigquery.rows(MENTIONS).len(), 107);
}

#[tokio::test]
async fn an_incomplete_reading_is_not_shared() {
    let world = world().await;
    let app = world.app().await;
    world.spotify.stub.on(|call| {
        if call.path.ends_with("/episodes") && call.number("offset") == 100 {
            return crate::support::wire::answer(404, "");
        }
        Act::Pass
    });
    assert_eq!(app.push(&table("episodes")).await.result(), (503, "retry listing_incomplete"));
    world.spotify.stub.heal();
    // Another process does not know the result.
    let before = calls(&world).1;
    assert_eq!(world.app().await.push(&table("mentions")).await.result(), (204, "loaded"));
    assert_eq!(calls(&world).1, before + 7);
}
