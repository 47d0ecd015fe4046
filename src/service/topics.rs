//! Publishes the messages of a fan-out, the event of a load, and dead letters to the configured topics.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::event::loaded_event;
use crate::config::{Config, PubSub};
use crate::envelope::Message;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::job::TriggerMessage;
use crate::letter;
use crate::publisher::{MessageContent, Publisher};
use crate::warehouse::{CompletedLoad, Load};

/// A dead letter is published even if the message's own deadline has passed, but not for longer than
/// this: the subscription's ack deadline (600 s) is at least 30 s later than the message's, which is at most
/// 570 s.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(20);

/// The configured topics.
#[derive(Debug)]
pub(super) struct Topics {
    publisher: Publisher,
    names: PubSub,
    dead_letter_timeout: Duration,
}

impl Topics {
    pub(super) fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Self {
        Self {
            publisher: Publisher::new(config, google),
            names: config.pubsub.clone(),
            dead_letter_timeout: DEAD_LETTER_TIMEOUT.min(config.timing.google_call_timeout),
        }
    }

    /// Publishes the messages of a fan-out, and returns their number. A redelivery publishes them again,
    /// which loads the same tables again.
    pub(super) async fn publish_fan_out(
        &self,
        messages: &[TriggerMessage],
    ) -> Result<u64, Failure> {
        let Some(topic) = &self.names.trigger_topic else {
            return Err(Failure::NoTriggerTopic(messages.len()));
        };
        let messages = messages
            .iter()
            .map(|message| MessageContent { data: message.to_data(), ..MessageContent::default() })
            .collect();
        let published = self.publisher.publish(topic, messages).await?;
        Ok(published.len() as u64)
    }

    /// Publishes the event of a load, if `LOADED_TOPIC` is set.
    pub(super) async fn publish_event(
        &self,
        load: &Load,
        loaded: &CompletedLoad,
    ) -> Result<(), Failure> {
        let Some(topic) = &self.names.loaded_topic else { return Ok(()) };
        let event = loaded_event(load, loaded);
        let published = self.publisher.publish(topic, vec![event]).await;
        published.map(drop).map_err(|why| Failure::EventNotPublished {
            table: load.job.table.clone(),
            job_id: loaded.job_id.clone(),
            why: Box::new(why),
        })
    }

    /// Publishes a message to the dead-letter topic, with the reason in its attributes. Returns the error's
    /// text, because the failure to report is the one that made the message a dead letter.
    pub(super) async fn publish_dead_letter(
        &self,
        failure: &Failure,
        message: &Message,
    ) -> Result<(), String> {
        let Some(topic) = &self.names.dead_letter_topic else {
            return Err("DEAD_LETTER_TOPIC is not set".to_owned());
        };
        let dead_letter = MessageContent {
            data: message.data.as_bytes().to_vec(),
            attributes: letter::attributes(message, failure),
        };
        let published = self.publisher.publish(topic, vec![dead_letter]);
        match timeout(self.dead_letter_timeout, published).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err("Pub/Sub did not answer in time".to_owned()),
        }
    }
}
