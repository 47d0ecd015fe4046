//! Load jobs: reading what BigQuery says about one, and waiting until it ends.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::time::Instant;

use super::BigQuery;
use super::answer::Refusal;
use crate::failure::Failure;
use crate::meter::{FollowedJob, Meter};
use crate::retry::PollInterval;
use crate::text;
use crate::warehouse::{Loaded, labels};

/// The longest job state in an error, in bytes.
const MAX_STATE: usize = 20;

/// The parts of a job that the service needs, from `jobs.get`, `jobs.insert` and `jobs.list`. Each may
/// be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobFacts {
    pub(crate) id: String,
    /// `PENDING`, `RUNNING` or `DONE`.
    pub(crate) state: String,
    pub(crate) created: Option<SystemTime>,
    pub(crate) started: Option<SystemTime>,
    pub(crate) ended: Option<SystemTime>,
    /// Reason and messages of a failed job, the result's message first.
    pub(crate) error: Option<(String, Vec<String>)>,
    /// The number of rows that the load wrote.
    pub(crate) rows: Option<u64>,
    pub(crate) labels: HashMap<String, String>,
    /// Project, dataset and table.
    pub(crate) destination: Option<[String; 3]>,
}

/// For how long a job is followed whose message is gone: BigQuery cancels a load job after six hours
/// (<https://cloud.google.com/bigquery/quotas#load_jobs>).
const MAX_FOLLOWED: Duration = Duration::from_secs(6 * 3600);

/// How often a job is looked up again that is not found.
const MAX_NOT_FOUND: u32 = 4;

/// How a job ended.
pub(super) enum Ended {
    Done(Box<JobFacts>),
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
            id: string(&job["jobReference"]["jobId"]),
            // `jobs.list` may have the state only outside the status.
            state: string(if status["state"].is_string() {
                &status["state"]
            } else {
                &job["state"]
            }),
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

    /// Returns whether the job is one of this service, by its id or labels.
    pub(crate) fn is_ours(&self) -> bool {
        self.id.starts_with("spotify-bq_") || labels::is_ours(&self.labels)
    }

    /// Returns why the job failed, if it did.
    fn failure(&self) -> Option<Refusal> {
        let (reason, messages) = self.error.as_ref().filter(|_| self.is_done())?;
        Some(Refusal::of_job(reason, messages))
    }

    /// Returns the result of a job that succeeded.
    pub(super) fn loaded(&self, job_id: String, earlier: bool) -> Loaded {
        let origin = labels::origin(&self.labels);
        Loaded { job_id, earlier, rows: self.rows, ended_at: self.ended, origin }
    }

    /// Returns the state as errors name it and why the job failed, for [`crate::seam`].
    pub(crate) fn told(&self) -> (String, Option<Failure>) {
        let failure = self.failure().map(|refusal| match refusal {
            Refusal::Rows(detail) => Failure::InvalidRows { table: "t".to_owned(), detail },
            refusal => refusal.into_failure("a load", "p.d"),
        });
        (self.followed("j", UNIX_EPOCH).state, failure)
    }

    pub(super) fn followed(&self, id: &str, first_seen: SystemTime) -> FollowedJob {
        let since = if self.state == "RUNNING" { self.started } else { self.created };
        let state = if self.state.is_empty() { "of unknown state" } else { &self.state };
        FollowedJob {
            id: id.to_owned(),
            state: text::excerpt(state, MAX_STATE),
            since: since.or(self.created).unwrap_or(first_seen),
        }
    }
}

impl BigQuery {
    /// Waits until a job ends. Meanwhile the meter knows the job, so that a message whose time is up
    /// can name it.
    pub(super) async fn end_of(
        &self,
        id: &str,
        mut job: JobFacts,
        meter: &Meter,
    ) -> Result<Ended, Failure> {
        let first_seen = SystemTime::now();
        let mut interval = PollInterval::new(self.timing.first_look, self.timing.last_look);
        loop {
            if job.is_done() {
                meter.follow(None);
                return Ok(match job.failure() {
                    None => Ended::Done(Box::new(job)),
                    Some(refusal) => Ended::Failed(refusal),
                });
            }
            meter.follow(Some(job.followed(id, first_seen)));
            if meter.is_gone() {
                // Only the job is followed from now on; the rows need not be kept for another try.
                return Err(gone(meter));
            }
            interval.tick().await;
            job = self.job(id).await.map_err(|refusal| self.lost(id, refusal))?;
        }
    }

    /// Waits until a job has ended, whatever fails meanwhile. Returns whether it succeeded.
    pub(in crate::warehouse) async fn follow(&self, id: &str) -> bool {
        let end = Instant::now() + MAX_FOLLOWED;
        let mut interval = PollInterval::new(self.timing.first_look, self.timing.last_look);
        let mut not_found = 0;
        loop {
            match self.job(id).await {
                Ok(job) if job.is_done() => return job.failure().is_none(),
                // An upload that was cut may become a job a moment later.
                Err(Refusal::NotFound(_)) if not_found == MAX_NOT_FOUND => return false,
                Err(Refusal::NotFound(_)) => not_found += 1,
                _ if Instant::now() >= end => return false,
                // BigQuery may be out of reach for a while.
                _ => {}
            }
            interval.tick().await;
        }
    }

    /// Looks up a job in the dataset's location.
    pub(super) async fn job(&self, id: &str) -> Result<JobFacts, Refusal> {
        let mut url = self.api.url(&["bigquery", "v2", "projects", &self.project, "jobs", id]);
        if let Some(location) = self.location().await.map_err(Refusal::Failed)? {
            url.query_pairs_mut().append_pair("location", &location);
        }
        Ok(JobFacts::of(&self.api.get(&url).await?))
    }

    /// Returns why a job that BigQuery has accepted can't be looked up. If it is not found, the dataset
    /// may have been recreated in another location.
    pub(super) fn lost(&self, id: &str, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::NotFound(words) => {
                self.forget_location();
                let detail = format!("the accepted job {id} is not found: {words}");
                self.unavailable("jobs.get", detail)
            }
            other => self.failed(other, "jobs.get"),
        }
    }
}

/// Returns the failure of a message that was given up. No one is told.
pub(super) fn gone(meter: &Meter) -> Failure {
    Failure::ClientGone { progress: meter.progress() }
}

fn error_of(status: &Value) -> Option<(String, Vec<String>)> {
    let result = &status["errorResult"];
    let result = result.as_object()?;
    let say = |error: &Value| error["message"].as_str().map(str::to_owned);
    let reason = result.get("reason").map(string).unwrap_or_default();
    let first = result.get("message").and_then(Value::as_str).map(str::to_owned);
    let more = status["errors"].as_array().into_iter().flatten().filter_map(say);
    Some((reason, first.into_iter().chain(more).collect()))
}

pub(super) fn string(value: &Value) -> String {
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
