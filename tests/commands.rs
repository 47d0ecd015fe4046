//! The operator's commands as the real binary, against the emulators.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::emulators::{Cloud, eventually, in_bigquerys_text};
use crate::support::spotify::{Spotify, episode_rows, podcast_rows};
use crate::support::wire::answer;
use crate::support::{EPISODES, PODCASTS};

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

async fn cloud() -> Cloud {
    Cloud::new(Spotify::showing(3, 9).await).await
}

/// Which letters are there, by their data.
async fn letters(cloud: &Cloud) -> Vec<String> {
    let mut data: Vec<String> = cloud.letters().await.into_iter().map(|(data, _)| data).collect();
    data.sort();
    data
}

/// What was published to the trigger topic after this, in a subscription that nobody else reads.
async fn listen(cloud: &Cloud) {
    cloud.subscribe("ears", &json!({"topic": cloud.topic("trigger")})).await;
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_shows_takes_some_and_brings_back_what_then_succeeds() {
    let cloud = cloud().await;
    let app = cloud.world.app().await;
    // Refused by an older service, which knew no table 6 and found no show.
    for (data, reason) in [
        (r#"{"table":"episodes"}"#, "refused"),
        (r#"{"table":"podcasts"}"#, "no_results"),
        (r#"{"table":"nonsense"}"#, "refused"),
    ] {
        let attributes = json!({
            "reason": reason, "detail": format!("because of {reason}"), "message_id": "7",
            "publish_time": "2026-11-24T09:00:00Z", "origin": "scheduler",
        });
        cloud.publish_to("letters", data, &attributes).await;
    }
    let all = letters(&cloud).await;
    assert_eq!(all.len(), 3);

    // Only looked at: nothing is published and all letters stay.
    listen(&cloud).await;
    let dry = cloud.run(&["redrive", "--dry-run"]).await;
    assert!(dry.status.success(), "{}", text(&dry));
    for shown in
        ["because of no_results", "because of refused", r#"{"table":"nonsense"}"#, " s ago"]
    {
        assert!(text(&dry).contains(shown), "{shown}: {}", text(&dry));
    }
    assert!(text(&dry).contains("3 of 3 letters would be published"), "{}", text(&dry));
    assert_eq!(letters(&cloud).await, all);

    // One reason alone.
    cloud.push_to(&app.url).await;
    let some = cloud.run(&["redrive", "--reason", "no_results"]).await;
    assert!(text(&some).contains("1 of 3 letters published"), "{}", text(&some));
    let shows = in_bigquerys_text(podcast_rows(&cloud.world.spotify.catalog.shows));
    cloud.until_filled(&[(PODCASTS, shows)]).await;
    assert_eq!(letters(&cloud).await.len(), 2);

    // The rest, one by one; what is hopeless comes back as a letter with its reason.
    let one = cloud.run(&["redrive", "--limit", "1"]).await;
    assert!(one.status.success() && text(&one).contains("1 of "), "{}", text(&one));
    eventually("both were redriven", || async {
        // Once nothing is left, the limit is not reached.
        cloud.run(&["redrive", "--limit", "1"]).await;
        let episodes = in_bigquerys_text(episode_rows(cloud.world.spotify.episodes()));
        (cloud.rows(EPISODES).await == Some(episodes)).then_some(())
    })
    .await;
    let left = eventually("the hopeless one", || async {
        Some(cloud.letters().await).filter(|letters| !letters.is_empty())
    })
    .await;
    assert_eq!((left.len(), left[0].0.as_str()), (1, r#"{"table":"nonsense"}"#));
    assert!(left[0].1["detail"].contains("expected one of podcasts"));
    assert_eq!(left[0].1["origin"], "scheduler");
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_passes_over_a_letter_of_which_nothing_is_left() {
    let cloud = cloud().await;
    // A message of Google's attributes only: without ours and theirs Pub/Sub takes no such message.
    let attributes = json!({"reason": "refused", "detail": "x", "googclient_x": "1"});
    cloud.publish_to("letters", "", &attributes).await;
    for _ in 0..3 {
        cloud.publish_to("letters", r#"{"table":"podcasts"}"#, &json!({})).await;
    }
    let redriven = cloud.run(&["redrive"]).await;
    assert_eq!(redriven.status.code(), Some(1), "{}", text(&redriven));
    assert!(text(&redriven).contains("3 of 4 letters published"), "{}", text(&redriven));
    assert!(text(&redriven).contains("neither data nor attributes"), "{}", text(&redriven));
    assert_eq!(letters(&cloud).await, [""]);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_brings_back_more_letters_than_one_pull_holds() {
    let cloud = cloud().await;
    for n in 0..230 {
        let data = json!({"table": "podcasts", "search_term": format!("t{n}")});
        cloud.publish_to("letters", &data.to_string(), &json!({"reason": "x"})).await;
    }
    let redriven = cloud.run(&["redrive"]).await;
    assert!(text(&redriven).contains("230 of 230 letters published"), "{}", text(&redriven));
    assert!(letters(&cloud).await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_gives_letters_back_at_once_when_it_fails() {
    let mut cloud = cloud().await;
    for _ in 0..3 {
        cloud.publish_to("letters", r#"{"table":"podcasts"}"#, &json!({"reason": "x"})).await;
    }
    cloud.world = cloud.world.set("TRIGGER_TOPIC", "no-such-topic");
    let failed = cloud.run(&["redrive"]).await;
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    assert!(text(&failed).contains("topics/no-such-topic"), "{}", text(&failed));
    assert!(text(&failed).contains("roles/pubsub.publisher"), "{}", text(&failed));
    assert_eq!(letters(&cloud).await.len(), 3);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_publish_reaches_a_topic_or_a_running_service() {
    let cloud = cloud().await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    let published = cloud.run(&["publish", "--table", "podcasts"]).await;
    assert!(published.status.success(), "{}", text(&published));
    let shows = in_bigquerys_text(podcast_rows(&cloud.world.spotify.catalog.shows));
    cloud.until_filled(&[(PODCASTS, shows.clone())]).await;

    let full = cloud.topic("trigger");
    let published = cloud
        .run(&["publish", "--search-term", "Café", "--table", "podcasts", "--topic", &full])
        .await;
    assert!(published.status.success(), "{}", text(&published));
    cloud.until_filled(&[("podcasts_cafe", shows)]).await;

    let pushed = cloud.run(&["publish", "--all", "--url", &app.url]).await;
    assert!(pushed.status.success(), "{}", text(&pushed));
    assert_eq!(text(&pushed).matches("204 loaded").count(), 3, "{}", text(&pushed));
    let episodes = in_bigquerys_text(episode_rows(cloud.world.spotify.episodes()));
    assert_eq!(cloud.rows(EPISODES).await, Some(episodes));

    for (arguments, code, says) in [
        (&["publish", "--table", "tabela_8"][..], 2, "expected one of podcasts"),
        (&["publish", "--table", "podcasts", "--topic", "no-such-topic"], 1, "no-such-topic"),
        (&["publish", "--table", "podcasts", "--url", "http://127.0.0.1:9/"], 1, "127.0.0.1:9"),
    ] {
        let failed = cloud.run(arguments).await;
        assert_eq!(failed.status.code(), Some(code), "{arguments:?}: {}", text(&failed));
        assert!(text(&failed).contains(says), "{}", text(&failed));
    }
    cloud.world.spotify.stub.always("/v1/", || answer(403, "Active premium subscription required"));
    let failed = cloud.run(&["publish", "--table", "podcasts", "--url", &app.url]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).contains("503 retry premium_required"), "{}", text(&failed));
    assert!(text(&failed).contains("What to do: renew the Premium"), "{}", text(&failed));
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_check_finds_all_in_order_and_says_what_is_not() {
    let mut cloud = cloud().await;
    let app = cloud.world.app().await;
    let lonely = cloud.run(&["check"]).await;
    assert_eq!(lonely.status.code(), Some(1), "{}", text(&lonely));
    assert!(text(&lonely).contains("topics/trigger: it has no subscription"), "{}", text(&lonely));
    listen(&cloud).await;
    let checked = cloud.run(&["check"]).await;
    assert!(checked.status.success(), "{}", text(&checked));
    for line in [
        "Spotify: responds to a search for \"data hackers\"",
        "at most 10 items",
        "spotify_podcasts: in US",
        "table tb_datahackers_limitada: does not exist yet",
        "topics/trigger: exists",
        "topics/letters: exists",
        "subscriptions/letters-kept: receives from",
        "push verification",
    ] {
        assert!(text(&checked).contains(line), "{line}: {}", text(&checked));
    }
    app.push(&crate::support::table("podcasts")).await;
    cloud.world.spotify.stub.always("/api/token", || answer(400, r#"{"error":"invalid_client"}"#));
    cloud.world = cloud
        .world
        .set("TRIGGER_TOPIC", "no-such-topic")
        .set("DEAD_LETTER_SUBSCRIPTION", "")
        .set("EPISODES_TABLE", PODCASTS)
        .set("PODCASTS_TABLE", "other");
    let checked = cloud.run(&["check", "--json"]).await;
    assert_eq!(checked.status.code(), Some(1));
    let findings: Vec<Value> = String::from_utf8(checked.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let problems: Vec<&Value> = findings.iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    for (problem, says) in problems.iter().zip([
        "invalid_client",
        "duration_ms is missing",
        "topics/no-such-topic",
        "not set",
    ]) {
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
        assert!(problem["advice"].is_string());
    }
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_brings_back_letters_of_any_size() {
    let cloud = cloud().await;
    listen(&cloud).await;
    let sizes = [vec![20; 20], vec![60_000; 100], vec![5_000_000], vec![30; 20]].concat();
    for (n, size) in sizes.iter().enumerate() {
        let data =
            json!({"table": "podcasts", "search_term": format!("{n} {}", "x".repeat(*size))});
        cloud.publish_to("letters", &data.to_string(), &json!({"reason": "refused"})).await;
    }
    let redriven = cloud.run(&["redrive"]).await;
    assert!(redriven.status.success(), "{}", text(&redriven));
    let said = text(&redriven);
    assert!(said.contains("141 of 141 letters published to"), "{said}");
    assert!(said.contains("141 acknowledged, 0 left"), "{said}");
    assert!(letters(&cloud).await.is_empty());
    let mut heard: Vec<usize> =
        cloud.take("ears", sizes.len()).await.iter().map(String::len).collect();
    heard.sort_unstable();
    let largest = heard.last().unwrap();
    assert!(heard.len() == 141 && *largest > 5_000_000, "{} {largest}", heard.len());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_ends_though_what_it_publishes_fails_at_once() {
    let cloud = cloud().await;
    let app = cloud.world.app().await;
    cloud.world.spotify.stub.always("/v1/", || answer(403, "Forbidden"));
    // The subscription gives a message up within the second.
    cloud.subscribe("push", &json!({
        "topic": cloud.topic("trigger"), "pushConfig": {"pushEndpoint": app.url},
        "deadLetterPolicy": {"deadLetterTopic": cloud.topic("letters"), "maxDeliveryAttempts": 5},
        "retryPolicy": {"minimumBackoff": "0.01s", "maximumBackoff": "0.05s"},
    })).await;
    cloud.publish_to("letters", r#"{"table":"podcasts"}"#, &json!({"origin": "x"})).await;
    let redriven = cloud.run(&["redrive"]).await;
    assert!(redriven.status.success(), "{}", text(&redriven));
    let left = eventually("it is a letter again", || async {
        Some(cloud.letters().await).filter(|letters| !letters.is_empty())
    })
    .await;
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_check_finds_subscriptions_that_lead_nowhere() {
    let mut cloud = cloud().await;
    listen(&cloud).await;
    let letters = cloud.topic("letters");
    cloud.subscribe("elsewhere", &json!({"topic": cloud.topic("trigger")})).await;
    let push = json!({"topic": letters, "pushConfig": {"pushEndpoint": "http://127.0.0.1:9/"}});
    cloud.subscribe("pushed", &push).await;
    for (subscription, says) in [
        ("elsewhere", "topics/trigger, but DEAD_LETTER_TOPIC is"),
        ("pushed", "delivers messages to http://127.0.0.1:9/"),
        ("no-such-subscription", "NotFound"),
    ] {
        cloud.world = cloud.world.set("DEAD_LETTER_SUBSCRIPTION", subscription);
        let checked = cloud.run(&["check"]).await;
        assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
        assert!(text(&checked).contains(says), "{says}: {}", text(&checked));
    }
    cloud.world = cloud.world.set("DEAD_LETTER_SUBSCRIPTION", "letters-kept");
    cloud.create_topic_again("letters").await;
    let checked = cloud.run(&["check"]).await;
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(text(&checked).contains("letters-kept: its topic was deleted"), "{}", text(&checked));
    assert!(
        text(&checked).contains("topics/letters: it has no subscription"),
        "{}",
        text(&checked)
    );
}
