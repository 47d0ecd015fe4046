//! Each failure of BigQuery's calls, alone: what is answered, what the next delivery then does, and
//! that the table is replaced once or left as it was.

use std::time::Duration;

use crate::support::bigquery::error_body;
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::{Act, Fault, answer};
use crate::support::{App, EPISODES, World, table};

const ATTEMPTS: usize = 5;

/// A service that has filled the table of episodes once, and is to do it again.
async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let mut config = world.config();
    config.timing.google_call_timeout = Duration::from_millis(1500);
    config.timing.upload_timeout = Duration::from_millis(1500);
    let app = App::start(config).await;
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
    (world, app)
}

/// How often the table was replaced, always by what Spotify shows.
fn loads(world: &World) -> u32 {
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    world.bigquery.table(EPISODES).unwrap().loads
}

fn google(status: u16, reason: &'static str) -> impl Fn() -> Act + Send + Clone + 'static {
    move || answer(status, &error_body(status, reason, "simulated"))
}

/// Failures that may pass within the time of a message.
fn passing() -> Vec<(&'static str, Fault)> {
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
        ("a cut connection", || Act::Cut),
        ("no answer", || Act::Hang),
    ]
}

#[tokio::test]
async fn an_upload_that_fails_in_passing_is_sent_again_under_the_same_id() {
    for (name, fault) in passing() {
        let (world, app) = ready().await;
        world.bigquery.stub.next(ATTEMPTS - 1, "/upload/", fault);
        assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"), "{name}");
        assert_eq!((loads(&world), world.bigquery.accepted().len()), (2, 2), "{name}");
        assert!(world.bigquery.accepted()[1].ends_with("_0"), "{name}");
    }
}

#[tokio::test]
async fn an_upload_that_does_not_get_through_hands_the_message_back() {
    for (name, fault) in passing() {
        let (world, app) = ready().await;
        world.bigquery.stub.always("/upload/", fault);
        let push = table("episodes");
        assert_eq!(app.push(&push).await.told(), (503, "retry warehouse_unavailable"), "{name}");
        let uploads = world.bigquery.stub.calls_to("POST", "/upload/").len();
        assert_eq!((loads(&world), uploads), (1, 1 + ATTEMPTS), "{name}");
        world.bigquery.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"), "{name}");
        assert_eq!(loads(&world), 2, "{name}");
    }
}

#[tokio::test]
async fn an_upload_that_was_done_although_its_answer_was_lost_is_not_done_again() {
    let (world, app) = ready().await;
    world.bigquery.stub.next(1, "/upload/", || Act::DoneThenCut);
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
    assert_eq!((loads(&world), world.bigquery.accepted().len()), (2, 2));
}

