//! `redrive`: dead letters back to the trigger topic, with their own data and attributes, once what
//! was wrong is mended. Each is acknowledged only after it was published, so none is lost; one that
//! is published and not acknowledged comes twice, and the second loads the same table again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

use super::Error;
use crate::config::Config;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::letter;
use crate::publisher::{Outgoing, Publisher, Pulled};
use crate::text;

/// Letters pulled at once.
const BATCH: i32 = 100;
/// Pulls in a row that bring nothing new before the subscription counts as empty: Pub/Sub may
/// answer with none while there are some.
const EMPTY: u32 = 3;
/// What lies between two such pulls.
const PAUSE: Duration = Duration::from_millis(300);
/// How long pulled letters are held: publishing a batch one by one may outlast the subscription's
/// own deadline, and those that stay must not be pulled again meanwhile.
const HOLD_SECONDS: i32 = 600;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Only letters with this reason (`none`: those without one)
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// At most this many letters
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, Error> {
    let subscription = config.pubsub.dead_letter_subscription.as_deref();
    let subscription = subscription
        .ok_or_else(|| Error::usage("DEAD_LETTER_SUBSCRIPTION is not set: it says where the dead letters wait (Terraform's output operator_environment has it)"))?;
    let topic = config.pubsub.trigger_topic.as_deref();
    let topic = topic.ok_or_else(|| Error::usage("TRIGGER_TOPIC is not set: it says where letters are published to (Terraform's output operator_environment has it)"))?;
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::new(config)));
    let mut redrive = Redrive {
        publisher: &publisher,
        subscription,
        topic,
        args,
        start: OffsetDateTime::now_utc().unix_timestamp(),
        seen: HashSet::new(),
        held: HashSet::new(),
        done: 0,
    };
    let result = redrive.all().await;
    // Whatever was only looked at goes back at once, also after a failure.
    let given_back = redrive.give_back().await;
    let (done, seen) = (redrive.done, redrive.seen.len());
    let verb = if args.dry_run { "would be published" } else { "published" };
    say!("{done} of {seen} letters {verb} to {topic}");
    result.map_err(|failure| failure.explained())?;
    given_back.map_err(|failure| failure.explained())?;
    if seen == 0 {
        say!("Letters that somebody has just pulled come back after a minute.");
    }
    Ok(true)
}

struct Redrive<'a> {
    publisher: &'a Publisher,
    subscription: &'a str,
    topic: &'a str,
    args: &'a Args,
    /// Letters that are newer were made meanwhile, some perhaps of what was just published.
    start: i64,
    seen: HashSet<String>,
    /// What acknowledges the letters that were pulled and not acknowledged.
    held: HashSet<String>,
    done: usize,
}

impl Redrive<'_> {
    async fn all(&mut self) -> Result<(), Failure> {
        let mut empty = 0;
        while empty < EMPTY && !self.is_enough() {
            if empty > 0 {
                sleep(PAUSE).await;
            }
            empty += 1;
            let letters = self.publisher.pull(self.subscription, BATCH).await?;
            if letters.is_empty() {
                continue;
            }
            let ids: Vec<String> = letters.iter().map(|letter| letter.ack_id.clone()).collect();
            self.held.extend(ids.iter().cloned());
            self.publisher.keep(self.subscription, ids, HOLD_SECONDS).await?;
            for letter in letters {
                // Newer ones may lie among the older: Pub/Sub keeps no order.
                if letter.published > self.start || !self.seen.insert(letter.id.clone()) {
                    continue;
                }
                empty = 0;
                if !self.is_enough() && self.is_wanted(&letter) {
                    self.one(letter).await?;
                }
            }
        }
        Ok(())
    }

    async fn one(&mut self, letter: Pulled) -> Result<(), Failure> {
        say!("{}", describe(&letter, self.start));
        let message = Outgoing {
            attributes: letter::original(letter.message.attributes),
            data: letter.message.data,
        };
        // Pub/Sub refuses such a message, and it would stand in the way of all others.
        if message == Outgoing::default() {
            say!("    stays: nothing is left of it to publish");
            return Ok(());
        }
        if !self.args.dry_run {
            self.publisher.publish(self.topic, vec![message]).await?;
            self.publisher.acknowledge(self.subscription, vec![letter.ack_id.clone()]).await?;
            self.held.remove(&letter.ack_id);
        }
        self.done += 1;
        Ok(())
    }

    async fn give_back(&self) -> Result<(), Failure> {
        let held: Vec<String> = self.held.iter().cloned().collect();
        for ids in held.chunks(1000) {
            self.publisher.keep(self.subscription, ids.to_vec(), 0).await?;
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.done >= limit)
    }

    fn is_wanted(&self, letter: &Pulled) -> bool {
        match &self.args.reason {
            None => true,
            Some(reason) => reason == reason_of(letter),
        }
    }
}

fn reason_of(letter: &Pulled) -> &str {
    letter.message.attributes.get("reason").map_or("none", String::as_str)
}

fn describe(letter: &Pulled, now: i64) -> String {
    let attributes = &letter.message.attributes;
    let detail = attributes.get("detail").map_or(
        "given up by the subscription after its delivery attempts; the service's log tells why",
        String::as_str,
    );
    format!(
        "{} {} {}: {}\n    {}",
        letter.id,
        age(now - letter.published),
        text::excerpt(reason_of(letter), 100),
        text::excerpt(&String::from_utf8_lossy(&letter.message.data), 200),
        text::excerpt(detail, 1024),
    )
}

fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
