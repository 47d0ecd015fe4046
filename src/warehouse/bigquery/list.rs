//! Lists for the commands `publish --wait` and `check`: the load jobs of messages, and the dataset's
//! tables.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::dataset::Dataset;
use super::jobs::JobInfo;
use super::json::string;
use crate::failure::{Failure, Obstacle};
use crate::warehouse::labels;

/// The requested fields of a job. The project's other jobs may hold queries of a megabyte each.
const JOB_FIELDS: &str = "nextPageToken,jobs(jobReference,state,errorResult,status,configuration(labels,\
                      load(destinationTable)),statistics(creationTime,startTime,endTime,load(outputRows)))";

/// The assumed largest difference between the clocks of BigQuery's locations.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The most pages of a list that are read, in case page tokens repeat.
const MAX_LIST_PAGES: usize = 1000;

/// Items per page, so that even a busy project's list takes few calls.
const PAGE_ITEMS: &str = "1000";

impl Dataset {
    /// Returns when the project's newest job was created, by BigQuery's clock, which does not depend on this
    /// machine's. A job in another location that is created later may have a time that is up to
    /// [`MAX_CLOCK_SKEW`] earlier.
    pub(crate) async fn newest_job_time(&self) -> Result<Option<SystemTime>, Failure> {
        let query = [("allUsers", "true"), ("maxResults", "1"), ("fields", JOB_FIELDS)];
        let page = self.page(&["jobs"], &query, "").await?;
        Ok(JobInfo::from_json(&page["jobs"][0]).created)
    }

    /// Returns the load jobs of these messages into this dataset, each with its message's ID, newest
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
        let since = since.map(|since| since.as_millis().to_string());
        let mut query = vec![
            ("allUsers", "true"),
            ("maxResults", PAGE_ITEMS),
            ("projection", "full"),
            ("fields", JOB_FIELDS),
        ];
        query.extend(since.as_deref().map(|since| ("minCreationTime", since)));
        let mut loads = Vec::new();
        for json in self.list(&["jobs"], &query).await? {
            let job = JobInfo::from_json(&json);
            if job.is_ours() && !json["configuration"].is_object() {
                return Err(Failure::WarehouseDenied {
                    what: "read access to the details of load jobs".to_owned(),
                    detail: "this account needs roles/bigquery.resourceViewer on the project"
                        .to_owned(),
                    obstacle: Obstacle::Rights,
                });
            }
            let is_here = job.destination.as_ref().is_some_and(|[project, dataset, _]| {
                *project == self.project && *dataset == self.name
            });
            let message = messages.iter().find(|id| labels::is_of_message(&job.labels, id));
            if let Some(id) = message
                && is_here
                && labels::is_ours(&job.labels)
            {
                loads.push((*id, job));
            }
        }
        Ok(loads)
    }

    /// Returns the names of the dataset's tables, views and everything else that has a table's name.
    pub(crate) async fn list_table_names(&self) -> Result<Vec<String>, Failure> {
        let query =
            [("maxResults", PAGE_ITEMS), ("fields", "nextPageToken,tables(tableReference)")];
        let tables = self.list(&["datasets", &self.name, "tables"], &query).await?;
        Ok(tables.iter().map(|table| string(&table["tableReference"]["tableId"])).collect())
    }

    /// Reads all pages of a list. The last segment of `path` is also the items' key in a page.
    async fn list(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let key = path.last().copied().unwrap_or_default();
        let mut items = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MAX_LIST_PAGES {
            let mut page = self.page(path, query, &page_token).await?;
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
        query: &[(&str, &str)],
        page_token: &str,
    ) -> Result<Value, Failure> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        if !page_token.is_empty() {
            url.query_pairs_mut().append_pair("pageToken", page_token);
        }
        let call = format!("{}.list in {}", path.last().copied().unwrap_or_default(), self.id());
        self.api.get(&url).await.map_err(|error| self.failure(error, &call))
    }
}
