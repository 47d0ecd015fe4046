//! HTTP: the routes, and the one place that turns outcomes into responses.

mod body;
mod listen;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use crate::envelope::{self, OUTCOME_HEADER};
use crate::failure::{Decision, Failure};
use crate::push_auth::PushAuth;
use crate::service::{self, Outcome, Service};
use crate::telemetry;
use body::{BodyError, BodyReader, MAX_LONG_BODIES_BYTES, PushBody};
pub use listen::serve;

#[derive(Clone)]
struct App {
    service: Arc<Service>,
    push_auth: Option<Arc<PushAuth>>,
    project: Option<Arc<str>>,
    bodies: BodyReader,
}

/// Returns the service's routes: pushes at `/`, health at `/health`.
pub fn router(service: Arc<Service>, push_auth: Option<PushAuth>, project: Option<&str>) -> Router {
    let app = App {
        bodies: BodyReader::new(service.timing().request_body_timeout),
        service,
        push_auth: push_auth.map(Arc::new),
        project: project.map(Arc::from),
    };
    Router::new()
        .route("/", post(push))
        // Cloud Run's front end reserves /healthz.
        .route("/health", get(|| async { "ok\n" }))
        .layer(CatchPanicLayer::custom(|_| {
            (StatusCode::INTERNAL_SERVER_ERROR, "a defect of this service; its log says where\n")
                .into_response()
        }))
        .with_state(app)
}

async fn push(State(app): State<App>, request: Request) -> Response {
    let trace = trace_of(request.headers(), app.project.as_deref());
    telemetry::with_trace(trace, respond(&app, request)).await
}

async fn respond(app: &App, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(push_auth) = &app.push_auth {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        if let Err(failure) = push_auth.check(authorization).await {
            return refuse(failure);
        }
    }
    // The permit is released after the response.
    let PushBody { bytes, permit: _permit } = match app.bodies.read(body).await {
        Ok(body) => body,
        Err(error) => return unread(&error),
    };
    match envelope::parse(&bytes) {
        Ok(envelope) => {
            drop(bytes);
            response(&app.service.handle(&envelope).await)
        }
        Err(failure) => refuse(failure),
    }
}

/// Returns the response to a request whose body was not read.
fn unread(error: &BodyError) -> Response {
    match error {
        BodyError::TooLong => {
            (StatusCode::PAYLOAD_TOO_LARGE, "a push has at most 1 MiB\n").into_response()
        }
        BodyError::Truncated => (StatusCode::BAD_REQUEST, "the body was cut\n").into_response(),
        BodyError::TimedOut => {
            (StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response()
        }
        BodyError::NoMemory => {
            let mib = MAX_LONG_BODIES_BYTES / 1024 / 1024;
            refuse(Failure::Overloaded(format!(
                "the body is long, and those of other requests take up {mib} MiB"
            )))
        }
    }
}

/// Logs a request that contains no message, and returns its response.
fn refuse(failure: Failure) -> Response {
    let outcome = Outcome::failed(failure);
    service::log_refused_request(&outcome);
    response(&outcome)
}

/// Returns the response that reports an outcome to Pub/Sub. No other code chooses the status of a message.
fn response(outcome: &Outcome) -> Response {
    let failure = outcome.failure();
    let status = match outcome {
        Outcome::Loaded { .. }
        | Outcome::AlreadyLoaded { .. }
        | Outcome::FannedOut { .. }
        | Outcome::DeadLettered(_) => StatusCode::NO_CONTENT,
        Outcome::Retry(_) => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::Refused { failure, .. } => match failure.decision() {
            Decision::Unauthenticated => StatusCode::UNAUTHORIZED,
            Decision::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        },
    };
    let mut response = match failure {
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
    let name = match failure {
        Some(failure) => format!("{} {}", outcome.name(), failure.reason()),
        None => outcome.name().to_owned(),
    };
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(OUTCOME_HEADER, name);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(Decision::Retry { after: Some(after) }) = failure.map(Failure::decision) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    response
}

/// Returns the duration in whole seconds, rounded up so that no retry is too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Returns the trace that the platform assigned to the request, in the form that Cloud Logging links.
fn trace_of(headers: &HeaderMap, project: Option<&str>) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = header("traceparent")
        .and_then(|value| value.split('-').nth(1))
        .or_else(|| header("x-cloud-trace-context").and_then(|value| value.split('/').next()))?;
    let valid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| format!("projects/{}/traces/{id}", project.unwrap_or("-")))
}
