//! Classifies BigQuery's refusals, of calls and of jobs. The decision follows BigQuery's words, not a
//! status alone (<https://cloud.google.com/bigquery/docs/error-messages>).

use std::time::Duration;

use serde_json::Value;

use super::words;
use crate::failure::{Denial, Failure, Obstacle};
use crate::http;
use crate::retry;
use crate::text;

/// `quotaExceeded` is worth another try after ten minutes or more
/// (<https://cloud.google.com/bigquery/docs/error-messages>).
const QUOTA_WAIT: Duration = Duration::from_secs(600);

/// A call or a job that did not succeed, with BigQuery's words.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The resource does not exist, or is in another location.
    NotFound(String),
    /// The resource exists already.
    Duplicate,
    /// The rows themselves are wrong.
    Rows(String),
    /// The table, the project or the request has to be changed first.
    Refused { detail: String, obstacle: Obstacle },
    /// Permission is missing.
    Denied { detail: String, denial: Denial },
    /// A transient failure: retry soon, or after a given time.
    Passing { detail: String, after: Option<Duration> },
    /// No call was made, because there is no token.
    Failed(Failure),
}

impl Refusal {
    /// Returns a transient failure.
    pub(super) fn passing(detail: String) -> Self {
        Self::Passing { detail, after: None }
    }

    /// Returns whether the call is worth repeating with backoff.
    pub(super) fn may_pass_soon(&self) -> bool {
        matches!(self, Self::Passing { after: None, .. })
    }

    /// Says whether to repeat the call.
    pub(super) fn classified(self) -> retry::Error<Self> {
        retry::Error::transient_if(self.may_pass_soon(), self)
    }

    /// Classifies an unsuccessful answer. The body may be empty, HTML, or lack any field.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let (reason, message) = said(body);
        let detail = text::excerpt(&format!("{status} {reason} {message}"), http::EXCERPT);
        match (status, reason.as_str()) {
            _ if words::is_passing(&reason) => Self::passing(detail),
            _ if words::is_quota(&reason) => Self::Passing { detail, after: Some(QUOTA_WAIT) },
            (401, _) | (_, "UNAUTHENTICATED") => {
                Self::Failed(Failure::GoogleCredentials(format!("BigQuery answers {detail}")))
            }
            (404, _) => Self::NotFound(detail),
            (409, _) => Self::Duplicate,
            (403, _) => Self::denied(&reason, &message, detail),
            // 410 and 499 mean a lost upload session (<https://cloud.google.com/bigquery/docs/reference/api-uploads>).
            (408 | 410 | 429 | 499 | 500.., _) => Self::passing(detail),
            (400..500, _) => match words::obstacle(&reason, &message) {
                Some(obstacle) => Self::Refused { detail, obstacle },
                None => Self::Refused { detail, obstacle: Obstacle::Table },
            },
            // Redirects are not followed; no other answer is documented.
            _ => Self::passing(detail),
        }
    }

    /// Classifies a job's error, by its reason and its messages, the result's first.
    pub(super) fn of_job(reason: &str, messages: &[String]) -> Self {
        let mut said = String::new();
        // The result often says only "too many errors, giving up"; the list has the errors.
        for message in messages.iter().filter(|message| !message.is_empty()) {
            if !said.contains(message.as_str()) {
                let separator = if said.is_empty() { "" } else { "; " };
                said = format!("{said}{separator}{message}");
            }
        }
        let detail = text::excerpt(&format!("{reason}: {said}"), http::EXCERPT);
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

    /// Returns the failure of `what`, a call about the dataset `place`.
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

/// Returns the failure that a refused call comes to, for [`crate::seam`].
pub(crate) fn refusal(status: u16, body: &[u8]) -> Failure {
    Refusal::of(status, body).into_failure("a call", "p.d")
}

/// Returns the reason and the message of an error body. Google's APIs write
/// `{"error": {"message", "errors": [{"reason"}], "details": [{"reason"}], "status"}}`, and any of
/// these may be missing. Plain text counts as a message, HTML does not.
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

/// Returns whether a body is an error of a Google API, rather than of a proxy or front end.
pub(super) fn is_googles(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["error"].is_object())
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

    /// In a word, what is done about an answer.
    fn told(status: u16, body: &[u8]) -> String {
        match Refusal::of(status, body).into_failure("x", "p.d") {
            Failure::WarehouseUnavailable { after: Some(after), .. } => {
                format!("in {} s", after.as_secs())
            }
            Failure::WarehouseUnavailable { .. } => "soon".to_owned(),
            Failure::WarehouseDenied { denial, .. } => format!("{denial:?}"),
            Failure::LoadRefused { obstacle, .. } => format!("{obstacle:?}"),
            other => other.reason().to_owned(),
        }
    }

    #[test]
    fn the_words_of_a_call_decide() {
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
                told(status, &body(reason, message)),
                expected,
                "{status} {reason} {message}"
            );
        }
    }

    #[test]
    fn a_status_tells_where_the_body_lacks_something() {
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
            assert_eq!(told(status, body), expected, "{status} {}", String::from_utf8_lossy(body));
        }
        let detail = |body: &[u8]| match Refusal::of(404, body) {
            Refusal::NotFound(detail) => detail,
            other => panic!("{other:?}"),
        };
        let words =
            br#"{"error":{"message":"Not found: Dataset p:d was not found in location US"}}"#;
        assert_eq!(detail(words), "404 Not found: Dataset p:d was not found in location US");
        assert_eq!(detail(html), "404");
    }

    #[test]
    fn a_jobs_error_is_told_with_all_its_words_once() {
        let messages = ["too many errors", "JSON parsing error", "too many errors"];
        let messages = messages.map(str::to_owned);
        assert!(matches!(Refusal::of_job("invalid", &messages), Refusal::Rows(detail)
                if detail == "invalid: too many errors; JSON parsing error"));
        for (reason, passing) in
            [("backendError", true), ("newReason", true), ("notImplemented", false)]
        {
            assert_eq!(Refusal::of_job(reason, &[]).may_pass_soon(), passing, "{reason}");
        }
    }
}
