//! Each failure of BigQuery's calls on its own: the response to the push, what the next delivery does, and
//! that the table is replaced once or not at all.

use std::time::Duration;

use crate::support::bigquery::{Fate, error_body};
use crate::support::spotify::{Spotify, catalog_with};
use crate::support::wire::{Act, Fault, answer};
use crate::support::{App, World, table};

const ATTEMPTS: usize = 5;

/// Returns a service that has loaded the episodes once.
async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let mut config = world.config();
    config.timing.google_call_timeout = Duration::from_millis(1500);
    config.timing.upload_timeout = Duration::from_millis(1500);
    let app = App::start(config).await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    (world, app)
}

fn google(status: u16, reason: &'static str) -> impl Fn() -> Act + Send + Clone + 'static {
    move || answer(status, &error_body(status, reason, "simulated"))
}

/// Failures that are retried within one delivery.
fn transient() -> Vec<(&'static str, Fault)> {
    vec![
        ("503", || answer(503, &error_body(503, "backendError", "Backend Error"))),
        ("500", || answer(500, &error_body(500, "internalError", "Internal"))),
        ("502 with HTML", || answer(502, "<html>Bad Gateway</html>")),
        ("504 with nothing", || answer(504, "")),
        ("429", || answer(429, &error_body(429, "rateLimitExceeded", "Too fast"))),
        ("403 rateLimitExceeded", || answer(403, &error_body(403, "rateLimitExceeded", "fast"))),
        ("403 jobRateLimitExceeded", || {
            answer(403, &error_body(403, "jobRateLimitExceeded", "fast"))
        }),
        ("200 with HTML", || answer(200, "<html>")),
        ("a closed connection", || Act::Cut),
        ("no response", || Act::Hang),
    ]
}

#[tokio::test]
async fn an_upload_with_a_transient_failure_is_retried_with_the_same_job_id() {
    for (name, fault) in transient() {
        let (world, app) = ready().await;
        world.bigquery.stub.next(ATTEMPTS - 1, "/upload/", fault);
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{name}");
        assert_eq!((world.episode_loads(), world.bigquery.accepted().len()), (2, 2), "{name}");
        assert!(world.bigquery.accepted()[1].ends_with("_0"), "{name}");
    }
}

#[tokio::test]
async fn a_message_is_redelivered_if_all_uploads_fail() {
    for (name, fault) in transient() {
        let (world, app) = ready().await;
        world.bigquery.stub.always("/upload/", fault);
        let push = table("episodes");
        assert_eq!(app.push(&push).await.result(), (503, "retry warehouse_unavailable"), "{name}");
        let uploads = world.bigquery.stub.calls_to("POST", "/upload/").len();
        assert_eq!((world.episode_loads(), uploads), (1, 1 + ATTEMPTS), "{name}");
        world.bigquery.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"), "{name}");
        assert_eq!(world.episode_loads(), 2, "{name}");
    }
}

#[tokio::test]
async fn an_exceeded_quota_is_answered_with_retry_after() {
    let (world, app) = ready().await;
    world.bigquery.stub.always("/upload/", google(403, "quotaExceeded"));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert_eq!(response.retry_after, Some(600));
    assert_eq!(world.bigquery.stub.calls_to("POST", "/upload/").len(), 2);
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn missing_rights_are_reported_with_the_roles() {
    for path in ["/upload/", "/tables/", "/datasets/"] {
        let world = World::new(Spotify::showing(3, 60).await).await;
        let app = world.app().await;
        world.bigquery.stub.always(path, google(403, "accessDenied"));
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry warehouse_denied"), "{path}");
        assert!(response.body["advice"].as_str().unwrap().contains("roles/bigquery.jobUser"));
        world.bigquery.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"), "{path}");
        assert_eq!(world.episode_loads(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_missing_dataset_is_named_and_the_message_retried() {
    let (world, app) = ready().await;
    let fresh = world.app().await;
    world.bigquery.state.lock().unwrap().dataset = false;
    for app in [&app, &fresh] {
        let response = app.push(&table("episodes")).await;
        assert_eq!(response.result(), (503, "retry dataset_missing"));
        assert!(response.detail().contains("p1.spotify_podcasts"), "{}", response.detail());
    }
    world.bigquery.state.lock().unwrap().dataset = true;
    assert_eq!(fresh.push(&table("episodes")).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn lookups_with_a_transient_failure_are_retried() {
    for (name, fault) in transient() {
        for path in ["/datasets/", "/tables/", "/projects/p1/jobs/"] {
            let world = World::new(Spotify::showing(1, 5).await).await;
            let mut config = world.config();
            config.timing.google_call_timeout = Duration::from_millis(1500);
            let app = App::start(config).await;
            world.bigquery.fate(|_| Fate { polls: 2, fails: None });
            world.bigquery.stub.next(2, path, fault);
            let response = app.push(&table("episodes")).await;
            assert_eq!(response.result(), (204, "loaded"), "{name} at {path}: {response:?}");
            assert_eq!(world.episode_loads(), 1, "{name} at {path}");
        }
    }
}

#[tokio::test]
async fn a_message_is_redelivered_if_all_lookups_fail() {
    for path in ["/datasets/", "/tables/", "/projects/p1/jobs/"] {
        let world = World::new(Spotify::showing(1, 5).await).await;
        let app = world.app().await;
        world.bigquery.fate(|_| Fate { polls: 2, fails: None });
        world.bigquery.stub.always(path, || answer(502, "<html>Bad Gateway</html>"));
        let push = table("episodes");
        assert_eq!(app.push(&push).await.result(), (503, "retry warehouse_unavailable"), "{path}");
        world.bigquery.stub.heal();
        let again = app.push(&push.again(2)).await;
        assert_eq!(again.status, 204, "{path}: {again:?}");
        assert_eq!(world.episode_loads(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_table_that_another_process_creates_first_is_loaded() {
    let world = World::new(Spotify::showing(1, 5).await).await;
    let app = world.app().await;
    let conflict = google(409, "duplicate");
    world.bigquery.stub.on(move |call| match call.method.as_str() {
        "POST" if call.path.ends_with("/tables") => conflict(),
        _ => Act::Pass,
    });
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn an_insert_that_is_rejected_with_400_because_the_job_exists_is_not_a_failure() {
    let (world, app) = ready().await;
    let push = table("episodes");
    assert_eq!(world.app().await.push(&push).await.result(), (204, "loaded"));
    world.bigquery.stub.always("/upload/", google(400, "invalid"));
    assert_eq!(app.push(&push).await.result(), (204, "already_loaded"));
    assert_eq!(world.episode_loads(), 2);
}

#[tokio::test]
async fn a_rejected_insert_is_retried_until_the_operator_fixes_the_cause() {
    let (world, app) = ready().await;
    world.bigquery.stub.always("/upload/", google(400, "invalid"));
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry load_refused"));
    assert!(response.detail().contains("400 invalid simulated"), "{}", response.detail());
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.episode_loads(), 2);
}

#[tokio::test]
async fn each_cause_of_a_rejected_insert_has_its_own_advice() {
    let cases: [(u16, &str, &str, &str, &str); 7] = [
        (400, "tableUnavailable", "Table is unavailable", "warehouse_unavailable", "status.cloud"),
        (400, "resourceInUse", "in use", "warehouse_unavailable", "status.cloud"),
        (403, "userRateLimitExceeded", "fast", "warehouse_unavailable", "status.cloud"),
        (
            403,
            "accessNotConfigured",
            "BigQuery API has not been used in project 1 before or it is disabled",
            "warehouse_denied",
            "gcloud services enable",
        ),
        (
            403,
            "accessDenied",
            "VPC Service Controls: Request is prohibited by organization's policy",
            "warehouse_denied",
            "perimeter",
        ),
        (
            403,
            "billingNotEnabled",
            "Billing has not been enabled for this project",
            "load_refused",
            "billing account",
        ),
        (403, "accessDenied", "bigquery.jobs.create denied", "warehouse_denied", "roles/"),
    ];
    for (status, reason, words, outcome, advice) in cases {
        let (world, app) = ready().await;
        let body = error_body(status, reason, words);
        world.bigquery.stub.always("/upload/", move || answer(status, &body));
        let push = table("episodes");
        let response = app.push(&push).await;
        assert_eq!(
            (response.status, response.outcome),
            (503, format!("retry {outcome}")),
            "{words}"
        );
        let uploads = world.bigquery.stub.calls_to("POST", "/upload/").len() - 1;
        let expected = if outcome == "warehouse_unavailable" { ATTEMPTS } else { 1 };
        assert_eq!(uploads, expected, "{words}");
        assert!(response.body["detail"].as_str().unwrap().contains(words), "{}", response.body);
        assert!(response.body["advice"].as_str().unwrap().contains(advice), "{}", response.body);
        world.bigquery.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"), "{words}");
        assert_eq!(world.episode_loads(), 2);
    }
}

#[tokio::test]
async fn the_status_decides_if_the_body_is_not_json_or_lacks_the_errors() {
    let bodies = ["<html>Error</html>", "", r#"{"error":{"code":0,"message":"words"}}"#];
    for (status, outcome) in [
        (403, "retry warehouse_denied"),
        (400, "retry load_refused"),
        (503, "retry warehouse_unavailable"),
        (404, "retry dataset_missing"),
    ] {
        for body in bodies {
            let world = World::new(Spotify::showing(1, 5).await).await;
            world.bigquery.stub.always("/datasets/spotify_podcasts", move || answer(status, body));
            let response = world.app().await.push(&table("episodes")).await;
            assert_eq!(response.result(), (503, outcome), "{body}");
            assert!(response.detail().contains(&status.to_string()), "{}", response.detail());
            assert_eq!(response.detail().contains("words"), body.contains("words"));
        }
    }
}

#[tokio::test]
async fn an_upload_session_on_another_host_is_not_used() {
    let large = catalog_with(120, &"x".repeat(60_000));
    let world = World::new(Spotify::start(large).await).await;
    let app = world.app().await;
    let elsewhere = World::new(Spotify::showing(1, 1).await).await;
    let url = format!("{}/upload/steal", elsewhere.bigquery.stub.url);
    world.bigquery.stub.on(move |call| match call.query("uploadType") {
        "resumable" if call.method == "POST" => {
            crate::support::wire::answer_with(200, &[("location", &url)], "")
        }
        _ => Act::Pass,
    });
    let response = app.push(&table("episodes")).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert!(elsewhere.bigquery.stub.calls().is_empty());
}
