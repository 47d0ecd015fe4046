//! Concurrent messages: the same one twice, two for one table, more than may run at the same time, and one
//! whose deadline passes.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;

use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode_rows, podcast_rows};
use crate::support::wire::Act;
use crate::support::{App, EPISODES, MENTIONS, PODCASTS, Push, World, message, table, until};

async fn world() -> World {
    World::new(Spotify::showing(3, 120).await).await
}

#[tokio::test]
async fn two_concurrent_deliveries_load_once() {
    for attempt in [Some(1), None] {
        let world = world().await;
        let app = world.app().await;
        let push = Push { attempt, ..table("episodes") };
        let (one, other) = join(app.push(&push), app.push(&push)).await;
        let mut results = [one.result(), other.result()];
        results.sort_unstable();
        assert_eq!(results, [(204, "already_loaded"), (204, "loaded")]);
        assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 1);
    }
}

#[tokio::test]
async fn concurrent_deliveries_to_many_processes_load_once() {
    let world = world().await;
    let push = table("episodes");
    let apps = join_all((0..6).map(|_| world.app())).await;
    let answers = join_all(apps.iter().map(|app| app.push(&push))).await;
    assert!(answers.iter().all(|answer| answer.status == 204), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.outcome == "loaded").count(), 1);
    assert_eq!(world.bigquery.accepted().len(), 1);
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn two_messages_for_one_table_run_one_after_the_other() {
    let world = world().await;
    let app = world.app().await;
    let held = world.bigquery.stub.hold_next(1, "/upload/");
    let pushes = [table("episodes"), table("episodes")];
    let both = join_all(pushes.iter().map(|push| app.push(push)));
    let release = async {
        // The first message uploads. The second one would have had time to read Spotify.
        until(|| !world.bigquery.stub.calls_to("POST", "/upload/").is_empty()).await;
        let other = message(&json!({"table": "podcasts"}));
        assert_eq!(app.push(&other).await.result(), (204, "loaded"), "another table does not wait");
        assert_eq!(world.spotify.readings(), 1);
        held.cancel();
    };
    let (answers, ()) = join(both, release).await;
    assert!(answers.iter().all(|answer| answer.result() == (204, "loaded")), "{answers:?}");
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 2);
}

#[tokio::test]
async fn the_table_keeps_the_latest_reading() {
    let world = world().await;
    world.spotify.grow_with_each_reading();
    // Earlier loads take longer.
    let mut uploads = 0;
    world.bigquery.stub.on(move |call| {
        if !call.path.contains("/upload/") {
            return Act::Pass;
        }
        uploads += 1;
        Act::Late(Duration::from_millis(100 / uploads))
    });
    let app = world.app().await;
    let pushes: Vec<Push> = (0..5).map(|_| table("episodes")).collect();
    let answers = join_all(pushes.iter().map(|push| app.push(push))).await;
    assert!(answers.iter().all(|answer| answer.result() == (204, "loaded")), "{answers:?}");
    assert_eq!(world.bigquery.rows(EPISODES).len(), 105);
}

#[tokio::test]
async fn max_concurrent_messages_run_at_once_and_the_rest_wait() {
    let world = world().await.set("MAX_CONCURRENT_MESSAGES", "4");
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    let held = world.bigquery.stub.hold("/upload/");
    let pushes: Vec<Push> = (0..6)
        .map(|n| message(&json!({"table": "podcasts", "search_term": format!("term {n}")})))
        .collect();
    let uploads = || world.bigquery.stub.calls_to("POST", "/upload/").len() - 1;
    let release = async {
        until(|| uploads() >= 4).await;
        // A message without a slot has not started.
        let terms: std::collections::HashSet<String> =
            world.spotify.api_calls().iter().map(|call| call.query("q").to_owned()).collect();
        assert_eq!((uploads(), terms.len()), (4, 1 + 4), "{terms:?}");
        held.cancel();
    };
    let (answers, ()) = join(join_all(pushes.iter().map(|push| app.push(push))), release).await;
    assert!(answers.iter().all(|answer| answer.result() == (204, "loaded")), "{answers:?}");
    assert_eq!(uploads(), 6);
}

#[tokio::test]
async fn a_message_that_waits_for_its_table_takes_no_slot() {
    let world = world().await.set("MAX_CONCURRENT_MESSAGES", "2");
    let app = world.app().await;
    let held = world.spotify.stub.hold("/episodes");
    let pushes: Vec<Push> = (0..4).map(|_| table("episodes")).collect();
    let release = async {
        until(|| !world.spotify.stub.calls_to("GET", "/episodes").is_empty()).await;
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
        held.cancel();
    };
    join(join_all(pushes.iter().map(|push| app.push(push))), release).await;
    assert_eq!(world.bigquery.rows(PODCASTS), podcast_rows(&world.spotify.catalog.shows));
}

#[tokio::test]
async fn without_a_delivery_attempt_spotify_is_called_before_the_lookup_ends() {
    let world = world().await;
    let app = world.app().await;
    let lookup = world.bigquery.stub.hold_next(1, "/jobs/");
    let push = Push { attempt: None, ..table("episodes") };
    let release = async {
        until(|| !world.spotify.stub.calls_to("GET", "/v1/search").is_empty()).await;
        assert_eq!(world.bigquery.stub.calls_to("GET", "/jobs/").len(), 1);
        lookup.cancel();
    };
    let (response, ()) = join(app.push(&push), release).await;
    assert_eq!(response.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_message_whose_deadline_passes_reports_its_progress() {
    let log = Log::start();
    let world = World::new(Spotify::showing(1, 320).await).await;
    let mut config = world.config();
    config.timing.message_deadline = Duration::from_secs(4);
    // A call outlives its message, and releases its permit when it ends.
    config.timing.spotify_call_timeout = Duration::from_millis(1500);
    let app = App::start(config).await;
    let hang = |offset: usize| {
        move |call: &crate::support::wire::Call| {
            let late = call.path.ends_with("/episodes") && call.number("offset") >= offset;
            if late { Act::Hang } else { Act::Pass }
        }
    };
    world.spotify.stub.on(hang(150));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry deadline_passed"));
    assert!(
        response.detail().contains("not done within 4 s: 150 of 320 items were read in "),
        "{}",
        response.detail()
    );
    // The message was reading Spotify all the time, except for the first calls to BigQuery.
    let line = log.outcome(&push.id);
    let milliseconds = |field: &str| line[field].parse::<u64>().unwrap();
    assert!(milliseconds("extraction_ms") > milliseconds("duration_ms") / 2, "{line:?}");
    world.spotify.stub.always("/v1/search", || Act::Hang);
    let response = app.push(&table("podcasts")).await;
    assert!(response.detail().contains("0 pages were read in "), "{}", response.detail());

    world.spotify.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
}

#[tokio::test]
async fn a_client_that_disconnects_loses_nothing() {
    let world = world().await;
    let app = world.app().await;
    let held = world.spotify.stub.hold("/episodes");
    let push = table("mentions");
    tokio::select! {
        _ = app.push(&push) => unreachable!("its listing is held"),
        () = until(|| !world.spotify.stub.calls_to("GET", "/episodes").is_empty()) => {}
    }
    held.cancel();
    let response = app.push(&push.again(2)).await;
    assert_eq!(response.status, 204, "{response:?}");
    assert_eq!(world.bigquery.table(MENTIONS).unwrap().loads, 1);
}
