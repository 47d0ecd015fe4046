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
                "set it to the topic's name; without it, messages that can never succeed are answered 400 and delivered again",
            ),
        },
    ];
    if let Some(name) = &pubsub.loaded_topic {
        findings.push(topic(&publisher, name, None).await);
    }
    findings.push(match &pubsub.dead_letter_subscription {
        Some(name) => match publisher.get_subscription(name).await {
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
    if let Err(refusal) = publisher.check_topic(name).await {
        return Finding::failure(name, &refusal.failure);
    }
    match (publisher.has_subscription(name).await, without) {
        (Ok(true), _) => Finding::ok(name, "there, with a subscription"),
        (Ok(false), None) => Finding::ok(name, "there; it has no subscription"),
        (Ok(false), Some(advice)) => Finding::problem(
            name,
            "it has no subscription: what is published to it is lost",
            format!(
                "{advice} (`terraform apply` does); a subscription of a deleted topic with the same name does not count and must be created again"
            ),
        ),
        (Err(refusal), _) => Finding::ok(
            name,
            format!("there; whether it has a subscription is unknown: {}", refusal.failure),
        ),
    }
}

/// Whether the subscription receives what the service publishes to the dead-letter topic, and gives it
/// to `redrive`.
fn dead_letters(name: &str, found: &Subscription, topic: Option<&str>) -> Finding {
    let create_again = "delete the subscription and create it again, without a push endpoint or an export, for the topic in DEAD_LETTER_TOPIC (`terraform apply` does)";
    if found.topic == DELETED_TOPIC {
        return Finding::problem(
            name,
            "its topic was deleted: it receives nothing, also if a topic of the same name was created since",
            format!("take out what it still has with `spotify-bq redrive`, then {create_again}"),
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
            format!("it sends its messages to {elsewhere}: `redrive` can't pull them"),
            format!(
                "set DEAD_LETTER_SUBSCRIPTION to a pull subscription of the dead-letter topic, or {create_again}"
            ),
        );
    }
    match topic {
        Some(topic) if topic != found.topic => Finding::problem(
            name,
            format!("it receives from {}, and DEAD_LETTER_TOPIC is {topic}", found.topic),
            "set DEAD_LETTER_SUBSCRIPTION to a subscription of DEAD_LETTER_TOPIC, or DEAD_LETTER_TOPIC to the topic that it receives from",
        ),
        _ => Finding::ok(name, format!("there, receives from {}", found.topic)),
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
