//! Load jobs that run for a while, fail after they were accepted, or were sent by another delivery.

use serde_json::json;

use crate::support::bigquery::Fate;
use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::Act;
use crate::support::{App, EPISODES, World, table};

async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let app = world.app().await;
    (world, app)
}

fn assert_loaded(world: &World, loads: u32) {
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, loads);
}

/// Lets the first `times` jobs fail for this reason.
fn failing(times: usize, reason: &'static str) -> impl FnMut(&str) -> Fate + Send {
    let mut left = times;
    move |_| {
        let fails = (left > 0).then_some(reason);
        left = left.saturating_sub(1);
        Fate { fails, polls: 1 }
    }
}

const INVALID_ROWS: &str =
    "invalid: Error while reading data, error message: JSON table encountered too many errors";

fn job_numbers(world: &World) -> Vec<String> {
    let ids = world.bigquery.accepted();
    ids.iter().map(|id| id.rsplit('_').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_job_that_runs_for_a_while_is_waited_for() {
    let (world, app) = ready().await;
    world.bigquery.fate(|_| Fate { polls: 6, fails: None });
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_loaded(&world, 1);
    // The response to the upload counts as the first poll.
    assert_eq!(world.bigquery.stub.calls_to("GET", "/projects/p1/jobs/").len(), 7);
}

#[tokio::test]
async fn a_job_with_a_transient_failure_is_followed_by_the_next_number() {
    for reason in ["backendError", "internalError", "stopped", "rateLimitExceeded", "newReason"] {
        let (world, app) = ready().await;
        world.bigquery.fate(failing(2, reason));
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{reason}");
        assert_loaded(&world, 1);
        assert_eq!(job_numbers(&world), ["0", "1", "2"], "{reason}");
    }
}

#[tokio::test]
async fn a_message_whose_jobs_keep_failing_is_redelivered_and_continues_the_numbers() {
    let (world, app) = ready().await;
    world.bigquery.fate(failing(6, "backendError"));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert!(response.detail().contains("backendError: simulated"), "{}", response.detail());
    assert_eq!(job_numbers(&world), ["0", "1", "2", "3", "4"]);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(job_numbers(&world), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_loaded(&world, 1);
}

#[tokio::test]
async fn a_delivery_without_knowledge_of_earlier_failures_continues_the_numbers_too() {
    // A duplicate may have delivery attempt 1 although jobs of its message have failed.
    for attempt in [Some(1), None] {
        let (world, app) = ready().await;
        world.bigquery.fate(failing(5, "backendError"));
        let push = table("episodes");
        assert_eq!(app.push(&push).await.status, 503);
        let again = crate::support::Push { attempt, ..push };
        assert_eq!(app.push(&again).await.result(), (204, "loaded"));
        assert_loaded(&world, 1);
        assert_eq!(job_numbers(&world).last().unwrap(), "5");
    }
}

#[tokio::test]
async fn an_exceeded_job_quota_is_answered_with_retry_after() {
    let (world, app) = ready().await;
    world.bigquery.fate(failing(1, "quotaExceeded"));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(
        (response.result(), response.retry_after),
        ((503, "retry warehouse_unavailable"), Some(600))
    );
    assert_eq!(job_numbers(&world), ["0"]);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_loaded(&world, 1);
}

#[tokio::test]
async fn a_denied_job_is_retried_until_the_operator_fixes_the_cause() {
    for (reason, outcome) in [
        ("accessDenied", "retry warehouse_denied"),
        ("billingTierLimitExceeded", "retry load_refused"),
    ] {
        let (world, app) = ready().await;
        world.bigquery.fate(failing(1, reason));
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, outcome));
        assert!(response.detail().contains(reason), "{}", response.detail());
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
        assert_loaded(&world, 1);
    }
}

#[tokio::test]
async fn rows_that_are_invalid_for_the_expected_columns_are_a_dead_letter() {
    let (world, app) = ready().await;
    app.push(&table("episodes")).await;
    world.bigquery.fate(failing(9, INVALID_ROWS));
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (204, "dead_lettered invalid_rows"));
    let letter = &world.pubsub.published("letters")[0];
    assert_eq!(letter.data, push.data.as_bytes());
    let job = world.bigquery.accepted()[1].clone();
    for part in [EPISODES, INVALID_ROWS, &job] {
        assert!(letter.attributes["detail"].contains(part), "{letter:?}");
    }
    assert_loaded(&world, 1);
}

#[tokio::test]
async fn a_load_that_fails_because_its_table_was_dropped_is_retried() {
    let (world, app) = ready().await;
    app.push(&table("episodes")).await;
    // Drop it between its check and the load.
    let state = std::sync::Arc::clone(&world.bigquery.state);
    let mut dropped = false;
    world.bigquery.stub.on(move |call| {
        if call.path.contains("/upload/") && !std::mem::replace(&mut dropped, true) {
            state.lock().unwrap().tables.remove(EPISODES);
        }
        Act::Pass
    });
    world.bigquery.fate(failing(1, "invalid"));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert!(response.detail().contains("was dropped"), "{}", response.detail());
    assert!(world.pubsub.published("letters").is_empty());
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES).len(), 60);
}

