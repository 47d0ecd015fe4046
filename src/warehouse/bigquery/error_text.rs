//! Reads the reasons and messages of BigQuery's errors.
//!
//! Messages quote names of datasets, tables and columns, and parts of rows, so a single word ("billing",
//! "key") is rarely reliable. This file searches for phrases that BigQuery itself writes. Single words count only
//! to decide between a table and its rows, where the first one wins, and for locations and encryption keys.

use crate::failure::Obstacle;

/// Reasons of transient errors (<https://cloud.google.com/bigquery/docs/error-messages>, and as observed).
const TRANSIENT_REASONS: [&str; 14] = [
    "backendError",
    "badGateway",
    "concurrentLimitExceeded",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "resourceInUse",
    "resourcesExceeded",
    "stopped",
    "tableUnavailable",
    "timeout",
    "userRateLimitExceeded",
];

/// Phrases about a table, in lower case.
const TABLE_PHRASES: [&str; 13] = [
    "provided schema does not match",
    "schema does not match",
    "has changed type",
    "has changed mode",
    "partition",
    "clustering",
    "kms",
    "cryptokey",
    "encryption",
    "disposition",
    "row access polic",
    "row-level",
    "row level",
];

/// Phrases about rows, in lower case.
const ROW_PHRASES: [&str; 7] = [
    "json",
    "error while reading data",
    "in row starting",
    "no such field",
    "could not convert",
    "could not parse",
    "only optional fields can be set to null",
];

/// The start of messages about rows. The rest may still name the table as the cause.
const ROW_ERROR_PREFIX: &str = "error while reading data, error message:";

pub(super) fn is_transient_reason(reason: &str) -> bool {
    TRANSIENT_REASONS.contains(&reason)
}

pub(super) fn is_quota_reason(reason: &str) -> bool {
    matches!(reason, "quotaExceeded" | "dailyLimitExceeded")
}

/// Returns whether a message is about the rate of calls, for denials whose reason does not say so.
pub(super) fn is_about_rate_limit(message: &str) -> bool {
    contains(message, &["exceeded rate limits", "rate limit exceeded"])
}

/// Returns whether a message is about a quota, for denials whose reason does not say so.
pub(super) fn is_about_quota(message: &str) -> bool {
    contains(message, &["quota exceeded", "exceeded quota"])
}

/// Returns whether a denial or a quota is about one table, rather than the project.
pub(super) fn is_about_one_table(message: &str) -> bool {
    let phrases = [
        "access denied: table",
        "access denied: dataset",
        "bigquery.tables.",
        "table exceeded",
        "per table",
        "kms",
    ];
    contains(message, &phrases)
}

/// Returns whether the dataset or the project was not found, rather than a table or a job.
pub(super) fn is_about_dataset(message: &str) -> bool {
    contains(message, &["not found: dataset", "not found: project"])
}

/// Returns whether an error may mean that the dataset is in another location.
pub(super) fn is_about_location(message: &str) -> bool {
    contains(message, &["location"])
}

/// Returns the cause of a denial, if it is not a missing role.
pub(super) fn denial(reason: &str, message: &str) -> Option<Obstacle> {
    let api_disabled = ["has not been used in project", "api is not enabled", "or it is disabled"];
    let perimeter = ["vpc service controls", "prohibited by organization's policy"];
    match reason {
        "accessNotConfigured" | "SERVICE_DISABLED" => Some(Obstacle::ApiDisabled),
        "vpcServiceControls" | "SECURITY_POLICY_VIOLATED" => Some(Obstacle::ServiceControls),
        _ if contains(message, &perimeter) => Some(Obstacle::ServiceControls),
        _ if contains(message, &api_disabled) => Some(Obstacle::ApiDisabled),
        _ => None,
    }
}

