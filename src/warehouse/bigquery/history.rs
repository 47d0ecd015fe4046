//! The load jobs of the last minutes, for those who wait at a command line: what a message's load is
//! called is known only to the service, which knows when Pub/Sub took the message.

use std::pin::pin;

use futures_util::StreamExt;
use gcp_bigquery_client::model::job_list_jobs::JobListJobs;
use gcp_bigquery_client::model::job_list_parameters::{JobListParameters, Projection};

use super::BigQuery;
use super::answer::Answer;
use crate::failure::Failure;

/// A load job of this service.
#[derive(Clone, Debug)]
pub(crate) struct PastLoad {
    pub(crate) job_id: String,
    pub(crate) table: String,
    /// Whether it has ended.
    pub(crate) done: bool,
    /// Why it failed.
    pub(crate) error: Option<String>,
    pub(crate) rows: Option<String>,
}

impl BigQuery {
    /// The service's load jobs that were created at `since` or later (milliseconds since 1970),
    /// newest first.
    pub(crate) async fn loads_since(&self, since: u64) -> Result<Vec<PastLoad>, Failure> {
        let parameters = JobListParameters {
            all_users: Some(true),
            max_results: Some(1000),
            min_creation_time: Some(since),
            projection: Some(Projection::Full),
            ..JobListParameters::default()
        };
        let mut pages = pin!(self.api.job().get_job_list(&self.project, Some(parameters)));
        let mut loads = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Answer::of(error).into_failure("jobs.list"))?;
            for job in page.jobs.into_iter().flatten() {
                if is_ours(&job) && job.configuration.is_none() {
                    return Err(Failure::WarehouseDenied {
                        what: "the details of the service's load jobs".to_owned(),
                        detail: "this account needs roles/bigquery.resourceViewer on the project"
                            .to_owned(),
                    });
                }
                loads.extend(past_load(job));
            }
        }
        Ok(loads)
    }
}

fn is_ours(job: &JobListJobs) -> bool {
    let id = job.job_reference.as_ref().and_then(|job| job.job_id.as_deref());
    id.is_some_and(|id| id.starts_with("spotify-bq_"))
}

fn past_load(job: JobListJobs) -> Option<PastLoad> {
    if !is_ours(&job) {
        return None;
    }
    let job_id = job.job_reference?.job_id?;
    let load = job.configuration?.load?;
    let status = job.status.unwrap_or_default();
    Some(PastLoad {
        job_id,
        table: load.destination_table?.table_id,
        done: status.state.as_deref() == Some("DONE"),
        error: status.error_result.map(|error| error.message.unwrap_or_default()),
        rows: job.statistics.and_then(|statistics| statistics.load?.output_rows),
    })
}