#[tokio::test]
async fn a_load_whose_every_answer_is_lost_is_found_by_the_next_delivery() {
    for attempt in [Some(2), None] {
        let (world, app) = ready().await;
        let mut sent = false;
        world.bigquery.stub.on(move |call| match call.path.contains("/upload/") {
            true if !std::mem::replace(&mut sent, true) => Act::DoneThenCut,
            _ if sent => Act::Cut,
            _ => Act::Pass,
        });
        let push = table("episodes");
        assert_eq!(app.push(&push).await.told(), (503, "retry warehouse_unavailable"));
        world.bigquery.stub.heal();
        // Another process, which remembers nothing.
        let other = world.app().await;
        let again = crate::support::Push { attempt, ..push };
        assert_eq!(other.push(&again).await.told(), (204, "already_loaded"));
        assert_eq!((loads(&world), world.bigquery.accepted().len()), (2, 2));
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_waited_for_outside() {
    let (world, app) = ready().await;
    world.bigquery.stub.always("/upload/", google(403, "quotaExceeded"));
    let push = table("episodes");
    let told = app.push(&push).await;
    assert_eq!(told.told(), (503, "retry warehouse_unavailable"));
    assert_eq!(told.retry_after, Some(600));
    assert_eq!(world.bigquery.stub.calls_to("POST", "/upload/").len(), 2);
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"));
}

#[tokio::test]
async fn missing_rights_are_told_with_the_roles_that_are_needed() {
    for path in ["/upload/", "/tables/", "/datasets/"] {
        let world = World::new(Spotify::showing(3, 60).await).await;
        let app = world.app().await;
        world.bigquery.stub.always(path, google(403, "accessDenied"));
        let push = table("episodes");
        let told = app.push(&push).await;
        assert_eq!(told.told(), (503, "retry warehouse_denied"), "{path}");
        assert!(told.body["advice"].as_str().unwrap().contains("roles/bigquery.jobUser"));
        world.bigquery.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"), "{path}");
        assert_eq!(loads(&world), 1, "{path}");
    }
}

#[tokio::test]
async fn a_dataset_that_is_missing_is_named_and_waited_for() {
    let (world, app) = ready().await;
    let fresh = world.app().await;
    world.bigquery.state.lock().unwrap().dataset = false;
    for app in [&app, &fresh] {
        let told = app.push(&table("episodes")).await;
        assert_eq!(told.told(), (503, "retry dataset_missing"));
        assert!(told.detail().contains("p1.spotify_podcasts"), "{}", told.detail());
    }
    world.bigquery.state.lock().unwrap().dataset = true;
    assert_eq!(fresh.push(&table("episodes")).await.told(), (204, "loaded"));
}

#[tokio::test]
async fn questions_that_fail_in_passing_are_asked_again() {
    for (name, fault) in passing() {
        for path in ["/datasets/", "/tables/", "/projects/p1/jobs/"] {
            let world = World::new(Spotify::showing(1, 5).await).await;
            let mut config = world.config();
            config.timing.google_call_timeout = Duration::from_millis(1500);
            let app = App::start(config).await;
            world.bigquery.fate(|_| crate::support::bigquery::Fate { looks: 2, fails: None });
            world.bigquery.stub.next(2, path, fault);
            let told = app.push(&table("episodes")).await;
            assert_eq!(told.told(), (204, "loaded"), "{name} at {path}: {told:?}");
            assert_eq!(loads(&world), 1, "{name} at {path}");
        }
    }
}

#[tokio::test]
async fn questions_that_are_not_answered_hand_the_message_back() {
    for path in ["/datasets/", "/tables/", "/projects/p1/jobs/"] {
        let world = World::new(Spotify::showing(1, 5).await).await;
        let app = world.app().await;
        world.bigquery.fate(|_| crate::support::bigquery::Fate { looks: 2, fails: None });
        world.bigquery.stub.always(path, || answer(502, "<html>Bad Gateway</html>"));
        let push = table("episodes");
        assert_eq!(app.push(&push).await.told(), (503, "retry warehouse_unavailable"), "{path}");
        world.bigquery.stub.heal();
        let again = app.push(&push.again(2)).await;
        assert_eq!(again.status, 204, "{path}: {again:?}");
        assert_eq!(loads(&world), 1, "{path}");
    }
}

#[tokio::test]
async fn two_processes_that_make_a_table_at_once_both_go_on() {
    let world = World::new(Spotify::showing(1, 5).await).await;
    let app = world.app().await;
    let conflict = google(409, "duplicate");
    world.bigquery.stub.on(move |call| match call.method.as_str() {
        "POST" if call.path.ends_with("/tables") => conflict(),
        _ => Act::Pass,
    });
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
}

#[tokio::test]
async fn an_insert_that_lost_a_race_and_is_told_so_with_400_is_no_failure() {
    let (world, app) = ready().await;
    let push = table("episodes");
    assert_eq!(world.app().await.push(&push).await.told(), (204, "loaded"));
    world.bigquery.stub.always("/upload/", google(400, "invalid"));
    assert_eq!(app.push(&push).await.told(), (204, "already_loaded"));
    assert_eq!(loads(&world), 2);
}

#[tokio::test]
async fn an_insert_that_is_refused_for_what_it_says_waits_for_the_operator() {
    let (world, app) = ready().await;
    world.bigquery.stub.always("/upload/", google(400, "invalid"));
    let push = table("episodes");
    let told = app.push(&push).await;
    assert_eq!(told.told(), (503, "retry load_refused"));
    assert!(told.detail().contains("400 invalid simulated"), "{}", told.detail());
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"));
    assert_eq!(loads(&world), 2);
}

#[tokio::test]
async fn what_an_insert_is_refused_for_is_told_with_advice_of_its_own() {
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
        let told = app.push(&push).await;
        assert_eq!((told.status, told.outcome), (503, format!("retry {outcome}")), "{words}");
        let uploads = world.bigquery.stub.calls_to("POST", "/upload/").len() - 1;
        let expected = if outcome == "warehouse_unavailable" { ATTEMPTS } else { 1 };
        assert_eq!(uploads, expected, "{words}");
        assert!(told.body["detail"].as_str().unwrap().contains(words), "{}", told.body);
        assert!(told.body["advice"].as_str().unwrap().contains(advice), "{}", told.body);
        world.bigquery.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.told(), (204, "loaded"), "{words}");
        assert_eq!(loads(&world), 2);
    }
}

#[tokio::test]
async fn a_status_tells_although_the_body_is_no_json_or_lacks_its_list() {
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
            let told = world.app().await.push(&table("episodes")).await;
            assert_eq!(told.told(), (503, outcome), "{body}");
            assert!(told.detail().contains(&status.to_string()), "{}", told.detail());
            assert_eq!(told.detail().contains("words"), body.contains("words"));
        }
    }
}

#[tokio::test]
async fn a_session_that_leads_elsewhere_is_not_followed() {
    let mut shown = crate::support::spotify::catalog(1, 120);
    for episode in shown.episodes.values_mut().flatten() {
        episode["description"] = "x".repeat(60_000).into();
    }
    let world = World::new(Spotify::start(shown).await).await;
    let app = world.app().await;
    let elsewhere = World::new(Spotify::showing(1, 1).await).await;
    let url = format!("{}/upload/steal", elsewhere.bigquery.stub.url);
    world.bigquery.stub.on(move |call| match call.query("uploadType") {
        "resumable" if call.method == "POST" => {
            crate::support::wire::answer_with(200, &[("location", &url)], "")
        }
        _ => Act::Pass,
    });
    let told = app.push(&table("episodes")).await;
    assert_eq!(told.told(), (503, "retry warehouse_unavailable"));
    assert!(elsewhere.bigquery.stub.calls().is_empty());
}