/// Returns what has to be changed, if the reason or the message names it.
pub(super) fn obstacle(reason: &str, message: &str) -> Option<Obstacle> {
    let billing = [
        "billing has not been enabled",
        "billing account",
        "billing is disabled",
        "billing is not enabled",
        "enable billing",
        "not enabled billing",
    ];
    let key = ["cloud kms", "kms key", "cryptokeys/", "encryption key"];
    match reason {
        "billingNotEnabled"
        | "billingTierLimitExceeded"
        | "accountDisabled"
        | "BILLING_DISABLED" => Some(Obstacle::Billing),
        "notImplemented" => Some(Obstacle::Table),
        _ if contains(message, &key) => Some(Obstacle::Key),
        _ if contains(message, &billing) => Some(Obstacle::Billing),
        _ => None,
    }
}

/// Returns whether a job's messages are about its rows. The first message that is about rows or about the
/// table decides.
pub(super) fn is_about_rows(messages: &[String]) -> bool {
    messages.iter().find_map(|message| is_about_rows_or_table(message)).unwrap_or(false)
}

/// Returns whether a message is about rows rather than the table, or `None` if it names neither.
fn is_about_rows_or_table(message: &str) -> Option<bool> {
    let message = message.to_ascii_lowercase();
    let (has_prefix, message) = match message.split_once(ROW_ERROR_PREFIX) {
        Some((_, rest)) => (true, rest),
        None => (false, message.as_str()),
    };
    let position =
        |phrases: &[&str]| phrases.iter().filter_map(|phrase| message.find(phrase)).min();
    match (position(&ROW_PHRASES), position(&TABLE_PHRASES)) {
        (None, None) => has_prefix.then_some(true),
        (Some(rows), Some(table)) => Some(rows < table),
        (rows, _) => Some(rows.is_some()),
    }
}

fn contains(message: &str, phrases: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    phrases.iter().any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(messages: &[&str]) -> bool {
        let messages: Vec<String> = messages.iter().map(|text| (*text).to_owned()).collect();
        is_about_rows(&messages)
    }

    #[test]
    fn messages_about_rows() {
        let reading = "Error while reading data, error message:";
        let giving_up = format!(
            "{reading} JSON table encountered too many errors, giving up. Rows: 1; errors: 1."
        );
        assert!(rows(&[&giving_up, "Cannot load into a partition"]), "the result comes first");
        assert!(
            rows(&["too many errors", &giving_up]),
            "the details decide if the result says nothing"
        );
        for message in [
            "JSON parsing error in row starting at position 0: No such field: partition",
            "Could not convert value to DATE: 'billing account'. Field: release_date",
            "Only optional fields can be set to NULL. Field: id; Value: NULL",
            "Invalid value",
        ] {
            assert!(rows(&[&format!("{reading} {message}")]), "{message}");
        }
        assert!(rows(&["Parser terminated before end of string in JSON"]));
    }

    #[test]
    fn messages_about_the_table() {
        for message in [
            "Provided Schema does not match Table p:d.t. Field id has changed mode from REQUIRED to NULLABLE",
            "Provided Schema does not match Table p:d.json. Field x has changed type from JSON to STRING",
            "Incompatible table partitioning specification. Expected partitioning specification none",
            "Error while reading data, error message: Too many partitions produced by the load, JSON",
            "Error while reading data, error message: Cloud KMS key projects/p/cryptoKeys/k is disabled",
            "Cannot write to a table with row level access policies in JSON",
            "Write disposition WRITE_TRUNCATE_DATA is not supported",
            "Billing has not been enabled for this project",
            "simulated",
            "",
        ] {
            assert!(!rows(&[message]), "{message}");
        }
        assert!(!rows(&[]));
    }

    #[test]
    fn quoted_names_do_not_count() {
        for message in [
            "Access Denied: Table p:billing.kms: Permission bigquery.tables.update denied",
            "Access Denied: Dataset p:vpc_service_controls: User does not have permission",
        ] {
            assert_eq!(
                (denial("accessDenied", message), obstacle("accessDenied", message)),
                (None, None)
            );
        }
    }
}
