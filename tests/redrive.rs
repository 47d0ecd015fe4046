//! `redrive` against a Pub/Sub that does what the emulator can't: empty pulls, refused messages and
//! acknowledgments, a clock that is not this machine's.

use tonic::Code;

use crate::support::World;
use crate::support::binary::command;
use crate::support::spotify::Spotify;

/// Some hours from now: what was published when this machine's clock is late.
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

/// What `redrive` says and its exit code.
async fn redrive(world: &World, arguments: &[&str]) -> (String, i32) {
    let arguments = [&["redrive"], arguments].concat();
    let output = command(&arguments, &world.settings).output().await.unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (printed, output.status.code().unwrap())
}

fn left(world: &World) -> usize {
    world.pubsub.subscription.lock().unwrap().letters.len()
}

fn published(world: &World) -> usize {
    world.pubsub.published("trigger").len()
}

#[tokio::test]
async fn empty_pulls_are_not_the_end_and_this_machines_clock_decides_nothing() {
    let world = world(3).await;
    world.pubsub.subscription.lock().unwrap().empty_pulls = 5;
    let (said, code) = redrive(&world, &[]).await;
    assert_eq!((code, published(&world), left(&world)), (0, 3, 0), "{said}");
    assert!(said.contains("3 of 3 letters published to"), "{said}");
    assert!(said.contains("3 acknowledged, 0 left"), "{said}");
    let message = &world.pubsub.published("trigger")[0];
    assert_eq!(message.attributes.keys().collect::<Vec<_>>(), ["origin"]);
}

#[tokio::test]
async fn a_letter_that_cannot_be_published_does_not_stop_the_others() {
    for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::Internal] {
        let world = world(5).await;
        *world.pubsub.refuses.lock().unwrap() =
            Box::new(move |data| data.contains("t1").then_some(code));
        let (said, exit) = redrive(&world, &[]).await;
        assert_eq!((exit, published(&world), left(&world)), (1, 4, 1), "{code:?}: {said}");
        assert!(said.contains("4 of 5 letters published to"), "{said}");
        assert!(said.contains("4 acknowledged, 1 left"), "{said}");
        assert!(
            said.contains(&format!(
                "stays: the Pub/Sub request for projects/p1/topics/trigger failed: {code:?}"
            )),
            "{said}"
        );
        // Others can pull it at once.
        assert!(!world.pubsub.subscription.lock().unwrap().letters[0].is_held);
    }
}

#[tokio::test]
async fn a_letter_that_cannot_be_acknowledged_does_not_stop_the_others() {
    let world = world(5).await;
    world.pubsub.subscription.lock().unwrap().refuses_acknowledgment =
        Box::new(|id| (id == "l1").then_some(Code::FailedPrecondition));
    let (said, code) = redrive(&world, &[]).await;
    assert_eq!((code, published(&world), left(&world)), (1, 5, 1), "{said}");
    assert!(said.contains("5 of 5 letters published to"), "{said}");
    assert!(said.contains("4 acknowledged, 1 left"), "{said}");
    assert!(said.contains("l1 was published and stays"), "{said}");
}

#[tokio::test]
async fn what_every_letter_would_meet_ends_it_and_nothing_is_lost() {
    for (topic_code, subscription_code, says) in [
        (Some(Code::NotFound), None, "topics/trigger"),
        (Some(Code::PermissionDenied), None, "roles/pubsub.publisher"),
        (None, Some(Code::PermissionDenied), "roles/pubsub.subscriber"),
    ] {
        let world = world(3).await;
        world.pubsub.on(move |_| topic_code);
        world.pubsub.subscription.lock().unwrap().refuses =
            Box::new(move |method| (method == "Pull").then_some(subscription_code).flatten());
        let (said, code) = redrive(&world, &[]).await;
        assert_eq!((code, published(&world), left(&world)), (1, 0, 3), "{said}");
        assert!(said.contains(says), "{said}");
        let held = |letter: &crate::support::subscriber::Letter| letter.is_held;
        assert!(!world.pubsub.subscription.lock().unwrap().letters.iter().any(held));
    }
}

#[tokio::test]
async fn a_limit_is_a_promise_and_a_look_is_none() {
    for (letters, arguments, code, says) in [
        (5, &["--limit", "2"][..], 0, "2 of 5 letters published"),
        (1, &["--limit", "2"], 1, "1 of 1 letters published"),
        (0, &["--limit", "1"], 1, "0 of 0 letters published"),
        (0, &[], 0, "0 of 0 letters published"),
        (3, &["--dry-run"], 0, "3 of 3 letters would be published"),
        (3, &["--dry-run", "--limit", "5"], 0, "3 of 3 letters would be published"),
        (3, &["--reason", "no_results"], 0, "0 of 3 letters published"),
    ] {
        let world = world(letters).await;
        let (said, exit) = redrive(&world, arguments).await;
        assert_eq!(exit, code, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(published(&world), letters - left(&world), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_message_that_fails_again_at_once_is_not_republished_without_end() {
    let world = world(1).await;
    let subscription = world.pubsub.subscription.clone();
    let number = std::sync::atomic::AtomicUsize::new(0);
    *world.pubsub.refuses.lock().unwrap() = Box::new(move |data| {
        // The service dead-letters it before the next pull.
        let id = format!("p{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let mut subscription = subscription.try_lock().unwrap();
        let attributes = [("reason", "refused"), ("message_id", id.as_str())];
        let letter = format!("n{}", subscription.letters.len());
        subscription.add(data, &attributes, LATER);
        subscription.letters.last_mut().unwrap().id = letter;
        None
    });
    let (said, code) = redrive(&world, &[]).await;
    assert_eq!((code, published(&world), left(&world)), (0, 1, 1), "{said}");
}
