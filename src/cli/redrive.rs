//! `redrive`: republishes dead letters to the trigger topic, with their original data and attributes.

mod progress;
mod redriver;

use std::sync::Arc;

use super::error::Error;
use crate::config::Config;
use crate::google::GoogleCredentials;
use crate::publisher::Publisher;
use progress::Goal;
use redriver::Redriver;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List the dead letters, without republishing them
    #[arg(long)]
    dry_run: bool,
    /// Only dead letters with this reason; `none` selects those without one, which Pub/Sub forwarded
    /// after the last delivery attempt
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Republish N dead letters; the exit code is 1 if there are fewer
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, Error> {
    let pubsub = &config.pubsub;
    let (Some(subscription), Some(topic)) =
        (&pubsub.dead_letter_subscription, &pubsub.trigger_topic)
    else {
        let (name, resource) = match pubsub.dead_letter_subscription {
            None => ("DEAD_LETTER_SUBSCRIPTION", "the subscription that keeps the dead letters"),
            Some(_) => ("TRIGGER_TOPIC", "the topic to republish to"),
        };
        return Err(Error::Usage(format!(
            "{name} is not set: set it to {resource} (Terraform's output operator_environment has it)"
        )));
    };
    let goal = Goal { dry_run: args.dry_run, limit: args.limit };
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::new(config)));
    let mut redriver = Redriver::new(&publisher, subscription, topic, args.reason.as_deref(), goal);
    let result = redriver.run().await;
    // Other clients can then pull what stays at once, even after an error.
    let released = redriver.release().await;
    let counts = redriver.counts();
    say!("{}", counts.summary(&goal, topic));
    result.map_err(|failure| failure.explain_at_terminal())?;
    released.map_err(|error| error.failure.explain_at_terminal())?;
    if let Some(next_step) = counts.next_step(&goal) {
        say!("{next_step}");
    }
    Ok(counts.is_complete(&goal))
}
