//! Values as BigQuery's API writes them. A value of another type counts as missing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Returns an empty string if the value is not one.
pub(super) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads a whole number, which BigQuery writes as a string.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Reads a time, in milliseconds since 1970.
pub(super) fn time(value: &Value) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(number(value)?))
}
