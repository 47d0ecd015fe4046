//! `publish --wait`: follows the load jobs that the published messages lead to. A job is known by its
//! labels and destination, so other people's jobs and other messages' loads are passed over; when it
//! was created is told by BigQuery's clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::Error;
use crate::config::Config;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::job::Job;
use crate::names::{ShowId, ShowMatch};
use crate::retry::PollInterval;
use crate::text;
use crate::warehouse::{Dataset, JobInfo, Warehouse, labels};

/// The pause before the first look; later ones are longer, up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The load that a message leads to.
pub(super) struct Awaited(Job);

impl Awaited {
    pub(super) fn new(job: Job) -> Self {
        Self(job)
    }

    fn is_loaded_by(&self, load: &JobInfo) -> bool {
        load.destination.as_ref().is_some_and(|[_, _, table]| *table == self.0.table)
    }
}

/// The warehouse, from before messages are published.
pub(super) struct Watch {
    warehouse: Warehouse,
    /// When the newest job was created before the messages were published, by BigQuery's clock.
    since: Option<SystemTime>,
}

impl Watch {
    /// Notes the moment from which jobs count.
    pub(super) async fn start(config: &Config) -> Result<Self, Error> {
        let google = Arc::new(GoogleCredentials::new(config));
        let warehouse = Warehouse::new(config, &google)?;
        let since = bigquery(&warehouse)?.newest_job_time().await.map_err(|failure| {
            format!("nothing was published: {}", failure.explain_at_terminal())
        })?;
        Ok(Self { warehouse, since })
    }

    /// Waits until each message's table has been loaded, and tells of each load. Gives up when nothing
    /// was loaded for as long as a message may take.
    pub(super) async fn follow(
        self,
        config: &Config,
        json: bool,
        mut awaited: BTreeMap<String, Awaited>,
    ) -> Result<bool, Error> {
        let bigquery = bigquery(&self.warehouse)?;
        let patience = config.timing.message_deadline;
        let mut end = Instant::now() + patience;
        let mut interval = PollInterval::new(FIRST_PAUSE, MAX_PAUSE);
        let mut failed: HashSet<String> = HashSet::new();
        let mut unanswered = None;
        while !awaited.is_empty() && Instant::now() < end {
            interval.tick().await;
            let ids: Vec<String> = awaited.keys().cloned().collect();
            let loads = match bigquery.list_loads(self.since, ids.iter().map(String::as_str)).await
            {
                Ok(loads) => loads,
                // What was published is published; the next look may succeed.
                Err(
                    failure
                    @ (Failure::WarehouseUnavailable { .. } | Failure::GoogleCredentials(_)),
                ) => {
                    unanswered = Some(failure);
                    continue;
                }
                Err(failure) => {
                    let why = failure.explain_at_terminal();
                    return Err(format!("the messages are published; {why}").into());
                }
            };
            unanswered = None;
            for (id, load) in loads.iter().filter(|(_, load)| load.is_done()) {
                let Some(job) = awaited.get(*id).filter(|job| job.is_loaded_by(load)) else {
                    continue;
                };
                match &load.error {
                    None => {
                        tell(id, &job.0, load, json);
                        awaited.remove(*id);
                        end = Instant::now() + patience;
                    }
                    Some((_, messages)) if failed.insert(load.id.clone()) => {
                        tell_failed(id, &job.0, load, &messages.join("; "), json);
                    }
                    Some(_) => {}
                }
            }
        }
        for (id, job) in &awaited {
            tell_missing(id, &job.0, patience, unanswered.as_ref(), json);
        }
        Ok(awaited.is_empty())
    }
}

fn bigquery(warehouse: &Warehouse) -> Result<&Dataset, Error> {
    warehouse.dataset().ok_or_else(|| {
        Error::usage(
            "--wait follows BigQuery's jobs, and WAREHOUSE is a SQLite file; push with --url instead",
        )
    })
}

fn tell(message: &str, job: &Job, load: &JobInfo, json: bool) {
    let origin = labels::origin(&load.labels);
    let show = origin.as_ref().and_then(|origin| origin.show.as_ref());
    // A job of an earlier version does not say how the service found the show.
    let matched_by = show.and_then(|show| show.matched_by);
    let matched_by = matched_by.or(job.show.as_ref().map(|_| ShowMatch::ShowId));
    let show = show.map(|show| &show.id);
    if !json {
        let rows = load.rows.map_or("its".to_owned(), |rows| rows.to_string());
        say!("{}: {rows} rows, job {}{}", job.table, load.id, shown(show, matched_by));
        return;
    }
    let read_at = origin.as_ref().and_then(|origin| {
        let read_at = OffsetDateTime::from(origin.read_at);
        read_at.replace_millisecond(read_at.millisecond()).unwrap_or(read_at).format(&Rfc3339).ok()
    });
    // The show's name is in the service's log, and no job has it.
    let line = json!({
        "event": "loaded", "messageId": message, "table": job.table, "kind": job.kind.name(),
        "term": job.term.text(), "rows": load.rows, "jobId": load.id,
        "showId": show.map(|show| show.as_str()), "show": null,
        "showMatch": matched_by.map(ShowMatch::name),
        "readAt": read_at,
    });
    say!("{line}");
}

/// The show of a load, as a person reads it.
fn shown(show: Option<&ShowId>, matched_by: Option<ShowMatch>) -> String {
    let Some(show) = show else { return String::new() };
    let why = match matched_by {
        Some(ShowMatch::First) => {
            " (the first result: no show has the term's name; --show-id chooses another)"
        }
        Some(ShowMatch::Name) => " (its name is the term)",
        Some(ShowMatch::ShowId) | None => "",
    };
    format!(", show {}{why}", show.link())
}

fn tell_failed(message: &str, job: &Job, load: &JobInfo, error: &str, json: bool) {
    let error = text::excerpt(error, 300);
    if json {
        let line = json!({
            "event": "failed", "messageId": message, "table": job.table, "kind": job.kind.name(),
            "term": job.term.text(), "jobId": load.id, "detail": error,
        });
        say!("{line}");
    } else {
        say!("{}: job {} failed, waiting for the next: {error}", job.table, load.id);
    }
}

fn tell_missing(
    message: &str,
    job: &Job,
    patience: Duration,
    unanswered: Option<&Failure>,
    json: bool,
) {
    let why = unanswered.map_or(String::new(), |failure| format!(" ({failure})"));
    let detail = format!("no load of message {message} within {} s{why}", patience.as_secs());
    let advice = "search the service's log for the message's id, and see the dead letters with `spotify-bq redrive --dry-run`";
    if json {
        let line = json!({
            "event": "missing", "messageId": message, "table": job.table, "kind": job.kind.name(),
            "term": job.term.text(), "detail": detail, "advice": advice,
        });
        say!("{line}");
    } else {
        say!("{}: {detail}. What to do: {advice}", job.table);
    }
}
