//! Listings of any length, with pages of any size and nulls anywhere, over HTTP: the table is complete and
//! in order, or it is not loaded. Wrong totals and `next` are left to src/extraction/listing/tests.rs.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use serde_json::Value;

use crate::support::spotify::{
    Spotify, episode, episode_page, episode_rows, piece, podcast_rows, search_page, show,
};
use crate::support::wire::Act;
use crate::support::{Answer, EPISODES, PODCASTS, World, table};

/// The items of a listing: numbers of shows or episodes, some of them null.
fn listing(longest: usize) -> impl Strategy<Value = Vec<Option<usize>>> {
    prop::collection::vec(prop::bool::weighted(0.95), 0..longest).prop_map(|shown| {
        shown.into_iter().enumerate().map(|(at, shown)| shown.then_some(1000 + at)).collect()
    })
}

fn values(items: &[Option<usize>], value: impl Fn(usize) -> Value) -> Vec<Value> {
    items.iter().map(|item| item.map_or(Value::Null, &value)).collect()
}

fn without_nulls(items: &[Option<usize>]) -> Vec<Option<usize>> {
    items.iter().copied().filter(Option::is_some).collect()
}

/// Returns whether no page of at least `shortest` items is only or mostly null. Two pages of nulls look like
/// the end of a listing whose total is wrong.
fn is_plain(items: &[Option<usize>], shortest: usize) -> bool {
    let nulls = |page: &[Option<usize>]| page.iter().filter(|item| item.is_none()).count();
    items.windows(shortest).all(|page| nulls(page) < shortest)
        && items.windows(10).all(|page| nulls(page) <= 5)
}

/// Checks the table of a listing with pages of nulls: apart from those it is within tolerance, or it is not
/// loaded.
fn check_tolerance(
    world: &World,
    answer: &Answer,
    table: &str,
    expected: &[Value],
    (most, tolerated): (usize, usize),
) -> Result<(), TestCaseError> {
    if answer.status != 204 {
        prop_assert_eq!(answer.result(), (503, "retry listing_incomplete"));
        prop_assert!(world.bigquery.accepted().is_empty());
        return Ok(());
    }
    prop_assert_eq!(answer.result(), (204, "loaded"));
    let rows = world.bigquery.rows(table);
    let mut left = expected.iter();
    prop_assert!(
        rows.iter().all(|row| left.any(|expected| expected == row)),
        "rows that Spotify did not show, or in another order"
    );
    let lacks = expected.len().min(most).saturating_sub(rows.len());
    prop_assert!(lacks <= tolerated.max(2), "{} of {} rows are missing", lacks, expected.len());
    Ok(())
}

/// Runs a case on a runtime of its own.
fn run<F: Future<Output = Result<(), TestCaseError>>>(case: F) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case)
}

/// Checks that a listing without rows is not loaded.
fn check_not_loaded(world: &World, answer: &Answer, items: usize) -> Result<(), TestCaseError> {
    let expected = if items == 0 {
        (204, "dead_lettered no_results")
    } else {
        (503, "retry listing_incomplete")
    };
    prop_assert_eq!(answer.result(), expected);
    prop_assert!(world.bigquery.accepted().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn a_search_is_read_up_to_fifty_shows_or_its_end(
        items in listing(120),
        page_size in 1_usize..=10,
        longest_page in 1_usize..=10,
        drift in prop::collection::vec(-3_i64..=3, 1..8),
    ) {
        run(async {
            let world = World::new(Spotify::showing(1, 1).await).await
                .set("SPOTIFY_SEARCH_PAGE_SIZE", &page_size.to_string());
            let listed = values(&items, show);
            let mut calls = 0;
            world.spotify.stub.on(move |call| {
                if call.path != "/v1/search" {
                    return Act::Pass;
                }
                calls += 1;
                let shown = piece(&listed, call.number("offset"), call.number("limit").min(longest_page));
                // Totals drift if there are more shows than the table holds.
                let drift = if listed.len() < 60 { 0 } else { drift[calls % drift.len()] };
                search_page(shown, listed.len().saturating_add_signed(drift as isize))
            });
            let answer = world.app().await.push(&table("podcasts")).await;
            let expected = without_nulls(&items);
            if expected.is_empty() {
                return check_not_loaded(&world, &answer, items.len());
            }
            let drifts = items.len() >= 60 && expected.len() < 50;
            let mut expected = podcast_rows(&values(&expected, show));
            if drifts || !is_plain(&items, page_size.min(longest_page)) {
                return check_tolerance(&world, &answer, PODCASTS, &expected, (50, 5));
            }
            expected.truncate(50);
            prop_assert_eq!(answer.result(), (204, "loaded"));
            prop_assert_eq!(world.bigquery.rows(PODCASTS), expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_show_is_read_whole_with_pages_of_any_length(
        items in listing(230),
        page_lengths in prop::collection::vec(1_usize..=50, 1..6),
        concurrent_calls in 1_usize..=8,
    ) {
        run(async {
            let world = World::new(Spotify::showing(1, 1).await).await
                .set("SPOTIFY_CONCURRENT_CALLS", &concurrent_calls.to_string());
            let listed = values(&items, episode);
            let shortest = page_lengths.iter().copied().min().unwrap_or(1);
            world.spotify.stub.on(move |call| {
                if !call.path.ends_with("/episodes") {
                    return Act::Pass;
                }
                let offset = call.number("offset");
                let limit = call.number("limit").min(page_lengths[offset % page_lengths.len()]);
                episode_page(piece(&listed, offset, limit), listed.len())
            });
            let answer = world.app().await.push(&table("episodes")).await;
            let expected = without_nulls(&items);
            if expected.is_empty() {
                return check_not_loaded(&world, &answer, items.len());
            }
            let expected = episode_rows(&values(&expected, episode));
            if !is_plain(&items, shortest) {
                return check_tolerance(&world, &answer, EPISODES, &expected, (usize::MAX, items.len() / 50));
            }
            prop_assert_eq!(answer.result(), (204, "loaded"));
            prop_assert_eq!(world.bigquery.rows(EPISODES), expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_show_that_changes_is_loaded_in_one_of_its_states_or_not_at_all(
        length in 1_usize..200,
        // The call before which an episode is added or removed, which of both, and which episode.
        changes in prop::collection::btree_map(0_usize..16, (any::<bool>(), 0_usize..200), 0..4),
    ) {
        run(async {
            let mut states = vec![(0..length).map(|n| Some(1000 + n)).collect::<Vec<_>>()];
            for (n, (is_added, at)) in changes.values().enumerate() {
                let mut state = states[n].clone();
                if *is_added {
                    state.insert(0, Some(n));
                } else if state.len() > 1 {
                    state.remove(at % state.len());
                }
                states.push(state);
            }
            // One call at a time, so that each call shows one state.
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
            let answer = world.app().await.push(&table("episodes")).await;
            if answer.status == 204 {
                let rows = world.bigquery.rows(EPISODES);
                let is_a_state = states.iter().any(|state| rows == episode_rows(&values(state, episode)));
                prop_assert!(is_a_state, "{} rows are no state of the show", rows.len());
            } else {
                prop_assert_eq!(answer.result(), (503, "retry listing_incomplete"));
                prop_assert!(world.bigquery.accepted().is_empty());
            }
            Ok(())
        })?;
    }
}
