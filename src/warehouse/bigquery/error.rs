//! Classifies BigQuery's errors, of calls and of jobs, by reason and message, not only by status
//! (<https://cloud.google.com/bigquery/docs/error-messages>).

use serde_json::Value;

use super::denials::QUOTA_PAUSE;
use super::error_text;
use crate::failure::{Failure, Obstacle};
use crate::retry;
use crate::text;

/// Why a call or a job failed. Each `detail` has BigQuery's own words.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The resource does not exist, or is in another location.
    NotFound(String),
    AlreadyExists,
    /// The rows of a load job are invalid.
    InvalidRows(String),
    /// The table, the project or the request must be changed first.
    Rejected {
        detail: String,
        obstacle: Obstacle,
    },
    /// A permission is missing, or an administrator blocks the call.
    Denied {
        detail: String,
        obstacle: Obstacle,
    },
    /// Worth a retry with backoff.
    Transient(String),
    /// A quota is used up. Worth a retry after [`QUOTA_PAUSE`].
    QuotaExceeded(String),
    /// The failure is known: BigQuery does not accept the token, or a call that this one needs has failed.
    Other(Failure),
}

impl ApiError {
    /// Tells [`retry::run`] whether to retry the call.
    pub(super) fn into_retry_error(self) -> retry::Error<Self> {
        retry::Error::transient_if(self.is_transient(), self)
    }

    /// Returns whether to retry the call with backoff.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// Classifies an unsuccessful response. The body may be empty, HTML, or lack any field.
    pub(super) fn of_response(status: u16, body: &[u8]) -> Self {
        let (reason, message) = parse_error_body(body);
        let detail =
            text::excerpt(&format!("{status} {reason} {message}"), text::MAX_EXCERPT_BYTES);
        match (status, reason.as_str()) {
            _ if error_text::is_transient_reason(&reason) => Self::Transient(detail),
            _ if error_text::is_quota_reason(&reason) => Self::QuotaExceeded(detail),
            (401, _) | (_, "UNAUTHENTICATED") => {
                let why = format!("BigQuery rejected the access token: {detail}");
                Self::Other(Failure::GoogleCredentials(why))
            }
            (404, _) => Self::NotFound(detail),
            (409, _) => Self::AlreadyExists,
            (403, _) => Self::of_denial(&reason, &message, detail),
            // 410 and 499 mean a lost upload session (<https://cloud.google.com/bigquery/docs/reference/api-uploads>).
            (408 | 410 | 429 | 499 | 500.., _) => Self::Transient(detail),
            (400..500, _) => {
                let obstacle = error_text::obstacle(&reason, &message).unwrap_or(Obstacle::Table);
                Self::Rejected { detail, obstacle }
            }
            // Redirects are not followed; no other status is documented.
            _ => Self::Transient(detail),
        }
    }

    /// Classifies a job's error. The messages are those of `errorResult` and `errors`, in this order.
    pub(super) fn of_job(reason: &str, messages: &[String]) -> Self {
        // `errorResult` is often only "too many errors, giving up"; `errors` has the cause.
        let mut text = String::new();
        for message in messages.iter().filter(|message| !message.is_empty()) {
            if !text.contains(message.as_str()) {
                let separator = if text.is_empty() { "" } else { "; " };
                text = format!("{text}{separator}{message}");
            }
        }
        let detail = text::excerpt(&format!("{reason}: {text}"), text::MAX_EXCERPT_BYTES);
        match reason {
            "notFound" => Self::NotFound(detail),
            "accessDenied" => Self::of_denial(reason, &text, detail),
            "invalid" | "invalidQuery" | "parseError" if error_text::is_about_rows(messages) => {
                Self::InvalidRows(detail)
            }
            "invalid" | "invalidQuery" | "parseError" | "notImplemented" => {
                let obstacle = error_text::obstacle(reason, &text).unwrap_or(Obstacle::Table);
                Self::Rejected { detail, obstacle }
            }
            _ if error_text::is_quota_reason(reason) => Self::QuotaExceeded(detail),
            _ if error_text::is_transient_reason(reason) => Self::Transient(detail),
            _ => match error_text::obstacle(reason, &text) {
                Some(obstacle) => Self::Rejected { detail, obstacle },
                None => Self::Transient(detail),
            },
        }
    }

    fn of_denial(reason: &str, message: &str, detail: String) -> Self {
        if let Some(obstacle) = error_text::denial(reason, message) {
            Self::Denied { detail, obstacle }
        } else if let Some(obstacle) = error_text::obstacle(reason, message) {
            Self::Rejected { detail, obstacle }
        } else if error_text::is_about_rate_limit(message) {
            Self::Transient(detail)
        } else if error_text::is_about_quota(message) {
            Self::QuotaExceeded(detail)
        } else {
            Self::Denied { detail, obstacle: Obstacle::Rights }
        }
    }

    /// Returns the failure of a call about a dataset.
    pub(super) fn into_failure(self, call: &str, dataset: &str) -> Failure {
        let what = call.to_owned();
        match self {
            Self::Other(failure) => failure,
            Self::Denied { detail, obstacle } => {
                Failure::WarehouseDenied { what, detail, obstacle }
            }
            Self::Rejected { detail, obstacle } => Failure::LoadRefused { what, detail, obstacle },
            Self::InvalidRows(detail) => {
                Failure::LoadRefused { what, detail, obstacle: Obstacle::Table }
            }
            Self::Transient(detail) => Failure::WarehouseUnavailable { what, detail, after: None },
            Self::QuotaExceeded(detail) => {
                Failure::WarehouseUnavailable { what, detail, after: Some(QUOTA_PAUSE) }
            }
            Self::NotFound(detail) => {
                Failure::DatasetMissing { dataset: dataset.to_owned(), detail }
            }
            Self::AlreadyExists => {
                let detail = "409: the resource already exists".to_owned();
                Failure::WarehouseUnavailable { what, detail, after: None }
            }
        }
    }
}

