//! `publish --wait`: follows the load jobs of the published messages. Labels and destination tell them
//! apart from other jobs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::error::Error;
use crate::config::Config;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::job::Job;
use crate::names::{ShowId, ShowMatch};
use crate::retry::PollInterval;
use crate::text;
use crate::warehouse::{Dataset, JobError, JobInfo, Warehouse, labels};

/// The first and the longest pause between two polls of the jobs.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Finds the load jobs of messages that are published after `new`.
pub(super) struct LoadWatcher {
    warehouse: Warehouse,
    /// When the newest job was created, by BigQuery's clock.
    since: Option<SystemTime>,
}

impl LoadWatcher {
    pub(super) async fn new(config: &Config) -> Result<Self, Error> {
        let google = Arc::new(GoogleCredentials::new(config));
        let warehouse = Warehouse::new(config, &google)?;
        let since = dataset(&warehouse)?.newest_job_time().await.map_err(|failure| {
            format!("nothing was published: {}", failure.explain_at_terminal())
        })?;
        Ok(Self { warehouse, since })
    }

    /// Prints the load of each job in `pending`, by message ID. Returns whether all are loaded. Gives up if
    /// there is no load within the time after which the service gives up a message.
    pub(super) async fn wait(
        self,
        config: &Config,
        json: bool,
        mut pending: BTreeMap<String, Job>,
    ) -> Result<bool, Error> {
        let dataset = dataset(&self.warehouse)?;
        let timeout = config.timing.message_deadline;
        let mut deadline = Instant::now() + timeout;
        let mut interval = PollInterval::new(FIRST_PAUSE, MAX_PAUSE);
        let mut failed_jobs: HashSet<String> = HashSet::new();
        let mut last_failure = None;
        while !pending.is_empty() && Instant::now() < deadline {
            interval.tick().await;
            let ids: Vec<String> = pending.keys().cloned().collect();
            let loads = match dataset.list_loads(self.since, ids.iter().map(String::as_str)).await {
                Ok(loads) => loads,
                // Continues after a transient failure, because the messages are already published.
                Err(
                    failure
                    @ (Failure::WarehouseUnavailable { .. } | Failure::GoogleCredentials(_)),
                ) => {
                    last_failure = Some(failure);
                    continue;
                }
                Err(failure) => {
                    let why = failure.explain_at_terminal();
                    return Err(format!(
                        "the messages are published, but their load jobs cannot be followed: {why}"
                    )
                    .into());
                }
            };
            last_failure = None;
            for (id, load) in loads.iter().filter(|(_, load)| load.is_done()) {
                let Some(job) = pending.get(*id).filter(|job| is_load_of(load, job)) else {
                    continue;
                };
                match &load.error {
                    None => {
                        print_loaded(id, job, load, json);
                        pending.remove(*id);
                        deadline = Instant::now() + timeout;
                    }
                    Some(JobError { messages, .. }) if failed_jobs.insert(load.id.clone()) => {
                        print_failed(id, job, load, &messages.join("; "), json);
                    }
                    Some(_) => {}
                }
            }
        }
        for (id, job) in &pending {
            print_missing(id, job, timeout, last_failure.as_ref(), json);
        }
        Ok(pending.is_empty())
    }
}

fn dataset(warehouse: &Warehouse) -> Result<&Dataset, Error> {
    warehouse.dataset().ok_or_else(|| {
        Error::Usage(
            "--wait follows BigQuery load jobs, but WAREHOUSE is a SQLite file: use --url instead"
                .to_owned(),
        )
    })
}

fn is_load_of(load: &JobInfo, job: &Job) -> bool {
    load.destination.as_ref().is_some_and(|[_, _, table]| *table == job.table)
}

fn print_loaded(message_id: &str, job: &Job, load: &JobInfo, json: bool) {
    let origin = labels::origin(&load.labels);
    let show = origin.as_ref().and_then(|origin| origin.show.as_ref());
    // Jobs of earlier versions have no label for it.
    let matched_by = show.and_then(|show| show.matched_by);
    let matched_by = matched_by.or(job.show.as_ref().map(|_| ShowMatch::ShowId));
    let show = show.map(|show| &show.id);
    if !json {
        let rows = load.rows.map_or("loaded".to_owned(), |rows| format!("{rows} rows"));
        say!("{}: {rows}, job {}{}", job.table, load.id, describe_show(show, matched_by));
        return;
    }
    let read_at = origin.as_ref().and_then(|origin| {
        let read_at = OffsetDateTime::from(origin.read_at);
        read_at.replace_millisecond(read_at.millisecond()).unwrap_or(read_at).format(&Rfc3339).ok()
    });
    // The labels do not contain the show's name; the service's log does.
    let line = json!({
        "event": "loaded", "messageId": message_id, "table": job.table, "kind": job.kind.name(),
        "term": job.term.text(), "rows": load.rows, "jobId": load.id,
        "showId": show.map(|show| show.as_str()), "show": null,
        "showMatch": matched_by.map(ShowMatch::name),
        "readAt": read_at,
    });
    say!("{line}");
}

fn describe_show(show: Option<&ShowId>, matched_by: Option<ShowMatch>) -> String {
    let Some(show) = show else { return String::new() };
    let why = match matched_by {
        Some(ShowMatch::First) => {
            " (the first result, because no show's name equals the term; to load another, pass --show-id)"
        }
        Some(ShowMatch::Name) => " (its name equals the term)",
        Some(ShowMatch::ShowId) | None => "",
    };
    format!(", show {}{why}", show.link())
}

fn print_failed(message_id: &str, job: &Job, load: &JobInfo, error: &str, json: bool) {
    let error = text::excerpt(error, text::MAX_EXCERPT_BYTES);
    if json {
        let line = json!({
            "event": "failed", "messageId": message_id, "table": job.table,
            "kind": job.kind.name(), "term": job.term.text(), "jobId": load.id, "detail": error,
        });
        say!("{line}");
    } else {
        say!("{}: job {} failed, waiting for the service to retry: {error}", job.table, load.id);
    }
}

fn print_missing(
    message_id: &str,
    job: &Job,
    timeout: Duration,
    last_failure: Option<&Failure>,
    json: bool,
) {
    let why = last_failure.map_or(String::new(), |failure| format!(" ({failure})"));
    let detail = format!("no load of message {message_id} within {} s{why}", timeout.as_secs());
    let advice = "search the service's log for the message ID, and list the dead letters with `spotify-bq redrive --dry-run`";
    if json {
        let line = json!({
            "event": "missing", "messageId": message_id, "table": job.table,
            "kind": job.kind.name(), "term": job.term.text(), "detail": detail, "advice": advice,
        });
        say!("{line}");
    } else {
        say!("{}: {detail}. What to do: {advice}", job.table);
    }
}
