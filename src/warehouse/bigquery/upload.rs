//! The load job's upload, which gcp-bigquery-client has no way to send: the job and the rows in one
//! request, or above 5 MiB the job in one and the rows in a second
//! (<https://cloud.google.com/bigquery/docs/reference/api-uploads>).

use bytes::Bytes;
use futures_util::stream;
use gcp_bigquery_client::model::job::Job as BqJob;
use gcp_bigquery_client::model::job_configuration::JobConfiguration;
use gcp_bigquery_client::model::job_configuration_load::JobConfigurationLoad;
use gcp_bigquery_client::model::job_reference::JobReference;
use gcp_bigquery_client::model::table_reference::TableReference;
use reqwest_bq::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest_bq::{Body, Method, StatusCode};
use url::Url;

use super::BigQuery;
use super::answer::{self, Refusal};
use super::api::Answer;
use super::jobs::JobInfo;
use crate::rows::Rows;
use crate::warehouse::labels::labels;
use crate::warehouse::schema::table_schema;
use crate::warehouse::{Load, Origin};

/// Ends a part only behind a line break and `--`, and rows are lines that start with `{`.
const BOUNDARY: &str = "spotify-bq-part";

/// The load job that replaces the table.
pub(super) fn metadata(
    project: &str,
    dataset: &str,
    location: Option<String>,
    load: &Load<'_>,
    job_id: &str,
    origin: &Origin,
) -> BqJob {
    let job = load.job;
    BqJob {
        job_reference: Some(JobReference {
            job_id: Some(job_id.to_owned()),
            location,
            project_id: Some(project.to_owned()),
        }),
        configuration: Some(JobConfiguration {
            labels: Some(labels(load, origin)),
            load: Some(JobConfigurationLoad {
                create_disposition: Some("CREATE_IF_NEEDED".to_owned()),
                destination_table: Some(TableReference::new(project, dataset, &job.table)),
                max_bad_records: Some(0),
                schema: Some(table_schema(job.kind)),
                source_format: Some("NEWLINE_DELIMITED_JSON".to_owned()),
                // Unlike WRITE_TRUNCATE it leaves the table's descriptions and policy tags.
                write_disposition: Some("WRITE_TRUNCATE_DATA".to_owned()),
                ..JobConfigurationLoad::default()
            }),
            ..JobConfiguration::default()
        }),
        ..BqJob::default()
    }
}

impl BigQuery {
    /// Sends the load job with its rows, once.
    pub(super) async fn upload(&self, job: &BqJob, rows: &Rows) -> Result<JobInfo, Refusal> {
        // A struct of strings has no value that JSON lacks.
        let metadata = serde_json::to_vec(job).unwrap_or_default();
        let url = self.api.url(&["upload", "bigquery", "v2", "projects", &self.project, "jobs"]);
        let answer = if rows.bytes() <= self.max_multipart {
            self.multipart(url, &metadata, rows).await?
        } else {
            self.resumable(url, metadata, rows).await?
        };
        Ok(JobInfo::from_json(&answer.json()?))
    }

    async fn multipart(&self, mut url: Url, job: &[u8], rows: &Rows) -> Result<Answer, Refusal> {
        url.set_query(Some("uploadType=multipart"));
        let request = || {
            let (length, pieces) = multipart(job, rows);
            self.api
                .upload(Method::POST, &url)
                .header(CONTENT_TYPE, format!("multipart/related; boundary={BOUNDARY}"))
                .header(CONTENT_LENGTH, length)
                .body(stream_of(pieces))
        };
        Answer::read(self.api.send(request).await?).await
    }

    /// Starts a session and sends the rows to it. If the upload is cut or its session is lost, the caller
    /// starts a new one: the job's id prevents a second load.
    async fn resumable(&self, mut url: Url, job: Vec<u8>, rows: &Rows) -> Result<Answer, Refusal> {
        url.set_query(Some("uploadType=resumable"));
        let start = || {
            self.api
                .client()
                .post(url.clone())
                .header(CONTENT_TYPE, "application/json; charset=UTF-8")
                .header("X-Upload-Content-Type", "application/octet-stream")
                .header("X-Upload-Content-Length", rows.bytes())
                .body(job.clone())
        };
        let response = self.api.send(start).await?;
        let session = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let session = session.and_then(|session| self.session(session));
        let started = Answer::read(response).await?;
        if !started.status.is_success() {
            return Ok(started);
        }
        let Some(session) = session else {
            let detail = "the answer names no upload session of BigQuery's";
            return Err(Refusal::passing(detail.to_owned()));
        };
        let request = || {
            self.api
                .upload(Method::PUT, &session)
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, rows.bytes())
                .body(stream_of(rows.chunks().to_vec()))
        };
        let sent = Answer::read(self.api.send(request).await?).await?;
        // So do 410 and 499. A 404 with BigQuery's JSON is about the dataset or its location.
        if sent.status == StatusCode::NOT_FOUND && !answer::is_googles(&sent.body) {
            return Err(Refusal::passing("404: the upload session is lost".to_owned()));
        }
        Ok(sent)
    }

    /// Returns the session's address, if it is one that our token may be sent to.
    fn session(&self, location: &str) -> Option<Url> {
        let ours = self.api.base();
        let session = ours.join(location).ok()?;
        let is_googles = session.scheme() == "https"
            && session.domain().is_some_and(|domain| domain.ends_with(".googleapis.com"));
        (session.origin() == ours.origin() || is_googles).then_some(session)
    }
}

/// The body of a multipart upload in pieces, and its length. Rows are not copied.
#[doc(hidden)]
pub fn multipart(job: &[u8], rows: &Rows) -> (usize, Vec<Bytes>) {
    let mut head = format!("--{BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n")
        .into_bytes();
    head.extend_from_slice(job);
    head.extend_from_slice(
        format!("\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n").as_bytes(),
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n").into_bytes();
    let length = head.len() + rows.bytes() + tail.len();
    let mut pieces = Vec::with_capacity(rows.chunks().len() + 2);
    pieces.push(Bytes::from(head));
    pieces.extend_from_slice(rows.chunks());
    pieces.push(Bytes::from(tail));
    (length, pieces)
}

fn stream_of(parts: Vec<Bytes>) -> Body {
    Body::wrap_stream(stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>)))
}