/// Returns the failure of an unsuccessful response, for [`crate::seam`].
pub(crate) fn failure_of_response(status: u16, body: &[u8]) -> Failure {
    ApiError::of_response(status, body).into_failure("a call", "p.d")
}

/// Returns the reason and the message of an error body. Google's APIs write
/// `{"error": {"message", "errors": [{"reason"}], "details": [{"reason"}], "status"}}`, and any of
/// these may be missing. Plain text counts as a message, HTML does not.
fn parse_error_body(body: &[u8]) -> (String, String) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let is_text = !text.trim_start().starts_with(['<', '{', '[']);
        return (String::new(), if is_text { text.into_owned() } else { String::new() });
    };
    let error = &body["error"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reason_of = |list: &Value| list.as_array()?.iter().find_map(|error| text(&error["reason"]));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(reason: &str, message: &str) -> Vec<u8> {
        let errors = json!([{"reason": reason, "message": message, "domain": "global"}]);
        json!({"error": {"code": 400, "message": message, "errors": errors}})
            .to_string()
            .into_bytes()
    }

    /// Returns what the service does about a response: a reason, or when it retries.
    fn reaction(status: u16, body: &[u8]) -> String {
        match ApiError::of_response(status, body).into_failure("x", "p.d") {
            Failure::WarehouseUnavailable { after: Some(after), .. } => {
                format!("in {} s", after.as_secs())
            }
            Failure::WarehouseUnavailable { .. } => "soon".to_owned(),
            Failure::WarehouseDenied { obstacle, .. } | Failure::LoadRefused { obstacle, .. } => {
                format!("{obstacle:?}")
            }
            other => other.reason().to_owned(),
        }
    }

    #[test]
    fn calls_are_classified_by_reason_and_message() {
        for (status, reason, message, expected) in [
            (400, "tableUnavailable", "", "soon"),
            (400, "resourceInUse", "", "soon"),
            (403, "userRateLimitExceeded", "", "soon"),
            (403, "rateLimitExceeded", "", "soon"),
            (403, "quotaExceeded", "Quota exceeded", "in 600 s"),
            (400, "invalid", "Invalid field", "Table"),
            (400, "invalid", "Cannot use a Cloud KMS key of another location", "Key"),
            (403, "billingNotEnabled", "Billing has not been enabled for this project", "Billing"),
            (
                403,
                "accessDenied",
                "The billing account for the owning project is disabled",
                "Billing",
            ),
            (403, "accessNotConfigured", "BigQuery API has not been used", "ApiDisabled"),
            (
                403,
                "forbidden",
                "BigQuery API has not been used in project 1 before or it is disabled",
                "ApiDisabled",
            ),
            (
                403,
                "accessDenied",
                "VPC Service Controls: Request is prohibited by organization's policy",
                "ServiceControls",
            ),
            (403, "accessDenied", "Access Denied: Project p: bigquery.jobs.create", "Rights"),
            (404, "notFound", "Not found: Dataset p:d", "dataset_missing"),
            (401, "authError", "Invalid Credentials", "google_credentials"),
            (412, "conditionNotMet", "", "Table"),
            (503, "backendError", "", "soon"),
        ] {
            assert_eq!(
                reaction(status, &body(reason, message)),
                expected,
                "{status} {reason} {message}"
            );
        }
    }

    #[test]
    fn the_status_decides_if_the_body_lacks_fields() {
        let html = b"<html>Error</html>".as_slice();
        for (status, body, expected) in [
            (403, html, "Rights"),
            (404, html, "dataset_missing"),
            (410, html, "soon"),
            (499, b"", "soon"),
            (429, b"", "soon"),
            (500, html, "soon"),
            (302, b"", "soon"),
            (401, b"", "google_credentials"),
            (400, b"[]", "Table"),
            (403, br#"{"error":{"message":"Exceeded rate limits","status":"PERMISSION_DENIED"}}"#, "soon"),
            (403, br#"{"error":{"message":"Quota exceeded: jobs"}}"#, "in 600 s"),
            (403, br#"{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}"#, "ApiDisabled"),
            (400, br#"{"error":{"code":400,"message":"x","errors":[{"reason":5}]}}"#, "Table"),
        ] {
            assert_eq!(reaction(status, body), expected, "{status} {}", String::from_utf8_lossy(body));
        }
        let detail = |body: &[u8]| match ApiError::of_response(404, body) {
            ApiError::NotFound(detail) => detail,
            other => panic!("{other:?}"),
        };
        let words =
            br#"{"error":{"message":"Not found: Dataset p:d was not found in location US"}}"#;
        assert_eq!(detail(words), "404 Not found: Dataset p:d was not found in location US");
        assert_eq!(detail(html), "404");
    }

    #[test]
    fn a_jobs_error_has_each_message_once() {
        let messages = ["too many errors", "JSON parsing error", "too many errors"];
        let messages = messages.map(str::to_owned);
        assert!(matches!(ApiError::of_job("invalid", &messages), ApiError::InvalidRows(detail)
                if detail == "invalid: too many errors; JSON parsing error"));
        for (reason, is_transient) in
            [("backendError", true), ("newReason", true), ("notImplemented", false)]
        {
            assert_eq!(ApiError::of_job(reason, &[]).is_transient(), is_transient, "{reason}");
        }
    }
}
