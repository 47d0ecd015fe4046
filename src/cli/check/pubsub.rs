//! Topics and subscriptions: whether what is published arrives somewhere.

use std::sync::Arc;

use super::Finding;
use crate::config::Config;
use crate::google::GoogleCredentials;
use crate::publisher::{DELETED_TOPIC, Publisher, Subscription};

pub(super) async fn findings(config: &Config, google: &Arc<GoogleCredentials>) -> Vec<Finding> {
    let publisher = Publisher::new(config, google);
    let pubsub = &config.pubsub;
    let mut findings = vec![
        match &pubsub.trigger_topic {
            Some(name) => topic(&publisher, name, Some("create its push subscription")).await,
            None => Finding::problem(
                "TRIGGER_TOPIC",
                "not set",
                "set it to the topic's name; fan-outs, `publish` and `redrive` need it",
            ),
        },
        match &pubsub.dead_letter_topic {
            Some(name) => {
                let advice = "create the subscription that DEAD_LETTER_SUBSCRIPTION names";
                topic(&publisher, name, Some(advice)).await
            }
            None => Finding::problem(
                "DEAD_LETTER_TOPIC",
                "not set",
                "set it to the topic's name; without it, messages that fail permanently are rejected with 400 and redelivered",
            ),
        },
    ];
    if let Some(name) = &pubsub.loaded_topic {
        findings.push(topic(&publisher, name, None).await);
    }
    findings.push(match &pubsub.dead_letter_subscription {
        Some(name) => match publisher.subscription(name).await {
            Ok(found) => dead_letters(name, &found, pubsub.dead_letter_topic.as_deref()),
            Err(refusal) => Finding::failure(name, &refusal.failure),
        },
        None => Finding::problem(
            "DEAD_LETTER_SUBSCRIPTION",
            "not set",
            "set it to the subscription's name; `redrive` needs it",
        ),
    });
    findings
}

/// Whether a topic exists and, if there is advice for that case, has a subscription: without one,
/// what is published is lost.
async fn topic(publisher: &Publisher, name: &str, without: Option<&str>) -> Finding {
    if let Err(refusal) = publisher.topic(name).await {
        return Finding::failure(name, &refusal.failure);
    }
    match (publisher.has_subscription(name).await, without) {
        (Ok(true), _) => Finding::ok(name, "exists and has a subscription"),
        (Ok(false), None) => Finding::ok(name, "exists; no subscription receives its events"),
        (Ok(false), Some(advice)) => Finding::problem(
            name,
            "it has no subscription: messages published to it are lost",
            format!(
                "{advice} (`terraform apply` does this). If the topic was deleted and created again, its earlier subscriptions receive nothing: delete and create them again"
            ),
        ),
        (Err(refusal), _) => Finding::ok(
            name,
            format!("exists; whether it has a subscription is unknown: {}", refusal.failure),
        ),
    }
}

/// Whether the subscription receives what the service publishes to the dead-letter topic, and gives it
/// to `redrive`.
fn dead_letters(name: &str, found: &Subscription, topic: Option<&str>) -> Finding {
    let create_again = "delete the subscription and create a pull subscription of the topic in DEAD_LETTER_TOPIC, without an export (`terraform apply` does this)";
    if found.topic == DELETED_TOPIC {
        return Finding::problem(
            name,
            "its topic was deleted: it receives nothing, even if a topic of the same name exists now",
            format!(
                "republish its remaining messages with `spotify-bq redrive`, then {create_again}"
            ),
        );
    }
    if found.is_detached {
        return Finding::problem(
            name,
            "it is detached from its topic: it receives nothing",
            create_again,
        );
    }
    if let Some(elsewhere) = &found.sends_to {
        return Finding::problem(
            name,
            format!("it delivers messages to {elsewhere}: `redrive` cannot pull them"),
            format!(
                "set DEAD_LETTER_SUBSCRIPTION to a pull subscription of the dead-letter topic, or {create_again}"
            ),
        );
    }
    match topic {
        Some(topic) if topic != found.topic => Finding::problem(
            name,
            format!("it receives from {}, but DEAD_LETTER_TOPIC is {topic}", found.topic),
            "set DEAD_LETTER_SUBSCRIPTION to a subscription of that topic, or DEAD_LETTER_TOPIC to the topic of the subscription",
        ),
        _ => Finding::ok(name, format!("receives from {}", found.topic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_subscription_that_gets_the_letters_and_gives_them_is_right() {
        let topic = "projects/p1/topics/letters";
        let right = Subscription { topic: topic.to_owned(), ..Subscription::default() };
        assert!(dead_letters("s", &right, Some(topic)).ok && dead_letters("s", &right, None).ok);
        for (wrong, says) in [
            (Subscription { topic: DELETED_TOPIC.to_owned(), ..right.clone() }, "was deleted"),
            (Subscription { is_detached: true, ..right.clone() }, "detached"),
            (Subscription { sends_to: Some("https://x".to_owned()), ..right.clone() }, "https://x"),
            (
                Subscription { topic: "projects/p1/topics/other".to_owned(), ..right },
                "topics/other",
            ),
        ] {
            let finding = dead_letters("s", &wrong, Some(topic));
            assert!(!finding.ok && finding.detail.contains(says), "{}", finding.detail);
        }
    }
}
