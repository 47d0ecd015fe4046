//! Pub/Sub: topics, the dead-letter subscription and the verification of pushes.

use super::reader::Reader;

/// Topics and subscriptions, with full names such as `projects/P/topics/T`.
#[derive(Clone, Debug)]
pub struct PubSub {
    /// Receives the messages of fan-outs.
    pub trigger_topic: Option<String>,
    /// Receives messages that can never succeed.
    pub dead_letter_topic: Option<String>,
    /// Receives an event after each load.
    pub loaded_topic: Option<String>,
    /// The subscription that `redrive` pulls from.
    pub dead_letter_subscription: Option<String>,
    /// The API's base URL, without a trailing slash.
    pub url: String,
    /// Whether the URL is that of an emulator, which needs no credentials.
    pub emulator: bool,
}

/// What the OIDC tokens of pushes must contain.
#[derive(Clone, Debug)]
pub struct PushAuth {
    pub audience: String,
    /// The subscription's service account.
    pub service_account: String,
}

pub(super) fn read(reader: &mut Reader<'_>, project: Option<&str>) -> PubSub {
    let names = ["TRIGGER_TOPIC", "DEAD_LETTER_TOPIC", "LOADED_TOPIC"];
    let topics = names.map(|name| reader.resource_name(name, "topics", project));
    for (index, topic) in topics.iter().enumerate() {
        let same = topics[..index].iter().position(|other| topic.is_some() && other == topic);
        if let Some(same) = same {
            // The service would receive its own messages in an endless loop.
            reader.problem(names[index], &format!("must differ from {}", names[same]));
        }
    }
    let [trigger_topic, dead_letter_topic, loaded_topic] = topics;
    let emulator = reader.emulator_url("PUBSUB_EMULATOR_HOST");
    PubSub {
        trigger_topic,
        dead_letter_topic,
        loaded_topic,
        dead_letter_subscription: reader.resource_name(
            "DEAD_LETTER_SUBSCRIPTION",
            "subscriptions",
            project,
        ),
        emulator: emulator.is_some(),
        url: emulator.unwrap_or_else(|| "https://pubsub.googleapis.com".to_owned()),
    }
}

pub(super) fn read_push_auth(reader: &mut Reader<'_>) -> Option<PushAuth> {
    let audience = reader.optional("PUSH_AUDIENCE");
    let service_account = reader.optional("PUSH_SERVICE_ACCOUNT");
    let (missing, other) = match (audience, service_account) {
        (Some(audience), Some(service_account)) => {
            return Some(PushAuth { audience, service_account });
        }
        (None, None) => return None,
        (Some(_), None) => ("PUSH_SERVICE_ACCOUNT", "PUSH_AUDIENCE"),
        (None, Some(_)) => ("PUSH_AUDIENCE", "PUSH_SERVICE_ACCOUNT"),
    };
    reader.problem(missing, &format!("must be set together with {other}, or both unset"));
    None
}
