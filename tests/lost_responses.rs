//! Load jobs whose insert got no response: each is found, and none ends after a newer load of its table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;
use tokio_util::sync::CancellationToken;

use crate::support::bigquery::{Fate, error_body};
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, Fault, answer};
use crate::support::{App, Push, World, table, until};

/// Returns a service that has loaded the episodes once.
async fn ready() -> (World, App) {
    let world = World::new(Spotify::showing(3, 60).await).await;
    let app = world.app().await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    (world, app)
}

#[tokio::test]
async fn an_upload_whose_response_was_lost_is_not_repeated() {
    let (world, app) = ready().await;
    world.bigquery.stub.next(1, "/upload/", || Act::DoneThenCut);
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!((world.episode_loads(), world.bigquery.accepted().len()), (2, 2));
}

#[tokio::test]
async fn the_next_delivery_finds_a_load_whose_responses_were_all_lost() {
    for attempt in [Some(2), None] {
        let (world, app) = ready().await;
        let mut sent = false;
        world.bigquery.stub.on(move |call| match call.path.contains("/upload/") {
            true if !std::mem::replace(&mut sent, true) => Act::DoneThenCut,
            _ if sent => Act::Cut,
            _ => Act::Pass,
        });
        let push = table("episodes");
        assert_eq!(app.push(&push).await.result(), (503, "retry warehouse_unavailable"));
        world.bigquery.stub.heal();
        // Another process, without any memory of the first delivery.
        let other = world.app().await;
        let again = Push { attempt, ..push };
        assert_eq!(other.push(&again).await.result(), (204, "already_loaded"));
        assert_eq!((world.episode_loads(), world.bigquery.accepted().len()), (2, 2));
    }
}

#[tokio::test]
async fn a_job_whose_responses_were_lost_ends_before_the_next_message_for_its_table_is_loaded() {
    // No upload gets a response; the second one gets 409 and the job can't be looked up; it gets an error
    // that is not retried.
    let quota = || answer(403, &error_body(403, "quotaExceeded", "Quota exceeded"));
    let later: [Fault; 3] = [|| Act::Cut, || Act::Pass, quota];
    for later in later {
        let world = World::new(Spotify::showing(3, 60).await).await;
        let mut config = world.config();
        config.timing.denial_ttl = Duration::ZERO;
        let app = App::start(config).await;
        world.bigquery.fate(|_| Fate { polls: 8, fails: None });
        let mut uploads = 0;
        world.bigquery.stub.on(move |call| {
            let is_upload = call.path.contains("/upload/");
            uploads += u32::from(is_upload);
            match (is_upload, uploads) {
                (true, 1) => Act::DoneThenCut,
                (true, _) => later(),
                (false, 1..) if call.path.contains("/jobs/") => answer(503, ""),
                _ => Act::Pass,
            }
        });
        let first = app.push(&table("episodes")).await;
        assert_eq!(first.result(), (503, "retry warehouse_unavailable"));
        let job = world.bigquery.accepted()[0].clone();
        assert!(!world.bigquery.is_done(&job));
        let (bigquery, was_done) = (world.bigquery.clone(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&was_done);
        world.bigquery.stub.on(move |call| {
            if call.path.contains("/upload/") {
                seen.store(bigquery.is_done(&job), Ordering::SeqCst);
            }
            Act::Pass
        });
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
        assert!(was_done.load(Ordering::SeqCst), "the next load was sent before the job ended");
    }
}

#[tokio::test]
async fn the_job_of_another_process_is_not_taken_for_the_own_one() {
    let (world, app) = ready().await;
    let (other, push) = (world.app().await, table("episodes"));
    let uploads = || world.bigquery.stub.calls_to("POST", "/upload/").len();
    let (before, failed) = (uploads(), CancellationToken::new());
    let held = failed.clone();
    world.bigquery.stub.next(1, "/upload/", move || answer(503, "").held(held.clone()));
    let other_delivery = async {
        until(|| uploads() > before).await;
        assert_eq!(other.push(&push).await.result(), (204, "loaded"));
        failed.cancel();
    };
    let (response, ()) = join(app.push(&push), other_delivery).await;
    assert_eq!(response.result(), (204, "already_loaded"));
    assert_eq!((world.episode_loads(), world.bigquery.accepted().len()), (2, 2));
}
