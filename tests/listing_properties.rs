//! Any listing that Spotify could show, with pages of any size and nulls anywhere, at the wire: what is
//! loaded is complete and in order, or nothing is. What Spotify could claim about it is in the tests of
//! the rule (src/extraction/listing/tests.rs).

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use serde_json::Value;

use crate::support::spotify::{
    Spotify, episode, episode_page, episode_rows, piece, podcast_rows, search_page, show,
};
use crate::support::wire::Act;
use crate::support::{Answer, EPISODES, PODCASTS, World, table};

/// A listing's items: numbers of shows or episodes, some of them null.
fn listing(longest: usize) -> impl Strategy<Value = Vec<Option<usize>>> {
    prop::collection::vec(prop::bool::weighted(0.95), 0..longest).prop_map(|shown| {
        shown.into_iter().enumerate().map(|(at, shown)| shown.then_some(1000 + at)).collect()
    })
}

fn values(items: &[Option<usize>], value: impl Fn(usize) -> Value) -> Vec<Value> {
    items.iter().map(|item| item.map_or(Value::Null, &value)).collect()
}

/// What must be loaded of a listing.
fn distinct(items: &[Option<usize>]) -> Vec<Option<usize>> {
    items.iter().copied().filter(Option::is_some).collect()
}

/// Runs a case on a runtime of its own.
fn run<F: Future<Output = Result<(), TestCaseError>>>(case: F) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case)
}

/// What a listing with no row to load comes to.
fn is_left_as_it_was(world: &World, told: &Answer, items: usize) -> Result<(), TestCaseError> {
    let expected = if items == 0 {
        (204, "dead_lettered no_results")
    } else {
        (503, "retry listing_incomplete")
    };
    prop_assert_eq!(told.told(), expected);
    prop_assert!(world.bigquery.accepted().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn a_search_is_read_to_fifty_shows_or_its_end(
        items in listing(120),
        asked in 1_usize..=10,
        given in 1_usize..=10,
        drift in prop::collection::vec(-3_i64..=3, 1..8),
    ) {
        run(async {
            let world = World::new(Spotify::showing(1, 1).await).await
                .set("SPOTIFY_SEARCH_PAGE_SIZE", &asked.to_string());
            let listed = values(&items, show);
            let mut calls = 0;
            world.spotify.stub.on(move |call| {
                if call.path != "/v1/search" {
                    return Act::Pass;
                }
                calls += 1;
                let shown = piece(&listed, call.number("offset"), call.number("limit").min(given));
                // Totals drift about the truth if there are more shows than the table holds.
                let drift = if listed.len() < 60 { 0 } else { drift[calls % drift.len()] };
                search_page(shown, listed.len().saturating_add_signed(drift as isize))
            });
            let told = world.app().await.push(&table("podcasts")).await;
            let mut expected = distinct(&items);
            expected.truncate(50);
            if expected.is_empty() {
                return is_left_as_it_was(&world, &told, items.len());
            }
            prop_assert_eq!(told.told(), (204, "loaded"));
            let expected = podcast_rows(&values(&expected, show));
            prop_assert_eq!(world.bigquery.rows(PODCASTS), expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_show_is_read_whole_whatever_its_pages(
        items in listing(230),
        given in prop::collection::vec(1_usize..=50, 1..6),
        side_by_side in 1_usize..=8,
    ) {
        run(async {
            let world = World::new(Spotify::showing(1, 1).await).await
                .set("SPOTIFY_CONCURRENT_CALLS", &side_by_side.to_string());
            let listed = values(&items, episode);
            world.spotify.stub.on(move |call| {
                if !call.path.ends_with("/episodes") {
                    return Act::Pass;
                }
                let offset = call.number("offset");
                let limit = call.number("limit").min(given[offset % given.len()]);
                episode_page(piece(&listed, offset, limit), listed.len())
            });
            let told = world.app().await.push(&table("episodes")).await;
            let expected = distinct(&items);
            if expected.is_empty() {
                return is_left_as_it_was(&world, &told, items.len());
            }
            prop_assert_eq!(told.told(), (204, "loaded"));
            let expected = episode_rows(&values(&expected, episode));
            prop_assert_eq!(world.bigquery.rows(EPISODES), expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_show_that_changes_is_loaded_as_it_was_at_one_time_or_not_at_all(
        length in 1_usize..200,
        // At which call, and whether an episode comes or one goes, and which.
        changes in prop::collection::btree_map(0_usize..16, (any::<bool>(), 0_usize..200), 0..4),
    ) {
        run(async {
            let mut states = vec![(0..length).map(|n| Some(1000 + n)).collect::<Vec<_>>()];
            for (n, (comes, at)) in changes.values().enumerate() {
                let mut state = states[n].clone();
                if *comes {
                    state.insert(0, Some(n));
                } else if state.len() > 1 {
                    state.remove(at % state.len());
                }
                states.push(state);
            }
            // One call at a time, so that every state is seen by a call of the reading it falls in.
            let world = World::new(Spotify::showing(1, 1).await).await
                .set("SPOTIFY_CONCURRENT_CALLS", "1");
            let calls = Arc::new(Mutex::new(0));
            let shown = states.clone();
            world.spotify.stub.on(move |call| {
                if !call.path.ends_with("/episodes") {
                    return Act::Pass;
                }
                let mut calls = calls.lock().unwrap();
                let state = &shown[changes.range(..*calls).count()];
                *calls += 1;
                let listed = values(state, episode);
                episode_page(piece(&listed, call.number("offset"), call.number("limit")), listed.len())
            });
            let told = world.app().await.push(&table("episodes")).await;
            if told.status == 204 {
                let rows = world.bigquery.rows(EPISODES);
                let was = states.iter().any(|state| rows == episode_rows(&values(state, episode)));
                prop_assert!(was, "{} rows of no state", rows.len());
            } else {
                prop_assert_eq!(told.told(), (503, "retry listing_incomplete"));
                prop_assert!(world.bigquery.accepted().is_empty());
            }
            Ok(())
        })?;
    }
}
