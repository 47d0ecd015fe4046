//! `redrive`: dead letters back to the trigger topic, with their own data and attributes, once what
//! was wrong is mended. Each is acknowledged only after it was published, so none is lost; one that
//! is published and not acknowledged comes twice, and the second loads the same table again.

use std::collections::HashSet;
use std::sync::Arc;

use time::OffsetDateTime;

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
/// How long letters that stay are held back, so that they are not pulled again meanwhile.
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

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, String> {
    let subscription = config.pubsub.dead_letter_subscription.as_deref();
    let subscription = subscription
        .ok_or("DEAD_LETTER_SUBSCRIPTION is not set: it says where the dead letters wait (Terraform's output operator_environment has it)")?;
    let topic = config.pubsub.trigger_topic.as_deref();
    let topic = topic.ok_or("TRIGGER_TOPIC is not set: it says where letters are published to (Terraform's output operator_environment has it)")?;
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::default()));
    let mut redrive = Redrive {
        publisher: &publisher,
        subscription,
        topic,
        args,
        start: OffsetDateTime::now_utc().unix_timestamp(),
        seen: HashSet::new(),
        held: Vec::new(),
        done: 0,
    };
    let result = redrive.all().await;
    // Whatever was only looked at goes back at once, also after a failure.
    let held = std::mem::take(&mut redrive.held);
    let given_back = redrive.give_back(held).await;
    let (done, seen) = (redrive.done, redrive.seen.len());
    let verb = if args.dry_run { "would be published" } else { "published" };
    println!("{done} of {seen} letters {verb} to {topic}");
    let explain = |failure: Failure| format!("{failure}. What to do: {}", failure.advice());
    result.map_err(explain)?;
    given_back.map_err(explain)?;
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
    held: Vec<String>,
    done: usize,
}

impl Redrive<'_> {
    async fn all(&mut self) -> Result<(), Failure> {
        let mut empty = 0;
        while empty < EMPTY && !self.is_enough() {
            let letters = self.publisher.pull(self.subscription, BATCH).await?;
            empty = if letters.is_empty() { empty + 1 } else { 0 };
            let mut held = Vec::new();
            for letter in letters {
                let known = !self.seen.insert(letter.id.clone());
                if known || letter.published > self.start {
                    if !known {
                        self.seen.remove(&letter.id);
                    }
                    empty += 1;
                    held.push(letter.ack_id);
                } else if self.is_enough() || !self.is_wanted(&letter) {
                    held.push(letter.ack_id);
                } else {
                    self.one(letter, &mut held).await?;
                }
            }
            if !held.is_empty() {
                self.publisher.keep(self.subscription, held.clone(), HOLD_SECONDS).await?;
                self.held.append(&mut held);
            }
        }
        Ok(())
    }

    async fn one(&mut self, letter: Pulled, held: &mut Vec<String>) -> Result<(), Failure> {
        println!("{}", describe(&letter, self.start));
        if self.args.dry_run {
            held.push(letter.ack_id);
        } else {
            let message = Outgoing {
                attributes: letter::original(letter.message.attributes),
                data: letter.message.data,
            };
            self.publisher.publish(self.topic, vec![message]).await?;
            self.publisher.acknowledge(self.subscription, vec![letter.ack_id]).await?;
        }
        self.done += 1;
        Ok(())
    }

    async fn give_back(&self, held: Vec<String>) -> Result<(), Failure> {
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
