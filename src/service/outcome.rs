//! The result of processing a message. The log line and the HTTP response are functions of it.

use crate::failure::{Decision, Failure};
use crate::warehouse::Origin;

#[derive(Debug)]
pub enum Outcome {
    /// The table was replaced.
    Loaded { job_id: String, rows: u64, rows_before: Option<u64>, origin: Origin },
    /// An earlier delivery of the message had replaced the table.
    AlreadyLoaded { job_id: String, rows: Option<u64>, origin: Option<Origin> },
    /// One message for each table and term was published.
    FannedOut { messages: u64 },
    /// The message can never succeed, and was published to the dead-letter topic.
    DeadLettered(Failure),
    /// The message may succeed later, and is redelivered.
    Retry(Failure),
    /// The request is not a push to this service, or the message can never succeed and could not be
    /// dead-lettered; `undelivered` then says why.
    Refused { failure: Failure, undelivered: Option<String> },
}

impl Outcome {
    /// Returns the outcome of a failure that is not dead-lettered.
    pub(crate) fn failed(failure: Failure) -> Self {
        match failure.decision() {
            Decision::Retry { .. } => Self::Retry(failure),
            _ => Self::Refused { failure, undelivered: None },
        }
    }

    /// Returns its name in log lines and in the response header.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Loaded { .. } => "loaded",
            Self::AlreadyLoaded { .. } => "already_loaded",
            Self::FannedOut { .. } => "fanned_out",
            Self::DeadLettered(_) => "dead_lettered",
            Self::Retry(_) => "retry",
            Self::Refused { .. } => "refused",
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::DeadLettered(failure) | Self::Retry(failure) | Self::Refused { failure, .. } => {
                Some(failure)
            }
            Self::Loaded { .. } | Self::AlreadyLoaded { .. } | Self::FannedOut { .. } => None,
        }
    }

    /// Returns the ID of the load job that replaced the table, or that was still running at the deadline.
    pub(super) fn job_id(&self) -> Option<&str> {
        match self {
            Self::Loaded { job_id, .. } | Self::AlreadyLoaded { job_id, .. } => Some(job_id),
            _ => match self.failure()? {
                Failure::DeadlinePassed { job_id, .. } => job_id.as_deref(),
                Failure::EventNotPublished { job_id, .. } => Some(job_id),
                _ => None,
            },
        }
    }

    pub(super) fn rows(&self) -> Option<u64> {
        match self {
            Self::Loaded { rows, .. } => Some(*rows),
            Self::AlreadyLoaded { rows, .. } => *rows,
            _ => None,
        }
    }

    pub(super) fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Loaded { origin, .. } => Some(origin),
            Self::AlreadyLoaded { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }
}
