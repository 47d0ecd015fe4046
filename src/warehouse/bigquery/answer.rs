//! What BigQuery's refusals mean, of a call and of a job alike. The decision follows BigQuery's words,
//! not a status alone (<https://cloud.google.com/bigquery/docs/error-messages>).

use std::time::Duration;

use serde_json::Value;

use super::words;
use crate::failure::{Denial, Failure, Obstacle};
use crate::http;
use crate::text;

/// `quotaExceeded` is worth another try after ten minutes or more
/// (<https://cloud.google.com/bigquery/docs/error-messages>).
const QUOTA_WAIT: Duration = Duration::from_secs(600);

/// What BigQuery does not do, each with its own words.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What the call is about does not exist, or not in this location.
    NotFound(String),
    /// It exists already.
    Duplicate,
    /// The rows themselves are wrong.
    Rows(String),
    /// The table, the project or the request stands in the way until somebody changes it.
    Refused { detail: String, obstacle: Obstacle },
    /// It is not allowed.
    Denied { detail: String, denial: Denial },
    /// Worth another try: soon, or after a while where that is given.
    Passing { detail: String, after: Option<Duration> },
    /// Decided elsewhere: no token.
    Failed(Failure),
}

impl Refusal {
    /// A failure that may pass soon.
    pub(super) fn passing(detail: String) -> Self {
        Self::Passing { detail, after: None }
    }

    /// Returns whether another try makes sense right away.
    pub(super) fn may_pass_soon(&self) -> bool {
        matches!(self, Self::Passing { after: None, .. })
    }

    /// Reads what an answer that is no success means. Its status and what is in its body both may be
    /// all that there is.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let (reason, message) = said(body);
        let words = text::excerpt(&message, http::EXCERPT);
        let detail = format!("{status} {reason} {words}").trim().replace("  ", " ");
        match (status, reason.as_str()) {
            _ if words::is_passing(&reason) => Self::passing(detail),
            _ if words::is_quota(&reason) => Self::Passing { detail, after: Some(QUOTA_WAIT) },
            (401, _) | (_, "UNAUTHENTICATED") => {
                Self::Failed(Failure::GoogleCredentials(format!("BigQuery answers {detail}")))
            }
            (404, _) => Self::NotFound(detail),
            (409, _) => Self::Duplicate,
            (403, _) => Self::denied(&reason, &message, detail),
            // 410 and 499 are an upload session that is lost (<https://cloud.google.com/bigquery/docs/reference/api-uploads>).
            (408 | 410 | 429 | 499 | 500.., _) => Self::passing(detail),
            (400..500, _) => match words::obstacle(&reason, &message) {
                Some(obstacle) => Self::Refused { detail, obstacle },
                None => Self::Refused { detail, obstacle: Obstacle::Table },
            },
            // A redirect is not followed, and no other answer is documented.
            _ => Self::passing(detail),
        }
    }

    /// Reads what a job's error means: its result, and the messages of its list of errors.
    pub(super) fn of_job(reason: &str, messages: &[String]) -> Self {
        let mut said = String::new();
        // The result often says only "too many errors, giving up"; the list says which.
        for message in messages.iter().filter(|message| !message.is_empty()) {
            if !said.contains(message.as_str()) {
                let separator = if said.is_empty() { "" } else { "; " };
                said = format!("{said}{separator}{message}");
            }
        }
        let detail = format!("{reason}: {}", text::excerpt(&said, http::EXCERPT));
        match reason {
            "notFound" => Self::NotFound(detail),
            "accessDenied" => Self::denied(reason, &said, detail),
            "invalid" | "invalidQuery" | "parseError" if words::is_about_rows(messages) => {
                Self::Rows(detail)
            }
            "invalid" | "invalidQuery" | "parseError" | "notImplemented" => {
                let obstacle = words::obstacle(reason, &said).unwrap_or(Obstacle::Table);
                Self::Refused { detail, obstacle }
            }
            _ if words::is_quota(reason) => Self::Passing { detail, after: Some(QUOTA_WAIT) },
            _ => match words::obstacle(reason, &said) {
                Some(obstacle) if !words::is_passing(reason) => Self::Refused { detail, obstacle },
                _ => Self::passing(detail),
            },
        }
    }

    fn denied(reason: &str, message: &str, detail: String) -> Self {
        if let Some(denial) = words::denial(reason, message) {
            return Self::Denied { detail, denial };
        }
        if let Some(obstacle) = words::obstacle(reason, message) {
            return Self::Refused { detail, obstacle };
        }
        if words::is_about_rates(message) {
            return Self::passing(detail);
        }
        if words::is_about_quota(message) {
            return Self::Passing { detail, after: Some(QUOTA_WAIT) };
        }
        Self::Denied { detail, denial: Denial::Rights }
    }

    /// Returns the failure that this is, at `what`; `place` is the dataset that is asked about.
    pub(super) fn into_failure(self, what: &str, place: &str) -> Failure {
        let what = what.to_owned();
        match self {
            Self::Failed(failure) => failure,
            Self::Denied { detail, denial } => Failure::WarehouseDenied { what, detail, denial },
            Self::Refused { detail, obstacle } => Failure::LoadRefused { what, detail, obstacle },
            Self::Rows(detail) => Failure::LoadRefused { what, detail, obstacle: Obstacle::Table },
            Self::Passing { detail, after } => {
                Failure::WarehouseUnavailable { what, detail, after }
            }
            Self::NotFound(detail) => Failure::DatasetMissing { dataset: place.to_owned(), detail },
            Self::Duplicate => {
                let detail = "409 duplicate".to_owned();
                Failure::WarehouseUnavailable { what, detail, after: None }
            }
        }
    }
}

/// Returns the reason and the message of an error's body. Google's APIs write them as
/// `{"error": {"message", "errors": [{"reason"}], "details": [{"reason"}], "status"}}`, and any of
/// these may be missing. Plain text is a message; HTML says nothing.
fn said(body: &[u8]) -> (String, String) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let is_text = !text.trim_start().starts_with(['<', '{', '[']);
        return (String::new(), if is_text { text.into_owned() } else { String::new() });
    };
    let error = &body["error"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reason_of = |list: &Value| list.as_array()?.iter().find_map(|one| text(&one["reason"]));
    let reason = reason_of(&error["errors"])
        .or_else(|| reason_of(&error["details"]))
        .or_else(|| text(&error["status"]))
        .or_else(|| text(error));
    let message = text(&error["message"])
        .or_else(|| text(&error["errors"][0]["message"]))
        .or_else(|| text(&body["error_description"]))
        .or_else(|| text(&body["message"]));
    (reason.unwrap_or_default(), message.unwrap_or_default())
}

/// Returns whether a body is an error in the form of Google's APIs.
pub(super) fn is_googles(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["error"].is_object())
}