#[tokio::test]
async fn a_table_with_other_columns_is_not_touched_until_it_is_fixed() {
    let (world, app) = ready().await;
    let other_columns = json!({"fields": [
        {"name": "id", "type": "STRING"}, {"name": "nome", "type": "STRING"},
        {"name": "duration_ms", "type": "STRING"},
    ]});
    let other = crate::support::bigquery::Table {
        schema: other_columns,
        rows: vec![json!({"id": "other"})],
        ..Default::default()
    };
    world.bigquery.state.lock().unwrap().tables.insert(EPISODES.to_owned(), other);
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry foreign_columns"));
    for difference in [
        "name is missing",
        "duration_ms is STRING, expected INTEGER",
        "unexpected column nome STRING",
    ] {
        assert!(response.detail().contains(difference), "{}", response.detail());
    }
    assert!(world.pubsub.published("letters").is_empty());
    assert!(world.bigquery.accepted().is_empty(), "no load is tried");
    assert_eq!(world.bigquery.rows(EPISODES), [json!({"id": "other"})]);

    world.bigquery.state.lock().unwrap().tables.remove(EPISODES);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_loaded(&world, 1);
}

#[tokio::test]
async fn a_running_job_of_an_earlier_delivery_is_waited_for() {
    let (world, app) = ready().await;
    world.bigquery.fate(|_| Fate { polls: 8, fails: None });
    let push = table("episodes");
    // The first delivery's time is up while its job runs.
    let mut config = world.config();
    config.timing.first_poll_delay = std::time::Duration::from_secs(60);
    config.timing.message_deadline = std::time::Duration::from_secs(4);
    let impatient = App::start(config).await;
    let response = impatient.push(&push).await;
    assert_eq!(response.result(), (503, "retry deadline_passed"));
    let job = world.bigquery.accepted()[0].clone();
    let progress = format!("the load job {job} has been PENDING since 2025-11-25T09:00:00Z");
    assert!(response.detail().contains(&progress), "{}", response.detail());

    let read = world.spotify.api_calls().len();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "already_loaded"));
    assert_eq!(world.spotify.api_calls().len(), read, "Spotify is not read again");
    assert_loaded(&world, 1);
}

#[tokio::test]
async fn a_pending_job_is_named_on_each_delivery() {
    let (world, _) = ready().await;
    world.bigquery.fate(|_| Fate { polls: u32::MAX, fails: None });
    let mut config = world.config();
    config.timing.message_deadline = std::time::Duration::from_secs(3);
    let app = App::start(config).await;
    let push = table("episodes");
    for attempt in [Some(1), Some(2), None] {
        let log = Log::start();
        let again = crate::support::Push { attempt, ..push.clone() };
        let response = app.push(&again).await;
        assert_eq!(
            response.result(),
            (503, "retry deadline_passed"),
            "{attempt:?}: {}",
            response.body
        );
        let job = world.bigquery.accepted()[0].clone();
        let progress = format!("the load job {job} has been PENDING since 2025-11-25T09:00:00Z");
        assert!(response.detail().contains(&progress), "{}", response.detail());
        assert!(
            response.body["advice"].as_str().unwrap().contains("bq cancel"),
            "{}",
            response.body
        );
        let line = log.outcome(&push.id);
        assert_eq!(line["job_id"], job);
        assert_ne!(line["load_ms"], "0", "{line:?}");
    }
    assert_eq!(world.bigquery.accepted().len(), 1, "a second load was sent while one was pending");
}

#[tokio::test]
async fn a_completed_job_is_found_at_any_delivery_attempt() {
    let (world, app) = ready().await;
    let push = table("episodes");
    app.push(&push).await;
    for attempt in [Some(1), Some(2), Some(40), None] {
        let again = crate::support::Push { attempt, ..push.clone() };
        assert_eq!(world.app().await.push(&again).await.result(), (204, "already_loaded"));
    }
    assert_loaded(&world, 1);
    assert_eq!(world.bigquery.accepted().len(), 1);
}

#[tokio::test]
async fn a_table_that_is_dropped_during_a_load_is_created_again() {
    let (world, app) = ready().await;
    world.bigquery.fate(failing(1, "notFound"));
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (503, "retry warehouse_unavailable"));
    world.bigquery.state.lock().unwrap().tables.remove(EPISODES);
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_loaded(&world, 1);
    // The service created it both times, with the description that a load job can't set.
    assert_eq!(world.bigquery.stub.calls_to("POST", "/datasets/spotify_podcasts/tables").len(), 2);
    assert!(world.bigquery.table(EPISODES).unwrap().description.is_string());
}
