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
use tokio::sync::Semaphore;
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

/// Bodies longer than this take turns to arrive, so that a thousand slow ones don't fill the memory;
/// Pub/Sub's are shorter but for lists of terms.
const LONG_BODY: usize = 32 * 1024;

/// How many long bodies arrive at once.
const LONG_BODIES: usize = 32;

/// Names the outcome of a push, for those who push by hand.
pub const OUTCOME: &str = "spotify-bq-outcome";

#[derive(Clone)]
struct App {
    service: Arc<Service>,
    push_auth: Option<Arc<PushAuth>>,
    project: Option<Arc<str>>,
    long_bodies: Arc<Semaphore>,
}

/// The service's routes: pushes at `/`, health at `/health`.
pub fn router(service: Arc<Service>, push_auth: Option<PushAuth>, project: Option<&str>) -> Router {
    let app = App {
        service,
        push_auth: push_auth.map(Arc::new),
        project: project.map(Arc::from),
        long_bodies: Arc::new(Semaphore::new(LONG_BODIES)),
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
    match envelope::parse(&body) {
        Ok(envelope) => {
            drop(body);
            respond(&app.service.handle(&envelope).await)
        }
        Err(failure) => refused(failure),
    }
}

async fn body_of(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
    let too_large =
        || (StatusCode::PAYLOAD_TOO_LARGE, "a push has at most 1 MiB\n").into_response();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length > BODY as u64)
    {
        return Err(too_large());
    }
    let body = read(Limited::new(body, BODY), &app.long_bodies);
    match timeout(app.service.timing().request_body, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body was cut\n").into_response()),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response()),
    }
}

async fn read(mut body: Limited<Body>, long_bodies: &Semaphore) -> Result<Bytes, axum::BoxError> {
    let mut read = BytesMut::new();
    let mut turn = None;
    while let Some(frame) = body.frame().await {
        // Trailers are of no use here.
        let Ok(data) = frame?.into_data() else { continue };
        if turn.is_none() && read.len() + data.len() > LONG_BODY {
            turn = Some(long_bodies.acquire().await?);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
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
