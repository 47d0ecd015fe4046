//! A show whose episodes change while they are read is read up to three times, and is never loaded from a
//! mix of two states.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode, episode_page, episode_rows, piece};
use crate::support::wire::{Act, Call};
use crate::support::{EPISODES, MENTIONS, World, table};

/// A show whose episodes at each call are what `listing` returns.
async fn world(listing: impl Fn(&Call, usize) -> Vec<Value> + Send + 'static) -> World {
    let world = World::new(Spotify::showing(1, 1).await).await;
    let calls = Arc::new(Mutex::new(0));
    world.spotify.stub.on(move |call| {
        if !call.path.ends_with("/episodes") {
            return Act::Pass;
        }
        let mut calls = calls.lock().unwrap();
        let listing = listing(call, *calls);
        *calls += 1;
        let shown = piece(&listing, call.number("offset"), call.number("limit"));
        episode_page(shown, listing.len())
    });
    world
}

fn episodes(numbers: impl IntoIterator<Item = usize>) -> Vec<Value> {
    numbers.into_iter().map(episode).collect()
}

fn readings(world: &World) -> usize {
    let calls = world.spotify.stub.calls_to("GET", "/episodes");
    calls.iter().filter(|call| call.number("offset") == 0).count()
}

#[tokio::test]
async fn an_episode_published_during_the_reading_is_in_the_table() {
    // From the second call on, there is one more at the top.
    let world = world(|_, call| episodes(if call == 0 { 1..121 } else { 0..121 })).await;
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(&episodes(0..121)));
    assert_eq!(readings(&world), 2);
}

#[tokio::test]
async fn an_episode_withdrawn_during_the_reading_is_not_in_the_table() {
    let world = world(|_, call| {
        let mut listed = episodes(0..120);
        if call > 0 {
            listed.remove(3);
        }
        listed
    })
    .await;
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    let left: Vec<usize> = (0..120).filter(|n| *n != 3).collect();
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(&episodes(left)));
}

#[tokio::test]
async fn a_listing_that_shifts_under_an_unchanged_total_is_read_again() {
    // One is added at the top, one removed from the end: page two repeats the end of page one.
    let world = world(|_, call| episodes(if call == 0 { 1..121 } else { 0..120 })).await;
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(&episodes(0..120)));
}

#[tokio::test]
async fn only_the_reading_that_is_loaded_is_counted() {
    let log = Log::start();
    let world = world(|_, call| {
        let mut listed = episodes(if call == 0 { 1..121 } else { 0..121 });
        for undated in &mut listed[5..9] {
            undated["release_date"] = Value::Null;
        }
        listed
    })
    .await;
    let app = world.app().await;
    let push = table("episodes");
    app.push(&push).await;
    assert_eq!(log.outcome(&push.id)["undated"], "4");
}

#[tokio::test]
async fn a_listing_that_changes_with_every_reading_is_retried() {
    let world = world(|_, call| episodes(0..120 + call)).await;
    let app = world.app().await;
    for (name, loaded) in [("episodes", EPISODES), ("mentions", MENTIONS)] {
        let answer = app.push(&table(name)).await;
        assert_eq!(answer.result(), (503, "retry listing_incomplete"));
        assert!(answer.detail().contains("`total` was between"), "{}", answer.detail());
        assert!(world.bigquery.table(loaded).is_none_or(|table| table.loads == 0));
    }
    // The second message does not read the listing again, since it was just incomplete.
    assert_eq!(readings(&world), 3);
}

#[tokio::test]
async fn readings_that_each_lack_a_different_episode_are_not_accepted() {
    // Total and length stay the same; the last page repeats one episode in place of another.
    let world = world(|call, calls| {
        let mut listed = episodes(0..120);
        if call.number("offset") == 100 {
            listed[100 + calls] = listed[0].clone();
        }
        listed
    })
    .await;
    let app = world.app().await;
    let answer = app.push(&table("episodes")).await;
    assert_eq!(answer.result(), (503, "retry listing_incomplete"));
    let detail = answer.detail();
    assert!(detail.contains("119 distinct items were shown, 1 items more than once"), "{detail}");
}
