//! What BigQuery's answers mean: the refusal of a call, and the end of a job
//! (<https://cloud.google.com/bigquery/docs/error-messages>).

use std::time::Duration;

use gcp_bigquery_client::error::BQError;
use gcp_bigquery_client::model::job::Job;
use gcp_bigquery_client::yup_oauth2;
use serde::Deserialize;

use super::QUOTA_WAIT;
use crate::failure::Failure;
use crate::http;
use crate::text;

/// A call that did not succeed.
#[derive(Debug)]
pub(super) enum Answer {
    NotFound(String),
    Duplicate,
    Invalid(String),
    Denied(String),
    /// Worth another try, soon or after a while.
    Passing {
        detail: String,
        after: Option<Duration>,
    },
    /// Decided elsewhere: no token.
    Failed(Failure),
}

/// How a job ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    Invalid(String),
    /// Table or dataset vanished under it.
    Gone(String),
    Denied(String),
    /// Another job may succeed, soon or after a while.
    Failed {
        detail: String,
        after: Option<Duration>,
    },
}

impl Answer {
    /// What a refused call of the client library means.
    pub(super) fn of(error: BQError) -> Self {
        match error {
            BQError::ResponseError { error } => {
                let error = error.error;
                let reason = error.errors.first().and_then(|error| error.get("reason"));
                let reason = reason.map(String::as_str).unwrap_or_default();
                Self::classify(u16::try_from(error.code).unwrap_or(500), reason, &error.message)
            }
            BQError::YupAuthError(yup_oauth2::Error::LowLevelError(error)) => {
                let detail = error.to_string();
                match error.into_inner().map(|error| error.downcast::<Failure>()) {
                    Some(Ok(failure)) => Self::Failed(*failure),
                    _ => Self::Failed(Failure::GoogleCredentials(detail)),
                }
            }
            // An answer that is no JSON of BigQuery's comes as this too, without its status.
            other => Self::Passing { detail: http::describe(&other), after: None },
        }
    }

    /// What a refused upload means.
    pub(super) fn of_upload(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Wire {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            message: String,
            #[serde(default)]
            errors: Vec<Reason>,
        }
        #[derive(Deserialize)]
        struct Reason {
            #[serde(default)]
            reason: String,
        }
        match serde_json::from_slice::<Wire>(body) {
            Ok(Wire { error }) => {
                let reason = error.errors.first().map_or("", |first| first.reason.as_str());
                Self::classify(status, reason, &error.message)
            }
            Err(_) => Self::classify(status, "", ""),
        }
    }

    fn classify(status: u16, reason: &str, message: &str) -> Self {
        let message = text::excerpt(message, http::EXCERPT);
        let detail = format!("{status} {reason} {message}").trim().replace("  ", " ");
        let passing = |after| Self::Passing { detail: detail.clone(), after };
        match (status, reason) {
            (
                _,
                "rateLimitExceeded" | "jobRateLimitExceeded" | "backendError" | "internalError",
            ) => passing(None),
            (_, "quotaExceeded") => passing(Some(QUOTA_WAIT)),
            (404, _) => Self::NotFound(detail),
            (409, _) => Self::Duplicate,
            (401, _) => {
                Self::Failed(Failure::GoogleCredentials(format!("BigQuery answers {detail}")))
            }
            (403, _) => Self::Denied(detail),
            (408 | 429 | 500.., _) => passing(None),
            (400..500, _) => Self::Invalid(detail),
            // A redirect is not followed, and no other answer is documented.
            _ => passing(None),
        }
    }

    /// The failure that this is where nothing better is known.
    pub(super) fn into_failure(self, what: &str) -> Failure {
        let what = what.to_owned();
        match self {
            Self::Failed(failure) => failure,
            Self::Denied(detail) | Self::Invalid(detail) => {
                Failure::WarehouseDenied { what, detail }
            }
            Self::Passing { detail, after } => {
                Failure::WarehouseUnavailable { what, detail, after }
            }
            Self::NotFound(detail) => Failure::WarehouseUnavailable { what, detail, after: None },
            Self::Duplicate => {
                let detail = "409 duplicate".to_owned();
                Failure::WarehouseUnavailable { what, detail, after: None }
            }
        }
    }
}

/// How a job ended, if it has.
pub(super) fn ended(job: &Job) -> Option<Ended> {
    let status = job.status.as_ref()?;
    if status.state.as_deref() != Some("DONE") {
        return None;
    }
    let Some(error) = &status.error_result else { return Some(Ended::Done) };
    let reason = error.reason.as_deref().unwrap_or_default();
    let mut message = error.message.clone().unwrap_or_default();
    // The result often says only "too many errors, giving up"; the list says which.
    for more in status.errors.iter().flatten().filter_map(|error| error.message.as_deref()) {
        if !message.contains(more) {
            message = format!("{message}; {more}");
        }
    }
    let detail = format!("{reason}: {}", text::excerpt(&message, http::EXCERPT));
    Some(match reason {
        "invalid" | "invalidQuery" | "parseError" => Ended::Invalid(detail),
        "notFound" => Ended::Gone(detail),
        "accessDenied" | "billingNotEnabled" | "billingTierLimitExceeded" | "notImplemented" => {
            Ended::Denied(detail)
        }
        "quotaExceeded" => Ended::Failed { detail, after: Some(QUOTA_WAIT) },
        _ => Ended::Failed { detail, after: None },
    })
}
