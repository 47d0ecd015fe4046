//! Uploads a load job with its rows, which gcp-bigquery-client can't do: job and rows in one request, or
//! above 5 MiB the job in one request and the rows in a second
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

use super::api::ApiResponse;
use super::dataset::Dataset;
use super::error::ApiError;
use super::jobs::JobInfo;
use crate::failure::Failure;
use crate::rows::Rows;
use crate::warehouse::labels::labels;
use crate::warehouse::load::{Load, Origin};
use crate::warehouse::schema::table_schema;

/// Separates the parts of a multipart body. It can't occur in a part: it counts only after a line break
/// and `--`, and the job and each row are lines that start with `{`.
const MULTIPART_BOUNDARY: &str = "spotify-bq-part";

impl Dataset {
    /// Returns the load job that replaces the table.
    pub(super) async fn load_job(
        &self,
        load: &Load,
        job_id: &str,
        origin: &Origin,
    ) -> Result<BqJob, Failure> {
        let job = &load.job;
        let table = TableReference::new(&self.project, &self.name, &job.table);
        Ok(BqJob {
            job_reference: Some(JobReference {
                job_id: Some(job_id.to_owned()),
                location: self.location().await?,
                project_id: Some(self.project.clone()),
            }),
            configuration: Some(JobConfiguration {
                labels: Some(labels(load, origin)),
                load: Some(JobConfigurationLoad {
                    create_disposition: Some("CREATE_IF_NEEDED".to_owned()),
                    destination_table: Some(table),
                    max_bad_records: Some(0),
                    schema: Some(table_schema(job.kind)),
                    source_format: Some("NEWLINE_DELIMITED_JSON".to_owned()),
                    // Unlike WRITE_TRUNCATE, this keeps the table's descriptions and policy tags.
                    write_disposition: Some("WRITE_TRUNCATE_DATA".to_owned()),
                    ..JobConfigurationLoad::default()
                }),
                ..JobConfiguration::default()
            }),
            ..BqJob::default()
        })
    }

    /// Sends the load job with its rows, without retries.
    pub(super) async fn upload(&self, job: &BqJob, rows: &Rows) -> Result<JobInfo, ApiError> {
        // A struct of strings and numbers always serializes.
        let job = serde_json::to_vec(job).unwrap_or_default();
        let url = self.api.url(&["upload", "bigquery", "v2", "projects", &self.project, "jobs"]);
        let response = if rows.bytes() <= self.max_multipart_bytes {
            self.multipart(url, &job, rows).await?
        } else {
            self.resumable(url, job, rows).await?
        };
        Ok(JobInfo::from_json(&response.json()?))
    }

    async fn multipart(
        &self,
        mut url: Url,
        job: &[u8],
        rows: &Rows,
    ) -> Result<ApiResponse, ApiError> {
        url.set_query(Some("uploadType=multipart"));
        let request = || {
            let (length, pieces) = multipart_body(job, rows);
            self.api
                .upload(Method::POST, &url)
                .header(CONTENT_TYPE, format!("multipart/related; boundary={MULTIPART_BOUNDARY}"))
                .header(CONTENT_LENGTH, length)
                .body(body_stream(pieces))
        };
        ApiResponse::read(self.api.send(request).await?).await
    }

    /// Starts an upload session and sends the rows to it. If the upload is interrupted, the caller starts
    /// a new session: the job's ID prevents a second load.
    async fn resumable(
        &self,
        mut url: Url,
        job: Vec<u8>,
        rows: &Rows,
    ) -> Result<ApiResponse, ApiError> {
        url.set_query(Some("uploadType=resumable"));
        let start = || {
            self.api
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, "application/json; charset=UTF-8")
                .header("X-Upload-Content-Type", "application/octet-stream")
                .header("X-Upload-Content-Length", rows.bytes())
                .body(job.clone())
        };
        let response = self.api.send(start).await?;
        let session = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let session = session.and_then(|session| self.trusted_session(session));
        let started = ApiResponse::read(response).await?;
        if !started.status.is_success() {
            return Ok(started);
        }
        let Some(session) = session else {
            let detail = "the response has no upload URL on a Google host";
            return Err(ApiError::Transient(detail.to_owned()));
        };
        let request = || {
            self.api
                .upload(Method::PUT, &session)
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, rows.bytes())
                .body(body_stream(rows.chunks().to_vec()))
        };
        let sent = ApiResponse::read(self.api.send(request).await?).await?;
        // A 404 with a BigQuery error body means that the dataset is missing. Any other 404 means a lost session,
        // like 410 and 499.
        if sent.status == StatusCode::NOT_FOUND && !sent.is_google_error() {
            return Err(ApiError::Transient("404: the upload session is lost".to_owned()));
        }
        Ok(sent)
    }

    /// Returns the session's URL if the token may be sent there: to the API itself or to Google.
    fn trusted_session(&self, location: &str) -> Option<Url> {
        let api = &self.api.base;
        let session = api.join(location).ok()?;
        let is_google_host = session.scheme() == "https"
            && session.domain().is_some_and(|domain| domain.ends_with(".googleapis.com"));
        (session.origin() == api.origin() || is_google_host).then_some(session)
    }
}

/// Returns the length of a multipart upload's body, and the body in pieces. Rows are not copied.
#[doc(hidden)]
pub fn multipart_body(job: &[u8], rows: &Rows) -> (usize, Vec<Bytes>) {
    let mut head =
        format!("--{MULTIPART_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n")
            .into_bytes();
    head.extend_from_slice(job);
    head.extend_from_slice(
        format!("\r\n--{MULTIPART_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n")
            .as_bytes(),
    );
    let tail = format!("\r\n--{MULTIPART_BOUNDARY}--\r\n").into_bytes();
    let length = head.len() + rows.bytes() + tail.len();
    let mut pieces = Vec::with_capacity(rows.chunks().len() + 2);
    pieces.push(Bytes::from(head));
    pieces.extend_from_slice(rows.chunks());
    pieces.push(Bytes::from(tail));
    (length, pieces)
}

fn body_stream(parts: Vec<Bytes>) -> Body {
    Body::wrap_stream(stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>)))
}
