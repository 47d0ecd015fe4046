//! `publish`: messages to the trigger topic, or pushed to a running service.

use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::wait::{Awaited, Watch};
use crate::config::{self, Config};
use crate::envelope::{Data, Message};
use crate::google::GoogleCredentials;
use crate::job::{self, Request, TriggerMessage};
use crate::names::Kind;
use crate::publisher::{Outgoing, Publisher};
use crate::push;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct Args {
    /// podcasts, episodes, mentions, or a configured table's name; all three when absent
    #[arg(long, group = "what", value_name = "TABLE")]
    table: Option<String>,
    /// The term to search for, instead of the configured one
    #[arg(long, group = "what", value_name = "TERM")]
    search_term: Option<String>,
    /// The show, instead of the one that the search finds; needs --search-term
    #[arg(long, value_name = "ID", requires = "search_term")]
    show_id: Option<String>,
    /// How much of a listing that stays contradictory may be missing, in percent; 2, of podcasts 10
    /// when absent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    max_missing_percent: Option<u8>,
    /// One message for each of the three tables
    #[arg(long, group = "what", conflicts_with_all = ["table", "show_id"])]
    all: bool,
    /// The topic, instead of TRIGGER_TOPIC: a full name or an id
    #[arg(long, value_name = "TOPIC", conflicts_with = "url")]
    topic: Option<String>,
    /// Push to a running service and wait for its answer, instead of publishing
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Follow the load jobs to their end; the exit code is 1 unless every table is loaded
    #[arg(long, conflicts_with = "url")]
    wait: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, Error> {
    let orders = orders(config, args)?;
    match &args.url {
        Some(url) => push_all(config, args, url, &orders).await,
        None => publish_all(config, args, orders).await,
    }
}

/// The messages, refused here as the service would refuse them.
fn orders(config: &Config, args: &Args) -> Result<Vec<TriggerMessage>, Error> {
    let order = |table: Option<String>| TriggerMessage {
        table,
        search_term: args.search_term.clone(),
        show_id: args.show_id.clone(),
        max_missing_percent: args.max_missing_percent,
    };
    let orders = if args.all {
        Kind::ALL.iter().map(|kind| order(Some(kind.name().to_owned()))).collect()
    } else {
        vec![order(args.table.clone())]
    };
    for order in &orders {
        understand(config, order)?;
    }
    Ok(orders)
}

/// What the service will take a message for.
fn understand(config: &Config, order: &TriggerMessage) -> Result<Request, Error> {
    let message = Message {
        id: String::new(),
        publish_time: String::new(),
        attributes: std::collections::BTreeMap::new(),
        data: Data::Bytes(order.to_data()),
    };
    job::parse(&message, &config.naming).map_err(|refused| Error::usage(&refused.to_string()))
}

/// The messages, those of fan-outs one by one, each with the table that it loads. The service would
/// publish them itself, and only it would know their ids.
fn split(
    config: &Config,
    orders: Vec<TriggerMessage>,
) -> Result<Vec<(TriggerMessage, job::Job)>, Error> {
    let mut split = Vec::new();
    for order in orders {
        let parts = match understand(config, &order)? {
            Request::Load(job) => {
                split.push((order, job));
                continue;
            }
            Request::FanOut(parts) => parts,
        };
        for order in parts {
            if let Request::Load(job) = understand(config, &order)? {
                split.push((order, job));
            }
        }
    }
    Ok(split)
}

async fn publish_all(
    config: &Config,
    args: &Args,
    orders: Vec<TriggerMessage>,
) -> Result<bool, Error> {
    let topic = match &args.topic {
        Some(topic) => config::resource_name(topic, "topics", config.project.as_deref())
            .map_err(|why| Error::usage(&format!("--topic {why}")))?,
        None => config.pubsub.trigger_topic.clone().ok_or_else(|| {
            Error::usage("no topic: give --topic or set TRIGGER_TOPIC, or push to a running service with --url")
        })?,
    };
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::new(config)));
    if !args.wait {
        publish(&publisher, args, &topic, &orders).await?;
        return Ok(true);
    }
    let watch = Watch::start(config).await?;
    let (orders, jobs): (Vec<TriggerMessage>, Vec<job::Job>) =
        split(config, orders)?.into_iter().unzip();
    let ids = publish(&publisher, args, &topic, &orders).await?;
    let awaited = ids.into_iter().zip(jobs).map(|(id, job)| (id, Awaited::new(job))).collect();
    watch.follow(config, args.json, awaited).await
}

async fn publish(
    publisher: &Publisher,
    args: &Args,
    topic: &str,
    orders: &[TriggerMessage],
) -> Result<Vec<String>, Error> {
    let messages = orders
        .iter()
        .map(|order| Outgoing { data: order.to_data(), ..Outgoing::default() })
        .collect();
    let published = publisher.publish(topic, messages).await;
    let ids = published.map_err(|failure| failure.explain_at_terminal())?;
    for (order, id) in orders.iter().zip(&ids) {
        if args.json {
            say!("{}", json!({"event": "published", "messageId": id, "data": data_of(order)}));
        } else {
            say!("{id} {}", String::from_utf8_lossy(&order.to_data()));
        }
    }
    Ok(ids)
}

fn data_of(order: &TriggerMessage) -> Value {
    serde_json::from_slice(&order.to_data()).unwrap_or_default()
}

async fn push_all(
    config: &Config,
    args: &Args,
    url: &str,
    orders: &[TriggerMessage],
) -> Result<bool, Error> {
    let mut all = true;
    for order in orders {
        let data = order.to_data();
        let now = OffsetDateTime::now_utc();
        let id = format!("by-hand-{}", now.unix_timestamp_nanos());
        let envelope = push::envelope(&data, &id, &now.format(&Rfc3339).unwrap_or_default());
        let answer = push::push(url, &envelope, &config.timing).await?;
        all &= answer.is_acknowledged() && !answer.outcome.starts_with("dead_lettered");
        if args.json {
            let line = json!({
                "event": "answered", "messageId": id, "data": data_of(order),
                "status": answer.status, "outcome": answer.outcome, "detail": answer.detail,
            });
            say!("{line}");
            continue;
        }
        say!("{} {} {}", answer.status, answer.outcome, String::from_utf8_lossy(&data));
        if !answer.detail.is_empty() {
            say!("    {}", answer.detail);
        }
    }
    Ok(all)
}
