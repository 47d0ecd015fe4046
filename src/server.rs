//! HTTP: routes, bounds, the one handler, and the one place that turns outcomes into statuses.

mod listen;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use crate::envelope;
use crate::failure::{Decision, Failure};
use crate::push_auth::PushAuth;
use crate::service::{Outcome, Report, Service};
use crate::telemetry;
pub use listen::serve;

/// The longest body: a message of ours has some hundred bytes, and one of 300 long terms 120 kB.
pub const BODY: usize = 1024 * 1024;

/// Bodies up to this length are always read. Only those with lists of terms are longer.
const SMALL_BODY: usize = 32 * 1024;

/// How many bytes all longer bodies may have in all, from their arrival to their answers: a hundred lists
/// of 300 terms. With 1,000 connections of small bodies, bodies take up at most 48 MiB.
const MAX_LONG_BODIES: usize = 16 * 1024 * 1024;

/// Names the outcome of a push, for those who push by hand.
pub const OUTCOME: &str = "spotify-bq-outcome";

#[derive(Clone)]
struct App {
    service: Arc<Service>,
    push_auth: Option<Arc<PushAuth>>,
    project: Option<Arc<str>>,
    long_bodies: Arc<Semaphore>,
}

/// A body, and its share of the memory for long bodies.
struct Held {
    bytes: Bytes,
    share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
enum Unread {
    TooLong,
    Cut,
    NoMemory,
}

/// The service's routes: pushes at `/`, health at `/health`.
pub fn router(service: Arc<Service>, push_auth: Option<PushAuth>, project: Option<&str>) -> Router {
    let app = App {
        service,
        push_auth: push_auth.map(Arc::new),
        project: project.map(Arc::from),
        long_bodies: Arc::new(Semaphore::new(MAX_LONG_BODIES)),
    };
    Router::new()
        .route("/", post(push))
        // Cloud Run's front end keeps /healthz for itself.
        .route("/health", get(|| async { "ok\n" }))
        .layer(CatchPanicLayer::custom(|_| {
            (StatusCode::INTERNAL_SERVER_ERROR, "a defect of this service; its log says where\n")
                .into_response()
        }))
        .with_state(app)
}

async fn push(State(app): State<App>, request: Request) -> Response {
    let trace = trace_of(request.headers(), app.project.as_deref());
    telemetry::with_trace(trace, answer(&app, request)).await
}

async fn answer(app: &App, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(push_auth) = &app.push_auth {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        if let Err(failure) = push_auth.check(authorization).await {
            return refused(failure);
        }
    }
    let body = match body_of(app, &parts.headers, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let Held { bytes, share: _share } = body;
    match envelope::parse(&bytes) {
        Ok(envelope) => {
            drop(bytes);
            respond(&app.service.handle(&envelope).await)
        }
        Err(failure) => refused(failure),
    }
}

async fn body_of(app: &App, headers: &HeaderMap, body: Body) -> Result<Held, Response> {
    let too_large =
        || (StatusCode::PAYLOAD_TOO_LARGE, "a push has at most 1 MiB\n").into_response();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > BODY) {
        return Err(too_large());
    }
    let body = read(Limited::new(body, BODY), announced, &app.long_bodies);
    match timeout(app.service.timing().request_body_timeout, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Unread::TooLong)) => Err(too_large()),
        Ok(Err(Unread::Cut)) => {
            Err((StatusCode::BAD_REQUEST, "the body was cut\n").into_response())
        }
        Ok(Err(Unread::NoMemory)) => {
            let mib = MAX_LONG_BODIES / 1024 / 1024;
            let cause = format!("the body is long, and those of other requests take up {mib} MiB");
            Err(refused(Failure::Overloaded(cause)))
        }
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response()),
    }
}

/// Reads a body. A long one takes a share for its announced length or, if that is unknown, for the largest.
async fn read(
    mut body: Limited<Body>,
    announced: Option<usize>,
    long_bodies: &Arc<Semaphore>,
) -> Result<Held, Unread> {
    let mut read = BytesMut::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => Unread::TooLong,
            false => Unread::Cut,
        })?;
        // Trailers are of no use here.
        let Ok(data) = frame.into_data() else { continue };
        if share.is_none() && read.len() + data.len() > SMALL_BODY {
            let length = announced.unwrap_or(BODY) as u32;
            let taken = Arc::clone(long_bodies).try_acquire_many_owned(length);
            share = Some(taken.map_err(|_| Unread::NoMemory)?);
        }
        read.extend_from_slice(&data);
    }
    // What a body of unknown length does not need.
    if let Some(share) = &mut share {
        drop(share.split(share.num_permits().saturating_sub(read.len())));
    }
    Ok(Held { bytes: read.freeze(), share })
}

fn refused(failure: Failure) -> Response {
    let report = Report::failed(failure);
    report.log_refused_request();
    respond(&report)
}

/// The one place where outcomes become statuses.
fn respond(report: &Report) -> Response {
    let (status, after) = match report.outcome {
        Outcome::Loaded | Outcome::AlreadyLoaded | Outcome::FannedOut | Outcome::DeadLettered => {
            (StatusCode::NO_CONTENT, None)
        }
        Outcome::Retry { after } => (StatusCode::SERVICE_UNAVAILABLE, after),
        Outcome::Refused(Decision::Unauthenticated) => (StatusCode::UNAUTHORIZED, None),
        Outcome::Refused(Decision::Forbidden) => (StatusCode::FORBIDDEN, None),
        Outcome::Refused(_) => (StatusCode::BAD_REQUEST, None),
    };
    let mut response = match &report.failure {
        Some(failure) if status != StatusCode::NO_CONTENT => {
            let body = json!({
                "reason": failure.reason(),
                "detail": failure.to_string(),
                "advice": failure.advice(),
            });
            (status, axum::Json(body)).into_response()
        }
        _ => status.into_response(),
    };
    let headers = response.headers_mut();
    let outcome = match &report.failure {
        Some(failure) => format!("{} {}", report.outcome.name(), failure.reason()),
        None => report.outcome.name().to_owned(),
    };
    if let Ok(outcome) = HeaderValue::from_str(&outcome) {
        headers.insert(OUTCOME, outcome);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The trace that the platform put the request in, as log lines name it.
fn trace_of(headers: &HeaderMap, project: Option<&str>) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = header("traceparent")
        .and_then(|value| value.split('-').nth(1))
        .or_else(|| header("x-cloud-trace-context").and_then(|value| value.split('/').next()))?;
    let valid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| format!("projects/{}/traces/{id}", project.unwrap_or("-")))
}
