//! Pulls dead letters, republishes them one by one, and acknowledges each after it is published. So none
//! is lost. If one is published but not acknowledged, the next run republishes it again, and its table is
//! loaded twice.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

use super::progress::{Counts, Goal, Status};
use crate::cli::age::format_age;
use crate::failure::Failure;
use crate::letter::{self, Republished};
use crate::publisher::{MessageContent, PubSubError, Publisher, PulledMessage};
use crate::retry::Backoff;
use crate::text;

/// The number of messages in the first pull. A pull that is too large or too slow is repeated with fewer.
const MAX_PULLED_MESSAGES: i32 = 100;

/// The number of pulls in a row without a new message after which the subscription counts as empty, and
/// the pauses between them. Pub/Sub may return no message although there are some.
const EMPTY_PULLS: Backoff = Backoff {
    base_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(1),
    attempts: 8,
    max_retry_after: Duration::ZERO,
};

/// The ack deadline of pulled messages, so that they are not redelivered while a batch is published one
/// by one. Pub/Sub's maximum.
const ACK_DEADLINE_SECONDS: i32 = 600;

/// The maximum number of ack IDs in one request, which has at most 512 KiB (<https://cloud.google.com/pubsub/quotas>).
const MAX_ACK_IDS: usize = 500;

/// The command gives up after this many messages in a row for which Pub/Sub was unavailable in all attempts.
const MAX_OUTAGES: u32 = 3;

/// The reason that selects dead letters without a `reason`.
const NO_REASON: &str = "none";

pub(super) struct Redriver<'a> {
    publisher: &'a Publisher,
    subscription: &'a str,
    topic: &'a str,
    reason: Option<&'a str>,
    goal: Goal,
    /// By message ID.
    statuses: HashMap<String, Status>,
    /// The ack IDs of pulled messages that are not acknowledged, by message ID.
    ack_ids: HashMap<String, String>,
    republished: Republished,
    pull_size: i32,
    outages: u32,
}

impl<'a> Redriver<'a> {
    pub(super) fn new(
        publisher: &'a Publisher,
        subscription: &'a str,
        topic: &'a str,
        reason: Option<&'a str>,
        goal: Goal,
    ) -> Self {
        Self {
            publisher,
            subscription,
            topic,
            reason,
            goal,
            statuses: HashMap::new(),
            ack_ids: HashMap::new(),
            republished: Republished::default(),
            pull_size: MAX_PULLED_MESSAGES,
            outages: 0,
        }
    }

