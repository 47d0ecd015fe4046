//! The operator's commands of the real binary, against the emulators.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::emulators::{Cloud, as_query_result, eventually};
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

/// Returns the data of the dead letters, sorted.
async fn dead_letters(cloud: &Cloud) -> Vec<String> {
    let mut data: Vec<String> = cloud.letters().await.into_iter().map(|(data, _)| data).collect();
    data.sort();
    data
}

/// Creates a subscription that keeps what is published to the trigger topic from now on.
async fn listen(cloud: &Cloud) {
    cloud.subscribe("ears", &json!({"topic": cloud.topic("trigger")})).await;
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_lists_selects_and_republishes() {
    let cloud = cloud().await;
    let app = cloud.world.app().await;
    // As from an older service, which rejected the first two.
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
    let all = dead_letters(&cloud).await;
    assert_eq!(all.len(), 3);

    // A dry run publishes nothing, and all dead letters stay.
    listen(&cloud).await;
    let dry = cloud.run(&["redrive", "--dry-run"]).await;
    assert!(dry.status.success(), "{}", text(&dry));
    for shown in
        ["because of no_results", "because of refused", r#"{"table":"nonsense"}"#, " s ago"]
    {
        assert!(text(&dry).contains(shown), "{shown}: {}", text(&dry));
    }
    assert!(text(&dry).contains("3 of 3 dead letters would be republished"), "{}", text(&dry));
    assert_eq!(dead_letters(&cloud).await, all);

    // One reason.
    cloud.push_to(&app.url).await;
    let some = cloud.run(&["redrive", "--reason", "no_results"]).await;
    assert!(text(&some).contains("1 of 3 dead letters republished"), "{}", text(&some));
    let shows = as_query_result(podcast_rows(&cloud.world.spotify.catalog.shows));
    cloud.until_filled(&[(PODCASTS, shows)]).await;
    assert_eq!(dead_letters(&cloud).await.len(), 2);

    // The rest, one by one. The invalid message becomes a dead letter again.
    let one = cloud.run(&["redrive", "--limit", "1"]).await;
    assert!(one.status.success() && text(&one).contains("1 of "), "{}", text(&one));
    eventually("both were republished", || async {
        // Fails once nothing is left.
        cloud.run(&["redrive", "--limit", "1"]).await;
        let episodes = as_query_result(episode_rows(cloud.world.spotify.episodes()));
        (cloud.rows(EPISODES).await == Some(episodes)).then_some(())
    })
    .await;
    let left = eventually("the invalid message", || async {
        Some(cloud.letters().await).filter(|letters| !letters.is_empty())
    })
    .await;
    assert_eq!((left.len(), left[0].0.as_str()), (1, r#"{"table":"nonsense"}"#));
    assert!(left[0].1["detail"].contains("expected one of podcasts"));
    assert_eq!(left[0].1["origin"], "scheduler");
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_skips_a_dead_letter_without_original_content() {
    let cloud = cloud().await;
    // Without the service's and Google's attributes, the message is empty, and Pub/Sub rejects it.
    let attributes = json!({"reason": "refused", "detail": "x", "googclient_x": "1"});
    cloud.publish_to("letters", "", &attributes).await;
    for _ in 0..3 {
        cloud.publish_to("letters", r#"{"table":"podcasts"}"#, &json!({})).await;
    }
    let redriven = cloud.run(&["redrive"]).await;
    assert_eq!(redriven.status.code(), Some(1), "{}", text(&redriven));
    assert!(text(&redriven).contains("3 of 4 dead letters republished"), "{}", text(&redriven));
    assert!(text(&redriven).contains("neither data nor attributes"), "{}", text(&redriven));
    assert_eq!(dead_letters(&cloud).await, [""]);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_republishes_more_dead_letters_than_one_pull_returns() {
    let cloud = cloud().await;
    for n in 0..230 {
        let data = json!({"table": "podcasts", "search_term": format!("t{n}")});
        cloud.publish_to("letters", &data.to_string(), &json!({"reason": "x"})).await;
    }
    let redriven = cloud.run(&["redrive"]).await;
    assert!(text(&redriven).contains("230 of 230 dead letters republished"), "{}", text(&redriven));
    assert!(dead_letters(&cloud).await.is_empty());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_releases_dead_letters_when_it_fails() {
    let mut cloud = cloud().await;
    for _ in 0..3 {
        cloud.publish_to("letters", r#"{"table":"podcasts"}"#, &json!({"reason": "x"})).await;
    }
    cloud.world = cloud.world.set("TRIGGER_TOPIC", "no-such-topic");
    let failed = cloud.run(&["redrive"]).await;
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    assert!(text(&failed).contains("topics/no-such-topic"), "{}", text(&failed));
    assert!(text(&failed).contains("roles/pubsub.publisher"), "{}", text(&failed));
    assert_eq!(dead_letters(&cloud).await.len(), 3);
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_publish_reaches_a_topic_or_a_running_service() {
    let cloud = cloud().await;
    let app = cloud.world.app().await;
    cloud.push_to(&app.url).await;
    let published = cloud.run(&["publish", "--table", "podcasts"]).await;
    assert!(published.status.success(), "{}", text(&published));
    let shows = as_query_result(podcast_rows(&cloud.world.spotify.catalog.shows));
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
    let episodes = as_query_result(episode_rows(cloud.world.spotify.episodes()));
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
async fn emulators_check_finds_no_problem_or_the_right_ones() {
    let mut cloud = cloud().await;
    let app = cloud.world.app().await;
    let checked = cloud.run(&["check"]).await;
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(
        text(&checked).contains("topics/trigger: it has no subscription"),
        "{}",
        text(&checked)
    );
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
async fn emulators_redrive_republishes_dead_letters_of_any_size() {
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
    let output = text(&redriven);
    assert!(output.contains("141 of 141 dead letters republished to"), "{output}");
    assert!(output.contains("141 acknowledged, 0 left"), "{output}");
    assert!(dead_letters(&cloud).await.is_empty());
    let mut received: Vec<usize> =
        cloud.take("ears", sizes.len()).await.iter().map(String::len).collect();
    received.sort_unstable();
    let largest = received.last().unwrap();
    assert!(received.len() == 141 && *largest > 5_000_000, "{} {largest}", received.len());
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_redrive_ends_although_its_messages_fail_again() {
    let cloud = cloud().await;
    let app = cloud.world.app().await;
    cloud.world.spotify.stub.always("/v1/", || answer(403, "Forbidden"));
    // The subscription dead-letters a message within a second.
    cloud.subscribe("push", &json!({
        "topic": cloud.topic("trigger"), "pushConfig": {"pushEndpoint": app.url},
        "deadLetterPolicy": {"deadLetterTopic": cloud.topic("letters"), "maxDeliveryAttempts": 5},
        "retryPolicy": {"minimumBackoff": "0.01s", "maximumBackoff": "0.05s"},
    })).await;
    cloud.publish_to("letters", r#"{"table":"podcasts"}"#, &json!({"origin": "x"})).await;
    let redriven = cloud.run(&["redrive"]).await;
    assert!(redriven.status.success(), "{}", text(&redriven));
    let left = eventually("it is a dead letter again", || async {
        Some(cloud.letters().await).filter(|letters| !letters.is_empty())
    })
    .await;
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
#[ignore = "needs the emulators: BIGQUERY_EMULATOR_HOST and PUBSUB_EMULATOR_HOST"]
async fn emulators_check_finds_subscriptions_that_receive_nothing() {
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
