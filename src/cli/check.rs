//! `check`: a doctor. One line for each thing that must be in order, with what to do where it is
//! not.

use std::sync::Arc;

use anstyle::AnsiColor;
use serde::Serialize;

use crate::config::{Config, Warehouse as Place};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::meter::Meter;
use crate::names::Kind;
use crate::publisher::{DELETED_TOPIC, Publisher, Subscription};
use crate::spotify::{CallError, Spotify};
use crate::warehouse::Warehouse;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// What was looked at, and how it is.
#[derive(Serialize)]
struct Finding {
    what: String,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(what: &str, detail: impl Into<String>) -> Self {
        Self { what: what.to_owned(), ok: true, detail: detail.into(), advice: None }
    }

    fn problem(what: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { what: what.to_owned(), ok: false, detail: detail.into(), advice }
    }

    fn failure(what: &str, failure: &Failure) -> Self {
        Self::problem(what, failure.to_string(), failure.advice_at_terminal())
    }
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, String> {
    let google = Arc::new(GoogleCredentials::new(config));
    let mut findings = vec![Finding::ok("settings", "all valid")];
    findings.extend(spotify(config).await?);
    findings.extend(warehouse(config, &google).await?);
    findings.extend(pubsub(config, &google).await);
    findings.push(push_verification(config));
    for finding in &findings {
        if args.json {
            say!("{}", serde_json::to_string(finding).map_err(|error| error.to_string())?);
        } else {
            let (colour, mark) = if finding.ok {
                (AnsiColor::Green.on_default(), "ok     ")
            } else {
                (AnsiColor::Red.on_default().bold(), "PROBLEM")
            };
            say!("{colour}{mark}{colour:#} {}: {}", finding.what, finding.detail);
            if let Some(advice) = &finding.advice {
                say!("        → {advice}");
            }
        }
    }
    Ok(findings.iter().all(|finding| finding.ok))
}

async fn spotify(config: &Config) -> Result<Vec<Finding>, String> {
    let client =
        Spotify::new(&config.spotify, &config.timing).map_err(|error| error.to_string())?;
    let size = config.spotify.search_page_size;
    let search = async |limit: u32| {
        let meter = Meter::new(config.timing.message_deadline);
        client.search(&config.naming.term, 0, limit, &meter, |paging| paging.total).await
    };
    let what = "Spotify";
    Ok(match search(size).await {
        Ok(total) => {
            let mut findings = vec![Finding::ok(
                what,
                format!("a search for {:?} finds {total} shows", config.naming.term.text()),
            )];
            let mode = match search(50).await {
                Ok(_) => "Extended Quota Mode: SPOTIFY_SEARCH_PAGE_SIZE may be 50",
                Err(CallError::Failed(Failure::SpotifyRefused { .. })) => {
                    "Development Mode: search pages have at most 10 items"
                }
                Err(_) => "unknown: Spotify did not answer",
            };
            findings.push(Finding::ok("Spotify app", mode));
            findings
        }
        Err(CallError::Failed(failure)) => vec![Finding::failure(what, &failure)],
        Err(CallError::NotFound) => {
            vec![Finding::problem(what, "404 to a search", "check SPOTIFY_API_URL")]
        }
    })
}

async fn warehouse(
    config: &Config,
    google: &Arc<GoogleCredentials>,
) -> Result<Vec<Finding>, String> {
    let warehouse = Warehouse::new(config, google)?;
    let Some(bigquery) = warehouse.bigquery() else {
        return Ok(vec![Finding::ok("warehouse", "a SQLite file, made at the first load")]);
    };
    if matches!(&config.warehouse, Place::BigQuery(place) if place.project.is_empty()) {
        let advice = "set GOOGLE_CLOUD_PROJECT to the project that has the dataset";
        return Ok(vec![Finding::problem("BigQuery", "no project is known", advice)]);
    }
    let place = bigquery.place();
    let mut findings = match bigquery.location().await {
        Ok(location) => vec![Finding::ok(
            &format!("dataset {place}"),
            location.map_or("there".to_owned(), |location| format!("in {location}")),
        )],
        Err(failure) => return Ok(vec![Finding::failure(&format!("dataset {place}"), &failure)]),
    };
    for kind in Kind::ALL {
        let table = config.naming.configured(kind);
        let what = format!("table {table}");
        findings.push(match bigquery.table(table).await {
            Ok(None) => Finding::ok(&what, "not there yet; the first load makes it"),
            Ok(Some(found)) => match found.standing(kind, table) {
                Ok(_) => Finding::ok(&what, "its columns are ours"),
                Err(failure) => Finding::failure(&what, &failure),
            },
            Err(failure) => Finding::failure(&what, &failure),
        });
    }
    Ok(findings)
}

async fn pubsub(config: &Config, google: &Arc<GoogleCredentials>) -> Vec<Finding> {
    let publisher = Publisher::new(config, google);
    let pubsub = &config.pubsub;
    let mut findings = vec![
        match &pubsub.trigger_topic {
            Some(name) => topic(&publisher, name, Some("create its push subscription")).await,
            None => Finding::problem(
                "TRIGGER_TOPIC",
                "not set",
                "set it to the topic's name; fan-outs, `publish` and `redrive` need it",
            ),
        },
        match &pubsub.dead_letter_topic {
            Some(name) => {
                let advice = "create the subscription that DEAD_LETTER_SUBSCRIPTION names";
                topic(&publisher, name, Some(advice)).await
            }
            None => Finding::problem(
                "DEAD_LETTER_TOPIC",
                "not set",
                "set it to the topic's name; without it, messages that can never succeed are answered 400 and delivered again",
            ),
        },
    ];
    if let Some(name) = &pubsub.loaded_topic {
        findings.push(topic(&publisher, name, None).await);
    }
    findings.push(match &pubsub.dead_letter_subscription {
        Some(name) => match publisher.subscription(name).await {
            Ok(found) => dead_letters(name, &found, pubsub.dead_letter_topic.as_deref()),
            Err(refusal) => Finding::failure(name, &refusal.failure),
        },
        None => Finding::problem(
            "DEAD_LETTER_SUBSCRIPTION",
            "not set",
            "set it to the subscription's name; `redrive` needs it",
        ),
    });
    findings
}

/// Whether a topic exists and, if there is advice for that case, has a subscription: without one,
/// what is published is lost.
async fn topic(publisher: &Publisher, name: &str, without: Option<&str>) -> Finding {
    if let Err(refusal) = publisher.topic(name).await {
        return Finding::failure(name, &refusal.failure);
    }
    match (publisher.has_subscription(name).await, without) {
        (Ok(true), _) => Finding::ok(name, "there, with a subscription"),
        (Ok(false), None) => Finding::ok(name, "there; it has no subscription"),
        (Ok(false), Some(advice)) => Finding::problem(
            name,
            "it has no subscription: what is published to it is lost",
            format!(
                "{advice} (`terraform apply` does); a subscription of a deleted topic with the same name does not count and must be created again"
            ),
        ),
        (Err(refusal), _) => Finding::ok(
            name,
            format!("there; whether it has a subscription is unknown: {}", refusal.failure),
        ),
    }
}

/// Whether the subscription receives what the service publishes to the dead-letter topic, and gives it
/// to `redrive`.
fn dead_letters(name: &str, found: &Subscription, topic: Option<&str>) -> Finding {
    let create_again = "delete the subscription and create it again, without a push endpoint or an export, for the topic in DEAD_LETTER_TOPIC (`terraform apply` does)";
    if found.topic == DELETED_TOPIC {
        return Finding::problem(
            name,
            "its topic was deleted: it receives nothing, also if a topic of the same name was created since",
            format!("take out what it still has with `spotify-bq redrive`, then {create_again}"),
        );
    }
    if found.is_detached {
        return Finding::problem(
            name,
            "it is detached from its topic: it receives nothing",
            create_again,
        );
    }
    if let Some(elsewhere) = &found.sends_to {
        return Finding::problem(
            name,
            format!("it sends its messages to {elsewhere}: `redrive` can't pull them"),
            format!(
                "set DEAD_LETTER_SUBSCRIPTION to a pull subscription of the dead-letter topic, or {create_again}"
            ),
        );
    }
    match topic {
        Some(topic) if topic != found.topic => Finding::problem(
            name,
            format!("it receives from {}, and DEAD_LETTER_TOPIC is {topic}", found.topic),
            "set DEAD_LETTER_SUBSCRIPTION to a subscription of DEAD_LETTER_TOPIC, or DEAD_LETTER_TOPIC to the topic that it receives from",
        ),
        _ => Finding::ok(name, format!("there, receives from {}", found.topic)),
    }
}

fn push_verification(config: &Config) -> Finding {
    match &config.push_auth {
        None => Finding::ok("push verification", "left to the platform (as on Cloud Run)"),
        Some(auth) => Finding::ok(
            "push verification",
            format!("tokens of {} for {}", auth.service_account, auth.audience),
        ),
    }
}
