//! `publish`: publishes messages to the trigger topic, or pushes them to a running service.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::Error;
use super::wait::LoadWatcher;
use crate::config::{self, Config};
use crate::envelope::{Data, Message};
use crate::google::GoogleCredentials;
use crate::job::{self, Action, Job, TriggerMessage};
use crate::names::Kind;
use crate::publisher::{MessageContent, Publisher};
use crate::push;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct Args {
    /// Table: podcasts, episodes, mentions or a configured table name; without it, all three
    #[arg(long, group = "what", value_name = "TABLE")]
    table: Option<String>,
    /// Search term, instead of SEARCH_TERM
    #[arg(long, group = "what", value_name = "TERM")]
    search_term: Option<String>,
    /// Show, instead of the one that the search finds: the 22 characters in its link; needs
    /// --search-term
    #[arg(long, value_name = "ID", requires = "search_term")]
    show_id: Option<String>,
    /// Percentage of items that may be missing from a listing; by default 2, for podcasts 10
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    max_missing_percent: Option<u8>,
    /// Publish one message for each of the three tables
    #[arg(long, group = "what", conflicts_with_all = ["table", "show_id"])]
    all: bool,
    /// Topic, instead of TRIGGER_TOPIC: an ID or a full name
    #[arg(long, value_name = "TOPIC", conflicts_with = "url")]
    topic: Option<String>,
    /// Push to a running service and wait for its response, instead of publishing
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Wait for the load jobs; the exit code is 1 unless every table is loaded
    #[arg(long, conflicts_with = "url")]
    wait: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, Error> {
    let messages = messages(config, args)?;
    match &args.url {
        Some(url) => push_all(config, args, url, &messages).await,
        None => publish_all(config, args, messages).await,
    }
}

/// Returns the messages to publish. Returns an error if the service would reject one.
fn messages(config: &Config, args: &Args) -> Result<Vec<TriggerMessage>, Error> {
    let message = |table: Option<String>| TriggerMessage {
        table,
        search_term: args.search_term.clone(),
        show_id: args.show_id.clone(),
        max_missing_percent: args.max_missing_percent,
    };
    let messages = if args.all {
        Kind::ALL.iter().map(|kind| message(Some(kind.name().to_owned()))).collect()
    } else {
        vec![message(args.table.clone())]
    };
    for message in &messages {
        parse(config, message)?;
    }
    Ok(messages)
}

/// Parses a message as the service does.
fn parse(config: &Config, message: &TriggerMessage) -> Result<Action, Error> {
    let message = Message {
        id: String::new(),
        publish_time: String::new(),
        attributes: BTreeMap::new(),
        data: Data::Bytes(message.to_data()),
    };
    job::parse(&message, &config.naming).map_err(|failure| Error::Usage(failure.to_string()))
}

/// Replaces each fan-out by its messages, and returns each message with its job. If the service
/// published them, their IDs would be unknown here.
fn expand_fan_outs(
    config: &Config,
    messages: Vec<TriggerMessage>,
) -> Result<(Vec<TriggerMessage>, Vec<Job>), Error> {
    let mut expanded = Vec::new();
    for message in messages {
        match parse(config, &message)? {
            Action::Load(job) => expanded.push((message, job)),
            Action::FanOut(parts) => {
                for part in parts {
                    if let Action::Load(job) = parse(config, &part)? {
                        expanded.push((part, job));
                    }
                }
            }
        }
    }
    Ok(expanded.into_iter().unzip())
}

async fn publish_all(
    config: &Config,
    args: &Args,
    messages: Vec<TriggerMessage>,
) -> Result<bool, Error> {
    let topic = match &args.topic {
        Some(topic) => config::resource_name(topic, "topics", config.project.as_deref())
            .map_err(|why| Error::Usage(format!("--topic {why}")))?,
        None => config.pubsub.trigger_topic.clone().ok_or_else(|| {
            Error::Usage("TRIGGER_TOPIC is not set: set it, pass --topic, or push to a running service with --url".to_owned())
        })?,
    };
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::new(config)));
    if !args.wait {
        publish(&publisher, args, &topic, &messages).await?;
        return Ok(true);
    }
    let watcher = LoadWatcher::new(config).await?;
    let (messages, jobs) = expand_fan_outs(config, messages)?;
    let ids = publish(&publisher, args, &topic, &messages).await?;
    watcher.wait(config, args.json, ids.into_iter().zip(jobs).collect()).await
}

/// Publishes the messages, prints them and returns their IDs.
async fn publish(
    publisher: &Publisher,
    args: &Args,
    topic: &str,
    messages: &[TriggerMessage],
) -> Result<Vec<String>, Error> {
    let outgoing = messages
        .iter()
        .map(|message| MessageContent { data: message.to_data(), ..MessageContent::default() })
        .collect();
    let published = publisher.publish(topic, outgoing).await;
    let ids = published.map_err(|failure| failure.explain_at_terminal())?;
    for (message, id) in messages.iter().zip(&ids) {
        let data = message.to_data();
        if args.json {
            say!("{}", json!({"event": "published", "messageId": id, "data": as_json(&data)}));
        } else {
            say!("{id} {}", String::from_utf8_lossy(&data));
        }
    }
    Ok(ids)
}

fn as_json(data: &[u8]) -> Value {
    serde_json::from_slice(data).unwrap_or_default()
}

/// Pushes the messages one by one and prints the responses. Returns whether the service loaded or
/// published what each asks for.
async fn push_all(
    config: &Config,
    args: &Args,
    url: &str,
    messages: &[TriggerMessage],
) -> Result<bool, Error> {
    let mut all_succeeded = true;
    for message in messages {
        let data = message.to_data();
        let now = OffsetDateTime::now_utc();
        let id = format!("by-hand-{}", now.unix_timestamp_nanos());
        let envelope = push::envelope(&data, &id, &now.format(&Rfc3339).unwrap_or_default());
        let response = push::push(url, &envelope, &config.timing).await?;
        all_succeeded &=
            response.is_acknowledged() && !response.outcome.starts_with("dead_lettered");
        if args.json {
            let line = json!({
                "event": "answered", "messageId": id, "data": as_json(&data),
                "status": response.status, "outcome": response.outcome, "detail": response.detail,
            });
            say!("{line}");
            continue;
        }
        say!("{} {} {}", response.status, response.outcome, String::from_utf8_lossy(&data));
        if !response.detail.is_empty() {
            say!("    {}", response.detail);
        }
    }
    Ok(all_succeeded)
}
