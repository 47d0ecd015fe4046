//! Load jobs: what BigQuery says of one, and waiting for its end.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::time::sleep;

use super::BigQuery;
use super::answer::Refusal;
use crate::failure::Failure;
use crate::meter::{FollowedJob, Meter};
use crate::warehouse::labels;

/// What is read of a job, from `jobs.get`, `jobs.insert` and `jobs.list`. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobFacts {
    pub(crate) id: String,
    /// `PENDING`, `RUNNING` or `DONE`.
    pub(crate) state: String,
    pub(crate) created: Option<SystemTime>,
    pub(crate) started: Option<SystemTime>,
    pub(crate) ended: Option<SystemTime>,
    /// Reason and messages of a job that failed: its result's first.
    pub(crate) error: Option<(String, Vec<String>)>,
    /// Rows that a load has written.
    pub(crate) rows: Option<u64>,
    pub(crate) labels: HashMap<String, String>,
    /// Project, dataset and table of a load.
    pub(crate) destination: Option<[String; 3]>,
}

/// How a job ended.
pub(super) enum Ended {
    Done,
    Failed(Refusal),
}

impl JobFacts {
    /// Reads a job.
    pub(crate) fn of(job: &Value) -> Self {
        let (status, statistics) = (&job["status"], &job["statistics"]);
        let configuration = &job["configuration"];
        let table = &configuration["load"]["destinationTable"];
        let name = |key: &str| table[key].as_str().map(str::to_owned);
        let destination = (|| Some([name("projectId")?, name("datasetId")?, name("tableId")?]))();
        let labels = configuration["labels"].as_object().into_iter().flatten();
        Self {
            id: text(&job["jobReference"]["jobId"]),
            // `jobs.list` may tell the state outside of the status only.
            state: text(if status["state"].is_string() { &status["state"] } else { &job["state"] }),
            created: time(&statistics["creationTime"]),
            started: time(&statistics["startTime"]),
            ended: time(&statistics["endTime"]),
            error: error_of(status).or_else(|| error_of(job)),
            rows: number(&statistics["load"]["outputRows"]),
            labels: labels
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            destination,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == "DONE"
    }

    /// Returns whether the job's id or labels are this service's.
    pub(crate) fn is_ours(&self) -> bool {
        self.id.starts_with("spotify-bq_") || labels::is_ours(&self.labels)
    }

    /// Returns how the job ended, if it has.
    fn end(&self) -> Option<Ended> {
        self.is_done().then(|| match &self.error {
            None => Ended::Done,
            Some((reason, messages)) => Ended::Failed(Refusal::of_job(reason, messages)),
        })
    }

    fn followed(&self, id: &str, first_seen: SystemTime) -> FollowedJob {
        let since = if self.state == "RUNNING" { self.started } else { self.created };
        let state = if self.state.is_empty() { "of unknown state" } else { &self.state };
        FollowedJob {
            id: id.to_owned(),
            state: state.to_owned(),
            since: since.or(self.created).unwrap_or(first_seen),
        }
    }
}

impl BigQuery {
    /// Waits for a job's end. The meter knows the job meanwhile: a message whose time is up tells of
    /// it.
    pub(super) async fn end_of(
        &self,
        id: &str,
        mut job: JobFacts,
        meter: &Meter,
    ) -> Result<Ended, Failure> {
        let first_seen = SystemTime::now();
        let mut wait = self.timing.first_look;
        loop {
            if let Some(end) = job.end() {
                meter.follow(None);
                return Ok(end);
            }
            meter.follow(Some(job.followed(id, first_seen)));
            sleep(wait).await;
            wait = wait.mul_f64(1.5).min(self.timing.last_look);
            job = match self.job(id).await? {
                Some(job) => job,
                None => return Err(self.unavailable("jobs.get", format!("{id} has vanished"))),
            };
        }
    }

    /// Looks a job up. Returns `None` if there is no such job in the dataset's location.
    pub(super) async fn job(&self, id: &str) -> Result<Option<JobFacts>, Failure> {
        let mut url = self.api.url(&["bigquery", "v2", "projects", &self.project, "jobs", id]);
        if let Some(location) = self.location().await? {
            url.query_pairs_mut().append_pair("location", &location);
        }
        match self.api.get(&url).await {
            Ok(job) => Ok(Some(JobFacts::of(&job))),
            Err(Refusal::NotFound(_)) => Ok(None),
            Err(refusal) => Err(self.failed(refusal, "jobs.get")),
        }
    }
}

fn error_of(status: &Value) -> Option<(String, Vec<String>)> {
    let result = &status["errorResult"];
    let result = result.as_object()?;
    let say = |error: &Value| error["message"].as_str().map(str::to_owned);
    let reason = result.get("reason").map(text).unwrap_or_default();
    let first = result.get("message").and_then(Value::as_str).map(str::to_owned);
    let more = status["errors"].as_array().into_iter().flatten().filter_map(say);
    Some((reason, first.into_iter().chain(more).collect()))
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads a whole number, which BigQuery writes as a string.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Reads a moment: milliseconds since 1970.
pub(super) fn time(value: &Value) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(number(value)?))
}
