//! `publish`: messages to the trigger topic, or pushed to a running service.

use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::wait::Watch;
use crate::config::Config;
use crate::envelope::{Data, Message};
use crate::google::GoogleCredentials;
use crate::job::{self, Order, Request};
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
    /// One message for each of the three tables
    #[arg(long, group = "what", conflicts_with_all = ["table", "show_id"])]
    all: bool,
    /// The topic, instead of TRIGGER_TOPIC: a full name or an id
    #[arg(long, value_name = "TOPIC", conflicts_with = "url")]
    topic: Option<String>,
    /// Push to a running service and wait for its answer, instead of publishing
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Follow the load jobs to their end, and answer 1 where one of the tables is not loaded
    #[arg(long, conflicts_with = "url")]
    wait: bool,
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, Error> {
    let orders = orders(config, args)?;
    match &args.url {
        Some(url) => push_all(config, url, &orders).await,
        None => publish_all(config, args, &orders).await,
    }
}

/// The messages, refused here as the service would refuse them.
fn orders(config: &Config, args: &Args) -> Result<Vec<Order>, Error> {
    let order = |table: Option<String>| Order {
        table,
        search_term: args.search_term.clone(),
        show_id: args.show_id.clone(),
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
pub(super) fn understand(config: &Config, order: &Order) -> Result<Request, Error> {
    let message = Message {
        id: String::new(),
        publish_time: String::new(),
        attributes: std::collections::BTreeMap::new(),
        data: Data::Bytes(order.to_data()),
    };
    job::parse(&message, &config.naming).map_err(|refused| Error::usage(&refused.to_string()))
}

async fn publish_all(config: &Config, args: &Args, orders: &[Order]) -> Result<bool, Error> {
    let topic = match &args.topic {
        Some(topic) => topic_name(config, topic)?,
        None => config.pubsub.trigger_topic.clone().ok_or_else(|| {
            Error::usage("no topic: give --topic or set TRIGGER_TOPIC, or push to a running service with --url")
        })?,
    };
    let watch = if args.wait { Some(Watch::start(config).await?) } else { None };
    let publisher = Publisher::new(config, &Arc::new(GoogleCredentials::new(config)));
    let messages = orders
        .iter()
        .map(|order| Outgoing { data: order.to_data(), ..Outgoing::default() })
        .collect();
    let published = publisher.publish(&topic, messages).await;
    let ids = published.map_err(|failure| failure.explained())?;
    for (order, id) in orders.iter().zip(ids) {
        say!("{id} {}", String::from_utf8_lossy(&order.to_data()));
    }
    match watch {
        Some(watch) => watch.follow(config, orders).await,
        None => Ok(true),
    }
}

fn topic_name(config: &Config, topic: &str) -> Result<String, Error> {
    if topic.contains('/') {
        return Ok(topic.to_owned());
    }
    let project = config.project.as_deref();
    let project = project.ok_or_else(|| {
        Error::usage("--topic is an id: set GOOGLE_CLOUD_PROJECT, or give the full name")
    })?;
    Ok(format!("projects/{project}/topics/{topic}"))
}

async fn push_all(config: &Config, url: &str, orders: &[Order]) -> Result<bool, Error> {
    let mut all = true;
    for order in orders {
        let data = order.to_data();
        let now = OffsetDateTime::now_utc();
        let id = format!("by-hand-{}", now.unix_timestamp_nanos());
        let envelope = push::envelope(&data, &id, &now.format(&Rfc3339).unwrap_or_default());
        let answer = push::push(url, &envelope, &config.timing).await?;
        all &= answer.is_acknowledged() && !answer.outcome.starts_with("dead_lettered");
        say!("{} {} {}", answer.status, answer.outcome, String::from_utf8_lossy(&data));
        if !answer.detail.is_empty() {
            say!("    {}", answer.detail);
        }
    }
    Ok(all)
}
