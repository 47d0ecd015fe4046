//! `redrive`: republishes dead letters to the trigger topic with their own data and attributes. Each
//! is acknowledged after it was published, so none is lost; one that is published and not
//! acknowledged comes twice, and the second message loads the same table again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

use super::{Error, age};
use crate::config::Config;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::letter::{self, Republished};
use crate::publisher::{Outgoing, PubSubError, Publisher, PulledMessage};
use crate::retry::Backoff;
use crate::text;

/// Letters pulled at once, if their size allows it.
const BATCH: i32 = 100;

/// Pulls in a row that bring nothing new before the subscription counts as empty, and the pauses
/// between them: Pub/Sub may return no message several times though there are some.
const EMPTY_PULLS: Backoff = Backoff {
    base_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(1),
    attempts: 8,
    max_retry_after: Duration::ZERO,
};

/// How long pulled letters are held: publishing a batch one by one may outlast the subscription's
/// own deadline, and those that stay must not be pulled again meanwhile.
const HOLD_SECONDS: i32 = 600;

/// Ids in one request, which has at most 512 KiB (<https://cloud.google.com/pubsub/quotas>).
const MAX_IDS: usize = 500;

/// Letters in a row that could not be published because Pub/Sub did not answer, after all attempts
/// for each.
const MAX_OUTAGES: u32 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Only letters with this reason (`none`: those without one)
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// This many letters; the exit code is 1 if there are fewer
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, Error> {
    let subscription = config.pubsub.dead_letter_subscription.as_deref();
    let subscription = subscription
        .ok_or_else(|| Error::usage("DEAD_LETTER_SUBSCRIPTION is not set: it names the subscription that keeps the dead letters (Terraform's output operator_environment has it)"))?;
    let topic = config.pubsub.trigger_topic.as_deref();
    let topic = topic.ok_or_else(|| Error::usage("TRIGGER_TOPIC is not set: it names the topic to publish to (Terraform's output operator_environment has it)"))?;
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::new(config)));
    let mut redrive = Redrive {
        publisher: &publisher,
        subscription,
        topic,
        args,
        fates: HashMap::new(),
        held: HashMap::new(),
        republished: Republished::default(),
        batch: BATCH,
        outages: 0,
    };
    let result = redrive.all().await;
    // Letters that stay can be pulled by others at once, also after a failure.
    let given_back = redrive.give_back().await;
    let counts = redrive.counts();
    say!("{}", counts.told(args, topic));
    result.map_err(|failure| failure.explained_at_terminal())?;
    given_back.map_err(|refusal| refusal.failure.explained_at_terminal())?;
    if counts.seen == 0 {
        say!("If another client has just pulled them, run this again in a few minutes.");
    }
    Ok(counts.is_all(args))
}

/// What became of a letter that was pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not asked for, or more than the limit.
    NotWanted,
    /// Asked for, and still in the subscription.
    Stays,
    /// Published, or with `--dry-run` found.
    Published,
    Acknowledged,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    seen: usize,
    stay: usize,
    published: usize,
    acknowledged: usize,
}

impl Counts {
    fn of(fates: impl Iterator<Item = Fate>) -> Self {
        let mut counts = Self::default();
        for fate in fates {
            counts.seen += 1;
            counts.stay += usize::from(fate == Fate::Stays);
            counts.published += usize::from(matches!(fate, Fate::Published | Fate::Acknowledged));
            counts.acknowledged += usize::from(fate == Fate::Acknowledged);
        }
        counts
    }

    /// Whether all that was asked for is done.
    fn is_all(&self, args: &Args) -> bool {
        args.dry_run
            || match args.limit {
                Some(limit) => self.acknowledged == limit,
                None => self.stay == 0 && self.acknowledged == self.published,
            }
    }

    fn told(&self, args: &Args, topic: &str) -> String {
        let Self { seen, published, acknowledged, .. } = self;
        if args.dry_run {
            return format!("{published} of {seen} letters would be published to {topic}");
        }
        let left = seen - acknowledged;
        format!(
            "{published} of {seen} letters published to {topic}, {acknowledged} acknowledged, {left} left"
        )
    }
}

struct Redrive<'a> {
    publisher: &'a Publisher,
    subscription: &'a str,
    topic: &'a str,
    args: &'a Args,
    /// By the letter's id.
    fates: HashMap<String, Fate>,
    /// By the letter's id, what acknowledges it.
    held: HashMap<String, String>,
    republished: Republished,
    batch: i32,
    outages: u32,
}