    /// Republishes dead letters until the limit is reached or the subscription is empty. Returns an
    /// error if the others would fail, too.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        let mut empty_pulls = 0;
        while empty_pulls < EMPTY_PULLS.attempts && !self.is_limit_reached() {
            if empty_pulls > 0 {
                sleep(EMPTY_PULLS.delay_bound(empty_pulls)).await;
            }
            let messages = match self.publisher.pull(self.subscription, self.pull_size).await {
                Ok(messages) => messages,
                Err(error) if error.is_too_much() && self.pull_size > 1 => {
                    self.pull_size = (self.pull_size / 5).max(1);
                    continue;
                }
                Err(error) => return Err(error.failure),
            };
            empty_pulls += 1;
            self.extend_ack_deadline(&messages).await;
            for message in messages {
                if self.process(message).await? {
                    empty_pulls = 0;
                }
            }
        }
        Ok(())
    }

    async fn extend_ack_deadline(&mut self, messages: &[PulledMessage]) {
        if messages.is_empty() {
            return;
        }
        let ack_ids = messages.iter().map(|message| (message.id.clone(), message.ack_id.clone()));
        self.ack_ids.extend(ack_ids);
        let ids = messages.iter().map(|message| message.ack_id.clone()).collect();
        if let Err(error) =
            self.publisher.modify_ack_deadline(self.subscription, ids, ACK_DEADLINE_SECONDS).await
        {
            // `process` recognizes messages that are pulled again.
            say!(
                "Cannot extend the ack deadline of the pulled dead letters, continuing: {}",
                error.failure
            );
        }
    }

    /// Processes a pulled message. Returns whether it is new.
    async fn process(&mut self, message: PulledMessage) -> Result<bool, Failure> {
        let known = self.statuses.get(&message.id).copied();
        let status = match known {
            // The acknowledgment failed or got lost.
            Some(Status::Republished) if !self.goal.dry_run => self.acknowledge(&message).await,
            Some(status) => status,
            None if self.is_limit_reached() || !self.is_selected(&message) => Status::NotSelected,
            None => {
                // Counted even if `republish` returns an error.
                self.statuses.insert(message.id.clone(), Status::Failed);
                self.republish(&message).await?
            }
        };
        self.statuses.insert(message.id, status);
        Ok(known.is_none())
    }

    async fn republish(&mut self, message: &PulledMessage) -> Result<Status, Failure> {
        say!("{}", describe(message));
        let original = MessageContent {
            attributes: letter::original_attributes(message.message.attributes.clone()),
            data: message.message.data.clone(),
        };
        if original == MessageContent::default() {
            say!(
                "    not republished: Pub/Sub rejects a message with neither data nor attributes. To delete it, pull it with `gcloud pubsub subscriptions pull --auto-ack`"
            );
            return Ok(Status::Failed);
        }
        if self.goal.dry_run {
            return Ok(Status::Republished);
        }
        match self.publisher.publish_one(self.topic, original).await {
            Ok(id) => {
                self.outages = 0;
                let MessageContent { data, attributes } = &message.message;
                self.republished.record(id, data, attributes, message.published);
                Ok(self.acknowledge(message).await)
            }
            Err(error) => {
                say!("    not republished: {}", error.failure.explain_at_terminal());
                self.outages = if error.is_transient() { self.outages + 1 } else { 0 };
                if error.concerns_all() || self.outages >= MAX_OUTAGES {
                    return Err(error.failure);
                }
                Ok(Status::Failed)
            }
        }
    }

    async fn acknowledge(&mut self, message: &PulledMessage) -> Status {
        let ids = vec![message.ack_id.clone()];
        match self.publisher.acknowledge(self.subscription, ids).await {
            Ok(()) => {
                self.ack_ids.remove(&message.id);
                Status::Acknowledged
            }
            Err(error) => {
                say!(
                    "    {} was republished, but its acknowledgment failed: {}",
                    message.id,
                    error.failure
                );
                Status::Republished
            }
        }
    }

    /// Makes the messages that are not acknowledged available to other clients at once.
    pub(super) async fn release(&self) -> Result<(), PubSubError> {
        let ack_ids: Vec<String> = self.ack_ids.values().cloned().collect();
        for ids in ack_ids.chunks(MAX_ACK_IDS) {
            self.publisher.modify_ack_deadline(self.subscription, ids.to_vec(), 0).await?;
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts::new(self.statuses.values().copied())
    }

    fn is_limit_reached(&self) -> bool {
        self.goal.limit.is_some_and(|limit| self.counts().republished >= limit)
    }

    /// Returns whether a message has the requested reason, and is not one that was republished in this
    /// run and failed again.
    fn is_selected(&self, message: &PulledMessage) -> bool {
        self.reason.is_none_or(|reason| reason == reason_of(message))
            && !self.republished.contains(&message.message.data, &message.message.attributes)
    }
}

fn reason_of(message: &PulledMessage) -> &str {
    message.message.attributes.get("reason").map_or(NO_REASON, String::as_str)
}

fn describe(message: &PulledMessage) -> String {
    let detail = message.message.attributes.get("detail").map_or(
        "forwarded by Pub/Sub after the last delivery attempt; search the service's log for the reason",
        String::as_str,
    );
    format!(
        "{} {} {}: {}\n    {}",
        message.id,
        format_age(OffsetDateTime::now_utc().unix_timestamp() - message.published),
        text::excerpt(reason_of(message), 100),
        text::excerpt(&String::from_utf8_lossy(&message.message.data), 200),
        text::excerpt(detail, 1024),
    )
}
