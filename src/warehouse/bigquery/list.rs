//! Lists for the commands `publish --wait` and `check`: the load jobs of messages, and the dataset's
//! tables.

use std::time::{Duration, SystemTime};

use gcp_bigquery_client::model::job_list_parameters::{JobListParameters, Projection};
use serde_json::Value;

use super::dataset::Dataset;
use super::jobs::JobInfo;
use super::json::string;
use crate::failure::{Denial, Failure};
use crate::warehouse::labels;

/// The parts of a job that are read. The project's other jobs may hold queries of a megabyte each.
const JOB_FIELDS: &str = "nextPageToken,jobs(jobReference,state,errorResult,status,configuration(labels,\
                      load(destinationTable)),statistics(creationTime,startTime,endTime,load(outputRows)))";

/// By how much the clocks of BigQuery's locations are assumed to differ at most.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The most pages of a list that are read. A list with more repeats itself.
const MAX_LIST_PAGES: usize = 1000;

/// Items asked for in one page, so that even a busy project's list takes few calls.
const PAGE_ITEMS: u32 = 1000;

impl Dataset {
    /// Returns when the project's newest job was created, by BigQuery's clock. Jobs that are created
    /// after this call have a later time, whatever the clock of this machine says.
    pub(crate) async fn newest_job_time(&self) -> Result<Option<SystemTime>, Failure> {
        let parameters = JobListParameters {
            all_users: Some(true),
            max_results: Some(1),
            ..JobListParameters::default()
        };
        let page = self.page(&["jobs"], &parameters, JOB_FIELDS, "").await?;
        Ok(JobInfo::from_json(&page["jobs"][0]).created)
    }

    /// Returns the load jobs of these messages into this dataset, each with its message's id, newest
    /// first. Skips jobs that were created before `since`, and jobs of other services, datasets and
    /// messages.
    pub(crate) async fn list_loads<'a>(
        &self,
        since: Option<SystemTime>,
        messages: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<(&'a str, JobInfo)>, Failure> {
        let messages: Vec<&str> = messages.collect();
        let since = since.and_then(|since| since.checked_sub(MAX_CLOCK_SKEW));
        let since = since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
        let parameters = JobListParameters {
            all_users: Some(true),
            max_results: Some(PAGE_ITEMS),
            min_creation_time: since.and_then(|since| u64::try_from(since.as_millis()).ok()),
            projection: Some(Projection::Full),
            ..JobListParameters::default()
        };
        let mut loads = Vec::new();
        for job in self.list(&["jobs"], &parameters, JOB_FIELDS, "jobs").await? {
            let facts = JobInfo::from_json(&job);
            if facts.is_ours() && !job["configuration"].is_object() {
                return Err(Failure::WarehouseDenied {
                    what: "the details of the service's load jobs".to_owned(),
                    detail: "this account needs roles/bigquery.resourceViewer on the project"
                        .to_owned(),
                    denial: Denial::Rights,
                });
            }
            let message =
                messages.iter().find(|id| labels::is_of_message(&facts.labels, id)).copied();
            let is_here = facts.destination.as_ref().is_some_and(|[project, dataset, _]| {
                *project == self.project && *dataset == self.name
            });
            if let (Some(id), true, true) = (message, is_here, labels::is_ours(&facts.labels)) {
                loads.push((id, facts));
            }
        }
        Ok(loads)
    }

    /// Returns the names of the dataset's tables, views and everything else that has a table's name.
    pub(crate) async fn list_table_names(&self) -> Result<Vec<String>, Failure> {
        let path = ["datasets", &self.name, "tables"];
        let parameters =
            JobListParameters { max_results: Some(PAGE_ITEMS), ..JobListParameters::default() };
        let fields = "nextPageToken,tables(tableReference)";
        let tables = self.list(&path, &parameters, fields, "tables").await?;
        Ok(tables.iter().map(|table| string(&table["tableReference"]["tableId"])).collect())
    }

    /// Reads all pages of a list. `key` names the items in a page.
    async fn list(
        &self,
        path: &[&str],
        parameters: &JobListParameters,
        fields: &str,
        key: &str,
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MAX_LIST_PAGES {
            let mut page = self.page(path, parameters, fields, &page_token).await?;
            if let Value::Array(more) = page[key].take() {
                items.extend(more);
            }
            let next = string(&page["nextPageToken"]);
            if next.is_empty() || next == page_token {
                break;
            }
            page_token = next;
        }
        Ok(items)
    }

    async fn page(
        &self,
        path: &[&str],
        parameters: &JobListParameters,
        fields: &str,
        page_token: &str,
    ) -> Result<Value, Failure> {
        let mut url = self.url(path);
        {
            let mut query = url.query_pairs_mut();
            // The client library serializes the parameters under their names; all values are scalars.
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
            query.append_pair("fields", fields);
        }
        let call = format!("{}.list in {}", path.last().copied().unwrap_or_default(), self.id());
        self.api.get(&url).await.map_err(|error| self.failure(error, &call))
    }
}
