//! The load jobs of the last minutes, for those who wait at a command line.

use gcp_bigquery_client::model::job_list_parameters::{JobListParameters, Projection};
use serde_json::Value;

use super::BigQuery;
use super::jobs::{JobFacts, text};
use crate::failure::{Denial, Failure};

/// The parts of a job that are read. The project's other jobs may hold queries of a megabyte each.
const FIELDS: &str = "nextPageToken,jobs(jobReference,state,errorResult,status,configuration(labels,\
                      load(destinationTable)),statistics(creationTime,startTime,endTime,load(outputRows)))";

impl BigQuery {
    /// Returns the service's load jobs that were created at `since` or later (milliseconds since 1970),
    /// newest first.
    pub(crate) async fn loads_since(&self, since: u64) -> Result<Vec<JobFacts>, Failure> {
        let parameters = JobListParameters {
            all_users: Some(true),
            max_results: Some(1000),
            min_creation_time: Some(since),
            projection: Some(Projection::Full),
            ..JobListParameters::default()
        };
        let mut loads = Vec::new();
        let mut page_token = String::new();
        loop {
            let url = self.jobs_url(&parameters, &page_token);
            let page =
                self.api.get(&url).await.map_err(|refusal| self.failed(refusal, "jobs.list"))?;
            for job in page["jobs"].as_array().into_iter().flatten() {
                let facts = JobFacts::of(job);
                if facts.is_ours() && !job["configuration"].is_object() {
                    return Err(Failure::WarehouseDenied {
                        what: "the details of the service's load jobs".to_owned(),
                        detail: "this account needs roles/bigquery.resourceViewer on the project"
                            .to_owned(),
                        denial: Denial::Rights,
                    });
                }
                if facts.is_ours() {
                    loads.push(facts);
                }
            }
            let next = text(&page["nextPageToken"]);
            if next.is_empty() || next == page_token {
                return Ok(loads);
            }
            page_token = next;
        }
    }

    fn jobs_url(&self, parameters: &JobListParameters, page_token: &str) -> url::Url {
        let mut url = self.api.url(&["bigquery", "v2", "projects", &self.project, "jobs"]);
        {
            let mut query = url.query_pairs_mut();
            // The client library's names for the parameters; each value is a plain one.
            let parameters = serde_json::to_value(parameters).unwrap_or_default();
            for (name, value) in parameters.as_object().into_iter().flatten() {
                let value = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                query.append_pair(name, &value);
            }
            if !page_token.is_empty() {
                query.append_pair("pageToken", page_token);
            }
            query.append_pair("fields", FIELDS);
        }
        url
    }
}
