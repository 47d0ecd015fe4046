//! Denials of BigQuery are remembered for a while. Meanwhile the service checks the table before it reads
//! Spotify, or makes no call at all if a load job was denied.

use std::time::Duration;

use serde_json::json;

use crate::support::bigquery::{Fate, Table, error_body};
use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::{Act, answer};
use crate::support::{App, EPISODES, MENTIONS, Push, World, message, table, until};

/// Returns a service that remembers denials for `memory`.
async fn ready(memory: Duration) -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let mut config = world.config();
    config.timing.denial_ttl = memory;
    let app = App::start(config).await;
    (world, app)
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

fn calls(world: &World) -> (usize, usize) {
    (world.spotify.stub.calls().len(), world.bigquery.stub.calls().len())
}

fn foreign() -> Table {
    Table { schema: json!({"fields": [{"name": "x", "type": "STRING"}]}), ..Table::default() }
}

#[tokio::test]
async fn a_table_with_other_columns_is_checked_before_spotify_is_read() {
    for other in [foreign(), Table { r#type: Some("VIEW"), ..Table::default() }] {
        let (world, app) = ready(LONG).await;
        world.bigquery.state.lock().unwrap().tables.insert(EPISODES.to_owned(), other);
        let push = table("episodes");
        let log = Log::start();
        assert_eq!(app.push(&push).await.status, 503);
        let line = log.outcome(&push.id);
        assert!(
            line["message"]
                .contains("the service checks the table before it reads Spotify until 20"),
            "{line:?}"
        );
        let (spotify, _) = calls(&world);
        for attempt in 2..6 {
            let response = app.push(&push.again(attempt)).await;
            assert_eq!((response.status, response.retry_after), (503, None), "a check is cheap");
        }
        assert_eq!(app.push(&table("episodes")).await.status, 503, "all messages for the table");
        assert_eq!(calls(&world).0, spotify, "Spotify was read for a table that can't be loaded");
        assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"), "only that table");

        world.bigquery.state.lock().unwrap().tables.remove(EPISODES);
        assert_eq!(app.push(&push.again(6)).await.result(), (204, "loaded"), "it was checked");
        assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
        assert!(world.bigquery.table(EPISODES).unwrap().description.is_string());
        assert!(checks_concurrently(&world, &app).await, "a success ends the denial");
    }
}

/// Returns whether the table of episodes is checked while Spotify does not respond.
async fn checks_concurrently(world: &World, app: &App) -> bool {
    let held = world.spotify.stub.hold("/episodes");
    let (before, _) = calls(world);
    let checks = || world.bigquery.stub.calls_to("GET", "/tables/").len();
    let checked = checks();
    let push = table("episodes");
    let (response, ()) = futures_util::future::join(app.push(&push), async {
        until(|| checks() > checked && calls(world).0 != before).await;
        held.cancel();
    })
    .await;
    world.spotify.stub.heal();
    response.outcome == "loaded"
}

#[tokio::test]
async fn a_table_that_may_not_be_created_is_retried_before_spotify_is_read() {
    let (world, app) = ready(LONG).await;
    let body = error_body(403, "accessDenied", "Access Denied: Dataset p1:spotify_podcasts");
    world.bigquery.stub.on(move |call| match call.method.as_str() {
        "POST" if call.path.ends_with("/tables") => answer(403, &body),
        _ => Act::Pass,
    });
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (503, "retry warehouse_denied"));
    let (spotify, _) = calls(&world);
    assert_eq!(app.push(&push.again(2)).await.result(), (503, "retry warehouse_denied"));
    assert_eq!(calls(&world).0, spotify);
    assert_eq!(world.bigquery.stub.calls_to("POST", "/tables").len(), 2, "it was checked");
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(3)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_missing_dataset_is_looked_up_before_spotify_is_read_for_any_table() {
    let (world, app) = ready(LONG).await;
    world.bigquery.state.lock().unwrap().dataset = false;
    assert_eq!(app.push(&table("episodes")).await.result(), (503, "retry dataset_missing"));
    let (spotify, _) = calls(&world);
    for name in ["podcasts", "episodes", "mentions"] {
        assert_eq!(app.push(&table(name)).await.result(), (503, "retry dataset_missing"));
    }
    assert_eq!(calls(&world).0, spotify);
    world.bigquery.state.lock().unwrap().dataset = true;
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
}

/// Denials of load jobs: status, reason, message, and whether they apply to all tables.
const LOAD_JOB_DENIALS: [(u16, &str, &str, bool); 6] = [
    (403, "accessDenied", "Access Denied: Project p1: bigquery.jobs.create denied", true),
    (403, "accessDenied", "Access Denied: Table p1:d.t: bigquery.tables.updateData denied", false),
    (403, "quotaExceeded", "Quota exceeded: Your project exceeded quota for load jobs", true),
    (403, "quotaExceeded", "Quota exceeded: Your table exceeded quota for imports", false),
    (403, "billingNotEnabled", "Billing has not been enabled for this project", true),
    (400, "invalid", "Incompatible table partitioning specification", false),
];

#[tokio::test]
async fn a_denied_load_job_is_not_repeated_until_the_denial_expires() {
    for (status, reason, words, shared) in LOAD_JOB_DENIALS {
        let (world, app) = ready(LONG).await;
        let body = error_body(status, reason, words);
        world.bigquery.stub.always("/upload/", move || answer(status, &body));
        let push = table("episodes");
        let first = app.push(&push).await;
        assert_eq!(first.status, 503);
        assert!(first.detail().contains("no load is tried before 20"), "{}", first.detail());
        world.bigquery.stub.heal();
        let before = calls(&world);
        let again = app.push(&push.again(2)).await;
        assert_eq!(again.result(), (503, first.outcome.as_str()), "{words}");
        assert!(again.detail().contains(words), "{}", again.detail());
        assert!((3000..7300).contains(&again.retry_after.unwrap()), "{:?}", again.retry_after);
        assert_eq!(calls(&world), before, "{words}: a call was made");
        let other = app.push(&table("mentions")).await;
        assert_eq!(other.status, if shared { 503 } else { 204 }, "{words}");
        assert_eq!(world.bigquery.table(MENTIONS).is_none(), shared);
    }
}

#[tokio::test]
async fn after_a_denial_expires_the_next_message_sends_a_load_job() {
    for (status, reason, words, _) in LOAD_JOB_DENIALS {
        let (world, app) = ready(Duration::from_millis(500)).await;
        let body = error_body(status, reason, words);
        world.bigquery.stub.always("/upload/", move || answer(status, &body));
        let push = table("episodes");
        assert_eq!(app.push(&push).await.status, 503);
        // A second load job is sent, and denied.
        let uploads = || world.bigquery.stub.calls_to("POST", "/upload/").len();
        let mut attempt = 1;
        while uploads() < 2 {
            attempt += 1;
            assert_eq!(app.push(&push.again(attempt)).await.status, 503);
        }
        world.bigquery.stub.heal();
        while app.push(&push.again(attempt + 1)).await.status == 503 {
            attempt += 1;
        }
        assert_eq!((uploads(), world.bigquery.table(EPISODES).unwrap().loads), (3, 1), "{words}");
    }
}

#[tokio::test]
async fn a_failed_job_is_remembered_like_a_rejected_insert() {
    for fails in [
        "invalid: Provided Schema does not match Table p1:d.t. Field id has changed mode",
        "quotaExceeded: Your table exceeded quota for imports",
        "accessDenied: Access Denied: Permission denied on Cloud KMS key",
    ] {
        let (world, app) = ready(LONG).await;
        world.bigquery.fate(move |_| Fate { fails: Some(fails), polls: 0 });
        let push = table("episodes");
        assert_eq!(app.push(&push).await.status, 503);
        world.bigquery.fate(|_| Default::default());
        let before = calls(&world);
        for attempt in 2..5 {
            assert_eq!(app.push(&push.again(attempt)).await.status, 503);
        }
        assert_eq!(calls(&world), before, "{fails}");
        assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"), "{fails}");
    }
}

#[tokio::test]
async fn a_successful_load_ends_a_denial_for_all() {
    let (world, app) = ready(LONG).await;
    // One message's load is running when another's is denied.
    let held = tokio_util::sync::CancellationToken::new();
    let held_too = held.clone();
    let mut first = true;
    let body = error_body(403, "accessDenied", "Access Denied: Project p1");
    world.bigquery.stub.on(move |call| match call.path.contains("/upload/") {
        true if std::mem::take(&mut first) => Act::Held(held_too.clone()),
        true => answer(403, &body),
        false => Act::Pass,
    });
    let term = |term: &str| -> Push { message(&json!({"table": "podcasts", "search_term": term})) };
    let (slow, other) = (term("slow"), term("other"));
    let (response, ()) = futures_util::future::join(app.push(&slow), async {
        until(|| !world.bigquery.stub.calls_to("POST", "/upload/").is_empty()).await;
        assert_eq!(app.push(&other).await.result(), (503, "retry warehouse_denied"));
        held.cancel();
    })
    .await;
    assert_eq!(response.result(), (204, "loaded"));
    world.bigquery.stub.heal();
    assert_eq!(app.push(&other.again(2)).await.result(), (204, "loaded"));
}