impl Redrive<'_> {
    async fn all(&mut self) -> Result<(), Failure> {
        let mut empty = 0;
        while empty < EMPTY_PULLS.attempts && !self.is_enough() {
            if empty > 0 {
                sleep(EMPTY_PULLS.delay_bound(empty)).await;
            }
            let letters = match self.publisher.pull(self.subscription, self.batch).await {
                Ok(letters) => letters,
                Err(refusal) if refusal.is_too_much() && self.batch > 1 => {
                    self.batch = (self.batch / 5).max(1);
                    continue;
                }
                Err(refusal) => return Err(refusal.failure),
            };
            empty += 1;
            self.hold(&letters).await;
            for letter in letters {
                if self.letter(letter).await? {
                    empty = 0;
                }
            }
        }
        Ok(())
    }

    async fn hold(&mut self, letters: &[PulledMessage]) {
        if letters.is_empty() {
            return;
        }
        let held = letters.iter().map(|letter| (letter.id.clone(), letter.ack_id.clone()));
        self.held.extend(held);
        let ids = letters.iter().map(|letter| letter.ack_id.clone()).collect();
        if let Err(refusal) =
            self.publisher.modify_ack_deadline(self.subscription, ids, HOLD_SECONDS).await
        {
            // They may be pulled again, and are recognized then.
            say!("The letters could not be held: {}", refusal.failure);
        }
    }

    /// Handles a pulled letter, and returns whether it is a new one.
    async fn letter(&mut self, letter: PulledMessage) -> Result<bool, Failure> {
        let known = self.fates.get(&letter.id).copied();
        let fate = match known {
            // The acknowledgment was refused or lost.
            Some(Fate::Published) if !self.args.dry_run => self.acknowledge(&letter).await,
            Some(fate) => fate,
            None if self.is_enough() || !self.is_wanted(&letter) => Fate::NotWanted,
            None => {
                // Counted even if the publishing ends here.
                self.fates.insert(letter.id.clone(), Fate::Stays);
                self.republish(&letter).await?
            }
        };
        self.fates.insert(letter.id, fate);
        Ok(known.is_none())
    }

    async fn republish(&mut self, letter: &PulledMessage) -> Result<Fate, Failure> {
        say!("{}", describe(letter));
        let message = Outgoing {
            attributes: letter::original(letter.message.attributes.clone()),
            data: letter.message.data.clone(),
        };
        // Pub/Sub refuses such a message.
        if message == Outgoing::default() {
            say!("    stays: it has neither data nor attributes of its own");
            return Ok(Fate::Stays);
        }
        if self.args.dry_run {
            return Ok(Fate::Published);
        }
        match self.publisher.publish_one(self.topic, message).await {
            Ok(id) => {
                self.outages = 0;
                let Outgoing { data, attributes } = &letter.message;
                self.republished.add(id, data, attributes, letter.published);
                Ok(self.acknowledge(letter).await)
            }
            Err(refusal) => {
                say!("    stays: {}", refusal.failure);
                self.outages = if refusal.is_transient() { self.outages + 1 } else { 0 };
                if refusal.concerns_all() || self.outages >= MAX_OUTAGES {
                    return Err(refusal.failure);
                }
                Ok(Fate::Stays)
            }
        }
    }

    async fn acknowledge(&mut self, letter: &PulledMessage) -> Fate {
        let ids = vec![letter.ack_id.clone()];
        match self.publisher.acknowledge(self.subscription, ids).await {
            Ok(()) => {
                self.held.remove(&letter.id);
                Fate::Acknowledged
            }
            Err(refusal) => {
                say!(
                    "    {} was published and stays: its acknowledgment failed: {}",
                    letter.id,
                    refusal.failure
                );
                Fate::Published
            }
        }
    }

    async fn give_back(&self) -> Result<(), PubSubError> {
        let held: Vec<String> = self.held.values().cloned().collect();
        for ids in held.chunks(MAX_IDS) {
            self.publisher.modify_ack_deadline(self.subscription, ids.to_vec(), 0).await?;
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        Counts::of(self.fates.values().copied())
    }

    fn is_enough(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.counts().published >= limit)
    }

    fn is_wanted(&self, letter: &PulledMessage) -> bool {
        let is_asked_for =
            self.args.reason.as_ref().is_none_or(|reason| reason == reason_of(letter));
        is_asked_for && !self.republished.has(&letter.message.data, &letter.message.attributes)
    }
}

fn reason_of(letter: &PulledMessage) -> &str {
    letter.message.attributes.get("reason").map_or("none", String::as_str)
}

fn describe(letter: &PulledMessage) -> String {
    let attributes = &letter.message.attributes;
    let detail = attributes.get("detail").map_or(
        "given up by the subscription after its delivery attempts; the service's log has the reason",
        String::as_str,
    );
    format!(
        "{} {} {}: {}\n    {}",
        letter.id,
        age(OffsetDateTime::now_utc().unix_timestamp() - letter.published),
        text::excerpt(reason_of(letter), 100),
        text::excerpt(&String::from_utf8_lossy(&letter.message.data), 200),
        text::excerpt(detail, 1024),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_only_if_all_that_was_asked_for_is() {
        let args = |limit, dry_run| Args { dry_run, reason: None, limit };
        use Fate::{Acknowledged as A, NotWanted as N, Published as P, Stays as S};
        for (fates, limit, is_all) in [
            (&[][..], None, true),
            (&[A, A, N], None, true),
            (&[A, S], None, false),
            (&[A, P], None, false),
            (&[A, A, N], Some(2), true),
            (&[A], Some(2), false),
            (&[A, P], Some(2), false),
            (&[A, A, S], Some(2), true),
            (&[], Some(1), false),
        ] {
            let counts = Counts::of(fates.iter().copied());
            assert_eq!(counts.is_all(&args(limit, false)), is_all, "{fates:?} {limit:?}");
            assert!(counts.is_all(&args(limit, true)));
        }
        let counts = Counts::of([A, P, S, N].into_iter());
        assert_eq!(
            counts.told(&args(None, false), "t"),
            "2 of 4 letters published to t, 1 acknowledged, 3 left"
        );
    }
}
