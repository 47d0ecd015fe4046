//! More messages than the service can process in time: those that would start too late are answered 503
//! without a call, and the others complete. Load jobs whose client disconnected.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::bigquery::Fate;
use crate::support::log::Log;
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, Call};
use crate::support::{App, EPISODES, MENTIONS, Push, World, message, table, until};

async fn world() -> World {
    World::new(Spotify::showing(3, 120).await).await
}

/// A service whose messages wait at most two seconds to start.
async fn impatient(world: &World) -> App {
    let mut config = world.config();
    config.timing.message_deadline = Duration::from_secs(8);
    App::start(config).await
}

#[tokio::test]
async fn a_message_that_would_start_too_late_is_answered_503_without_a_call() {
    let log = Log::start();
    let world = world().await.set("MAX_CONCURRENT_MESSAGES", "1");
    let app = impatient(&world).await;
    let held = world.bigquery.stub.hold_next(1, "/upload/");

    let push = table("podcasts");
    let first = app.push(&push);
    let others = async {
        until(|| !world.bigquery.stub.calls_to("POST", "/upload/").is_empty()).await;
        let read = world.spotify.stub.calls().len();
        let (same, other) = (table("podcasts"), table("episodes"));
        let answers = join(app.push(&same), app.push(&other)).await;
        for (push, answer, cause) in [
            (&same, &answers.0, "other messages for tb_datahackers_limitada are in progress"),
            (&other, &answers.1, "MAX_CONCURRENT_MESSAGES (1)"),
        ] {
            assert_eq!(answer.result(), (503, "retry overloaded"));
            assert_eq!(answer.retry_after, Some(10));
            assert!(answer.detail().contains(cause), "{}", answer.detail());
            assert_eq!(log.outcome(&push.id)["spotify_calls"], "0");
        }
        assert_eq!(world.spotify.stub.calls().len(), read);
        held.cancel();
        [same, other]
    };
    let (first, others) = join(first, others).await;
    assert_eq!(first.result(), (204, "loaded"));
    for push in others {
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}

#[tokio::test]
async fn a_message_that_waits_too_long_for_a_reading_makes_no_call() {
    let world = world().await;
    let app = impatient(&world).await;
    let held = world.spotify.stub.hold_next(1, "/episodes");
    let show = &world.spotify.catalog.shows[0]["id"];
    let push =
        |table| message(&json!({"table": table, "search_term": "data hackers", "show_id": show}));
    let mentions = push("mentions");
    let waits = async {
        until(|| !world.spotify.stub.calls_to("GET", "/episodes").is_empty()).await;
        let answer = app.push(&mentions).await;
        assert_eq!(answer.result(), (503, "retry overloaded"));
        let cause = "another message is reading the episodes of the show";
        assert!(answer.detail().contains(cause), "{}", answer.detail());
        assert_eq!(world.spotify.api_calls().len(), 1);
        held.cancel();
    };
    let episodes = push("episodes");
    let (first, ()) = join(app.push(&episodes), waits).await;
    assert_eq!(first.result(), (204, "loaded"));
    let read = world.spotify.api_calls().len();
    assert_eq!(app.push(&mentions.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.spotify.api_calls().len(), read, "it uses the other message's reading");
}

#[tokio::test]
async fn a_slow_lookup_of_earlier_jobs_leaves_no_time_to_read() {
    let world = world().await;
    let app = impatient(&world).await;
    let push = table("podcasts");
    world.bigquery.fate(|_| Fate { fails: Some("stopped"), polls: 0 });
    assert_eq!(app.push(&push).await.result(), (503, "retry warehouse_unavailable"));
    assert_eq!(world.bigquery.accepted().len(), 5);
    world.bigquery.stub.always("/jobs/", || Act::Late(Duration::from_millis(900)));
    let read = world.spotify.api_calls().len();
    let answer = app.push(&push.again(2)).await;
    assert_eq!(answer.result(), (503, "retry overloaded"));
    assert!(answer.detail().contains("an earlier load job took too long"), "{}", answer.detail());
    assert_eq!(world.spotify.api_calls().len(), read);
}

/// Pushes a message, and disconnects once `sent` holds.
async fn push_and_disconnect(app: &App, push: &Push, sent: impl Fn() -> bool) {
    tokio::select! {
        answer = app.push(push) => panic!("{answer:?}"),
        () = until(sent) => {}
    }
}

#[tokio::test]
async fn a_message_is_canceled_if_its_client_disconnects_before_the_load_job() {
    // While the table is looked up, and while it is created.
    for method in ["GET", "POST"] {
        let world = world().await;
        let app = world.app().await;
        let held = CancellationToken::new();
        let mut until_then = Some(held.clone());
        let is_held = move |call: &Call| call.method == method && call.path.contains("/tables");
        world.bigquery.stub.on(move |call| match until_then.take_if(|_| is_held(call)) {
            Some(until_then) => Act::Held(until_then),
            None => Act::Pass,
        });
        let log = Log::start();
        let push = table("episodes");
        let held_calls = || world.bigquery.stub.calls_to(method, "/tables").len();
        push_and_disconnect(&app, &push, || held_calls() > 0 && world.spotify.readings() > 0).await;
        until(|| !log.lines("message").is_empty()).await;
        held.cancel();
        assert_eq!(log.outcome(&push.id)["reason"], "client_gone");
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
        assert_eq!(world.bigquery.accepted().len(), 1, "{method}");
    }
}

#[tokio::test]
async fn an_upload_whose_client_disconnects_ends_before_the_next_reading() {
    let world = world().await;
    world.spotify.grow_with_each_reading();
    let app = world.app().await;
    let held = world.bigquery.stub.hold_next(1, "/upload/");
    let uploads = || world.bigquery.stub.calls_to("POST", "/upload/").len();
    push_and_disconnect(&app, &table("episodes"), || uploads() > 0).await;

    let next = table("episodes");
    let release = async {
        // The second message would have had time to read Spotify.
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
        assert_eq!(world.spotify.readings(), 1);
        held.cancel();
    };
    let (next, ()) = join(app.push(&next), release).await;
    assert_eq!(next.result(), (204, "loaded"));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 2);
    assert_eq!(world.bigquery.rows(EPISODES).len(), 102, "the table has the latest reading");
}

#[tokio::test]
async fn a_job_whose_client_disconnects_is_followed_and_keeps_its_table_locked() {
    for fails in [None, Some("backendError")] {
        let world = world().await;
        world.spotify.grow_with_each_reading();
        let app = world.app().await;
        let held = CancellationToken::new();
        let until_then = held.clone();
        let mut first = true;
        world.bigquery.fate(move |_| match std::mem::take(&mut first) {
            true => Fate { fails, polls: 1 },
            false => Fate::default(),
        });
        // These answers do not say whether the job has ended.
        let mut looks = 0;
        world.bigquery.stub.on(move |call| {
            if call.method != "GET" || !call.path.contains("/jobs/") {
                return Act::Pass;
            }
            looks += 1;
            match looks {
                1 => Act::Held(until_then.clone()),
                2..=8 => crate::support::wire::answer(403, "{}"),
                _ => Act::Pass,
            }
        });
        let looked = || !world.bigquery.stub.calls_to("GET", "/jobs/").is_empty();
        push_and_disconnect(&app, &table("episodes"), looked).await;

        let release = async {
            assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
            let mentions = table("mentions");
            assert_eq!(app.push(&mentions).await.result(), (204, "loaded"));
            assert_eq!(world.spotify.readings(), 1, "another table may use its reading");
            held.cancel();
        };
        let next = table("episodes");
        let (next, ()) = join(app.push(&next), release).await;
        assert_eq!(next.result(), (204, "loaded"), "{fails:?}");
        let looks = world.bigquery.stub.calls_to("GET", "/jobs/").len();
        assert!(looks > 8, "{fails:?}: {looks}");
        let accepted = world.bigquery.accepted();
        let episodes = accepted.iter().filter(|id| id.starts_with("spotify-bq_episodes"));
        assert_eq!(episodes.count(), 2, "{fails:?}: one job for each message");
        // A table that has used the reading is read again.
        let read = world.spotify.readings();
        assert!(read == 2 || fails.is_some(), "{read}");
        assert_eq!(world.bigquery.rows(EPISODES).len(), 100 + read, "{fails:?}");
        assert_eq!(world.bigquery.table(MENTIONS).unwrap().loads, 1);
    }
}

#[tokio::test]
async fn the_memory_of_long_bodies_is_limited_and_short_ones_pass() {
    let world = world().await.set("MAX_CONCURRENT_MESSAGES", "1");
    let app = world.app().await;
    let held = world.spotify.stub.hold("/v1/");
    let long = |n| Push {
        data: format!(
            "{}{}",
            json!({"table": "podcasts", "search_term": format!("term {n}")}),
            " ".repeat(700_000)
        ),
        ..table("podcasts")
    };
    // 933 kB each as base64: 17 fit in 16 MiB.
    let pushes: Vec<Push> = (0..20).map(long).collect();
    let answers = join_all(pushes.iter().map(|push| async {
        let answer = app.push(push).await;
        if answer.status == 503 {
            assert_eq!(answer.result(), (503, "retry overloaded"));
            assert_eq!(answer.retry_after, Some(10));
        }
        answer.status
    }));
    let release = async {
        until(|| !world.spotify.api_calls().is_empty()).await;
        // A short message is read.
        let list = json!({"search_term": (0..3).map(|n| format!("x {n}")).collect::<Vec<_>>()});
        assert_eq!(app.push(&message(&list)).await.result(), (204, "fanned_out"));
        held.cancel();
    };
    let (answers, ()) = join(answers, release).await;
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(204), count(503)), (17, 3));
    assert_eq!(app.push(&long(99)).await.result(), (204, "loaded"), "the memory is free again");
}
