//! Pub/Sub: the topics, and whether their messages reach a subscription.

use std::sync::Arc;

use super::finding::Finding;
use crate::config::Config;
use crate::google::GoogleCredentials;
use crate::publisher::{DELETED_TOPIC, Publisher, Subscription};

pub(super) async fn findings(config: &Config, google: &Arc<GoogleCredentials>) -> Vec<Finding> {
    let publisher = Publisher::new(config, google);
    let pubsub = &config.pubsub;
    let mut findings = vec![
        match &pubsub.trigger_topic {
            Some(name) => check_topic(&publisher, name, Some("create its push subscription")).await,
            None => Finding::problem(
                "TRIGGER_TOPIC",
                "not set",
                "set it to the topic's name; fan-outs, `publish` and `redrive` need it",
            ),
        },
        match &pubsub.dead_letter_topic {
            Some(name) => {
                let advice = "create the subscription that DEAD_LETTER_SUBSCRIPTION names";
                check_topic(&publisher, name, Some(advice)).await
            }
            None => Finding::problem(
                "DEAD_LETTER_TOPIC",
                "not set",
                "set it to the topic's name; without it, messages that fail permanently are rejected with 400 and redelivered",
            ),
        },
    ];
    if let Some(name) = &pubsub.loaded_topic {
        findings.push(check_topic(&publisher, name, None).await);
    }
    findings.push(match &pubsub.dead_letter_subscription {
        Some(name) => match publisher.get_subscription(name).await {
            Ok(found) => check_dead_letters(name, &found, pubsub.dead_letter_topic.as_deref()),
            Err(error) => Finding::failure(name, &error.failure),
        },
        None => Finding::problem(
            "DEAD_LETTER_SUBSCRIPTION",
            "not set",
            "set it to the subscription's name; `redrive` needs it",
        ),
    });
    findings
}

/// Checks that a topic exists and, if there is advice for it, that it has a subscription: without one,
/// messages are lost.
async fn check_topic(
    publisher: &Publisher,
    name: &str,
    subscription_advice: Option<&str>,
) -> Finding {
    if let Err(error) = publisher.check_topic(name).await {
        return Finding::failure(name, &error.failure);
    }
    match (publisher.has_subscription(name).await, subscription_advice) {
        (Ok(true), _) => Finding::ok(name, "exists and has a subscription"),
        (Ok(false), None) => Finding::ok(name, "exists; no subscription receives its events"),
        (Ok(false), Some(advice)) => Finding::problem(
            name,
            "it has no subscription: messages published to it are lost",
            format!(
                "{advice} (`terraform apply` does this). If the topic was deleted and created again, its earlier subscriptions receive nothing: delete and create them again"
            ),
        ),
        (Err(error), _) => Finding::ok(
            name,
            format!("exists; whether it has a subscription is unknown: {}", error.failure),
        ),
    }
}

/// Checks that the subscription receives from the dead-letter topic, and that `redrive` can pull from it.
fn check_dead_letters(name: &str, found: &Subscription, topic: Option<&str>) -> Finding {
    let recreate = "delete the subscription and create a pull subscription of the topic in DEAD_LETTER_TOPIC, without an export (`terraform apply` does this)";
    if found.topic == DELETED_TOPIC {
        return Finding::problem(
            name,
            "its topic was deleted: it receives nothing, even if a topic of the same name exists now",
            format!("republish its remaining messages with `spotify-bq redrive`, then {recreate}"),
        );
    }
    if found.is_detached {
        return Finding::problem(
            name,
            "it is detached from its topic: it receives nothing",
            recreate,
        );
    }
    if let Some(elsewhere) = &found.sends_to {
        return Finding::problem(
            name,
            format!("it delivers messages to {elsewhere}: `redrive` cannot pull them"),
            format!(
                "set DEAD_LETTER_SUBSCRIPTION to a pull subscription of the dead-letter topic, or {recreate}"
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
    fn only_a_pull_subscription_of_the_dead_letter_topic_is_ok() {
        let topic = "projects/p1/topics/letters";
        let valid = Subscription { topic: topic.to_owned(), ..Subscription::default() };
        for topic in [Some(topic), None] {
            assert!(check_dead_letters("s", &valid, topic).ok);
        }
        for (invalid, detail) in [
            (Subscription { topic: DELETED_TOPIC.to_owned(), ..valid.clone() }, "was deleted"),
            (Subscription { is_detached: true, ..valid.clone() }, "detached"),
            (Subscription { sends_to: Some("https://x".to_owned()), ..valid.clone() }, "https://x"),
            (
                Subscription { topic: "projects/p1/topics/other".to_owned(), ..valid },
                "topics/other",
            ),
        ] {
            let finding = check_dead_letters("s", &invalid, Some(topic));
            assert!(!finding.ok && finding.detail.contains(detail), "{}", finding.detail);
        }
    }
}
