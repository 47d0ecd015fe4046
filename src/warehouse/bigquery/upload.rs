//! The load job's upload, which gcp-bigquery-client has no way to send: the job and the rows in one
//! request, or above 5 MiB the job in one and the rows in a second
//! (<https://cloud.google.com/bigquery/docs/reference/api-uploads>).

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use gcp_bigquery_client::model::job::Job as BqJob;
use gcp_bigquery_client::model::job_configuration::JobConfiguration;
use gcp_bigquery_client::model::job_configuration_load::JobConfigurationLoad;
use gcp_bigquery_client::model::job_reference::JobReference;
use gcp_bigquery_client::model::table_reference::TableReference;
use reqwest_bq::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest_bq::{Body, RequestBuilder, Response};
use secrecy::ExposeSecret;
use url::Url;

use super::BigQuery;
use super::answer::Answer;
use crate::http;
use crate::rows::Rows;
use crate::text;
use crate::warehouse::Load;
use crate::warehouse::schema::table_schema;

/// Above this many bytes of rows the upload is resumable; Google's own Python client draws the line
/// here too.
const MULTIPART: usize = 5 * 1024 * 1024;

/// Ends a part only behind a line break and `--`, and rows are lines that start with `{`.
const BOUNDARY: &str = "spotify-bq-part";

/// An answer has some kilobytes: the job, without its rows.
const ANSWER: usize = 1024 * 1024;

/// The longest value of a label (<https://cloud.google.com/bigquery/docs/labels-intro>).
const LABEL: usize = 63;

/// The load job that replaces the table.
pub(super) fn metadata(
    project: &str,
    dataset: &str,
    location: Option<&str>,
    load: &Load<'_>,
    job_id: &str,
) -> BqJob {
    let job = load.job;
    let slug = job.term.slug();
    let labels = HashMap::from([
        ("service".to_owned(), "spotify-bq".to_owned()),
        ("kind".to_owned(), job.kind.name().to_owned()),
        ("term".to_owned(), text::cut(&slug, LABEL).to_owned()),
    ]);
    BqJob {
        job_reference: Some(JobReference {
            job_id: Some(job_id.to_owned()),
            location: location.map(str::to_owned),
            project_id: Some(project.to_owned()),
        }),
        configuration: Some(JobConfiguration {
            labels: Some(labels),
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
    /// Sends a load job with its rows.
    pub(super) async fn upload(&self, job: &BqJob, rows: &Rows) -> Result<BqJob, Answer> {
        // A job of strings and numbers has no value that JSON lacks.
        let metadata = serde_json::to_vec(job).unwrap_or_default();
        let url = format!("{}/upload/bigquery/v2/projects/{}/jobs", self.url, self.project);
        let response = if rows.bytes() <= MULTIPART {
            self.multipart(&url, &metadata, rows).await?
        } else {
            self.resumable(&url, metadata, rows).await?
        };
        let body = succeeded(response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            passing(format!("the answer to the upload is no job: {}", http::describe(&error)))
        })
    }

    async fn multipart(&self, url: &str, job: &[u8], rows: &Rows) -> Result<Response, Answer> {
        let (length, pieces) = multipart(job, rows);
        let request = self
            .client
            .post(url)
            .query(&[("uploadType", "multipart")])
            .header(CONTENT_TYPE, format!("multipart/related; boundary={BOUNDARY}"))
            .timeout(self.timing.upload);
        self.send(request.header(CONTENT_LENGTH, length).body(stream_of(pieces))).await
    }

    async fn resumable(&self, url: &str, job: Vec<u8>, rows: &Rows) -> Result<Response, Answer> {
        let start = self
            .client
            .post(url)
            .query(&[("uploadType", "resumable")])
            .header(CONTENT_TYPE, "application/json; charset=UTF-8")
            .header("X-Upload-Content-Type", "application/octet-stream")
            .header("X-Upload-Content-Length", rows.bytes())
            .body(job);
        let response = self.send(start).await?;
        let session = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let session = session.and_then(|session| self.session(session));
        succeeded(response).await?;
        let Some(session) = session else {
            return Err(passing("the answer names no upload session of BigQuery's".to_owned()));
        };
        // A cut upload is not resumed but begun anew: the job's id says if the first one arrived.
        let request = self
            .client
            .put(session)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, rows.bytes())
            .timeout(self.timing.upload)
            .body(stream_of(rows.chunks().to_vec()));
        self.send(request).await
    }

    /// The session's address, if it is one that our token may be sent to.
    fn session(&self, location: &str) -> Option<Url> {
        let ours = Url::parse(&self.url).ok()?;
        let session = ours.join(location).ok()?;
        let is_googles = session.scheme() == "https"
            && session.domain().is_some_and(|domain| domain.ends_with(".googleapis.com"));
        (session.origin() == ours.origin() || is_googles).then_some(session)
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<Response, Answer> {
        if let Some(token) = self.credentials.token().await.map_err(Answer::Failed)? {
            request = request.bearer_auth(token.expose_secret());
        }
        request.send().await.map_err(|error| passing(http::describe(&error)))
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

async fn succeeded(mut response: Response) -> Result<BytesMut, Answer> {
    let status = response.status();
    let mut body = BytesMut::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| passing(http::describe(&error)))?
    {
        if body.len() + chunk.len() > ANSWER {
            return Err(passing(format!("the answer is longer than {ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() { Ok(body) } else { Err(Answer::of_upload(status.as_u16(), &body)) }
}

fn passing(detail: String) -> Answer {
    Answer::Passing { detail, after: None }
}

fn stream_of(parts: Vec<Bytes>) -> Body {
    Body::wrap_stream(stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>)))
}
