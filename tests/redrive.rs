//! `redrive` against what the emulator does not do: empty pulls, rejected messages and acknowledgments, and
//! another clock.

use tonic::Code;

use crate::support::World;
use crate::support::binary::command;
use crate::support::spotify::Spotify;

/// A publish time in the future, as if the clock of this machine were late.
const LATER: i64 = 4_000_000_000;

async fn world(letters: usize) -> World {
    let world = World::new(Spotify::showing(1, 1).await).await;
    let world = world.set("DEAD_LETTER_SUBSCRIPTION", "letters-kept");
    for n in 0..letters {
        let data = format!(r#"{{"table":"podcasts","search_term":"t{n}"}}"#);
        let attributes = [("reason", "refused"), ("message_id", "1"), ("origin", "scheduler")];
        world.pubsub.subscription.lock().unwrap().add(&data, &attributes, LATER);
    }
    world
}

/// Runs `redrive`. Returns its output and exit code.
async fn redrive(world: &World, arguments: &[&str]) -> (String, i32) {
    let arguments = [&["redrive"], arguments].concat();
    let ran = command(&arguments, &world.settings).output().await.unwrap();
    let printed = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    (printed, ran.status.code().unwrap())
}

fn left(world: &World) -> usize {
    world.pubsub.subscription.lock().unwrap().letters.len()
}

fn published(world: &World) -> usize {
    world.pubsub.published("trigger").len()
}

#[tokio::test]
async fn continues_after_empty_pulls_whatever_the_local_clock_says() {
    let world = world(3).await;
    world.pubsub.subscription.lock().unwrap().empty_pulls = 5;
    let (output, code) = redrive(&world, &[]).await;
    assert_eq!((code, published(&world), left(&world)), (0, 3, 0), "{output}");
    assert!(output.contains("3 of 3 dead letters republished to"), "{output}");
    assert!(output.contains("3 acknowledged, 0 left"), "{output}");
    let message = &world.pubsub.published("trigger")[0];
    assert_eq!(message.attributes.keys().collect::<Vec<_>>(), ["origin"]);
}

#[tokio::test]
async fn a_rejected_message_does_not_stop_the_others() {
    for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::Internal] {
        let world = world(5).await;
        *world.pubsub.refuses.lock().unwrap() =
            Box::new(move |data| data.contains("t1").then_some(code));
        let (output, exit) = redrive(&world, &[]).await;
        assert_eq!((exit, published(&world), left(&world)), (1, 4, 1), "{code:?}: {output}");
        assert!(output.contains("4 of 5 dead letters republished to"), "{output}");
        assert!(output.contains("4 acknowledged, 1 left"), "{output}");
        assert!(
            output.contains(&format!(
                "not republished: the Pub/Sub request for projects/p1/topics/trigger failed: {code:?}"
            )),
            "{output}"
        );
        // Other clients can pull it at once.
        assert!(!world.pubsub.subscription.lock().unwrap().letters[0].is_held);
    }
}

#[tokio::test]
async fn a_failed_acknowledgment_does_not_stop_the_others() {
    let world = world(5).await;
    world.pubsub.subscription.lock().unwrap().refuses_acknowledgment =
        Box::new(|id| (id == "l1").then_some(Code::FailedPrecondition));
    let (output, code) = redrive(&world, &[]).await;
    assert_eq!((code, published(&world), left(&world)), (1, 5, 1), "{output}");
    assert!(output.contains("5 of 5 dead letters republished to"), "{output}");
    assert!(output.contains("4 acknowledged, 1 left"), "{output}");
    assert!(output.contains("l1 was republished, but its acknowledgment failed"), "{output}");
}

#[tokio::test]
async fn an_error_of_topic_or_subscription_ends_it_and_nothing_is_lost() {
    for (topic_code, subscription_code, message) in [
        (Some(Code::NotFound), None, "topics/trigger"),
        (Some(Code::PermissionDenied), None, "roles/pubsub.publisher"),
        (None, Some(Code::PermissionDenied), "roles/pubsub.subscriber"),
    ] {
        let world = world(3).await;
        world.pubsub.on(move |_| topic_code);
        world.pubsub.subscription.lock().unwrap().refuses =
            Box::new(move |method| (method == "Pull").then_some(subscription_code).flatten());
        let (output, code) = redrive(&world, &[]).await;
        assert_eq!((code, published(&world), left(&world)), (1, 0, 3), "{output}");
        assert!(output.contains(message), "{output}");
        let held = |letter: &crate::support::subscriber::Letter| letter.is_held;
        assert!(!world.pubsub.subscription.lock().unwrap().letters.iter().any(held));
    }
}

#[tokio::test]
async fn the_exit_code_is_0_if_the_limit_is_reached_or_it_is_a_dry_run() {
    for (letters, arguments, code, summary) in [
        (5, &["--limit", "2"][..], 0, "2 of 5 dead letters republished"),
        (1, &["--limit", "2"], 1, "1 of 1 dead letters republished"),
        (0, &["--limit", "1"], 1, "0 of 0 dead letters republished"),
        (0, &[], 0, "0 of 0 dead letters republished"),
        (3, &["--dry-run"], 0, "3 of 3 dead letters would be republished"),
        (3, &["--dry-run", "--limit", "5"], 0, "3 of 3 dead letters would be republished"),
        (3, &["--reason", "no_results"], 0, "0 of 3 dead letters republished"),
    ] {
        let world = world(letters).await;
        let (output, exit) = redrive(&world, arguments).await;
        assert_eq!(exit, code, "{arguments:?}: {output}");
        assert!(output.contains(summary), "{arguments:?}: {output}");
        assert_eq!(published(&world), letters - left(&world), "{arguments:?}: {output}");
    }
}

#[tokio::test]
async fn a_message_that_fails_again_is_not_republished_twice() {
    let world = world(1).await;
    let subscription = world.pubsub.subscription.clone();
    let number = std::sync::atomic::AtomicUsize::new(0);
    *world.pubsub.refuses.lock().unwrap() = Box::new(move |data| {
        // It is a dead letter again before the next pull.
        let id = format!("p{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let mut subscription = subscription.try_lock().unwrap();
        let attributes = [("reason", "refused"), ("message_id", id.as_str())];
        let letter = format!("n{}", subscription.letters.len());
        subscription.add(data, &attributes, LATER);
        subscription.letters.last_mut().unwrap().id = letter;
        None
    });
    let (output, code) = redrive(&world, &[]).await;
    assert_eq!((code, published(&world), left(&world)), (0, 1, 1), "{output}");
}
