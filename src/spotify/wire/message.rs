//! The message in the body of an error, in any of its forms.

use serde_json::Value;

use super::{clean, object};
use crate::text;

/// Returns the message of an error and its reason, if it has one. The body may be JSON of the Web API
/// (`{"error":{"message","reason"}}`) or of the token endpoint (`{"error","error_description"}`), other
/// JSON, or plain text; HTML has no message. Removes `secrets`, because a proxy's error page may repeat
/// the request.
pub(crate) fn error_message(body: &[u8], secrets: &[&str]) -> (String, Option<String>) {
    let body = clean::body(body);
    let body = body.trim();
    let (message, reason) = match object::values(body, &["error", "error_description"]) {
        Ok([Some(error), description]) => message_of(error, description),
        _ if serde_json::from_str::<&serde_json::value::RawValue>(body).is_ok() => {
            (decoded(Some(body)), None)
        }
        _ if body.starts_with(['<', '{', '[']) => (String::new(), None),
        _ => (body.to_owned(), None),
    };
    (excerpt(&message, secrets), reason.map(|reason| excerpt(&reason, secrets)))
}

/// Returns the start of a JSON body, without `secrets`.
pub(super) fn quote(body: &[u8], secrets: &[&str]) -> String {
    excerpt(&decoded(Some(&clean::body(body))), secrets)
}

fn excerpt(text: &str, secrets: &[&str]) -> String {
    text::excerpt(&text::redacted(text, secrets), text::MAX_EXCERPT_BYTES)
}

fn message_of(error: &str, description: Option<&str>) -> (String, Option<String>) {
    if let Ok([message, reason]) = object::values(error, &["message", "reason"]) {
        let reason = reason.map(|reason| decoded(Some(reason)));
        let message = decoded(message.or(description).or(Some(error)));
        return (message, reason.filter(|reason| !reason.is_empty()));
    }
    let parts = [decoded(Some(error)), decoded(description)];
    (parts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": "), None)
}

/// Decodes a string, and returns other values as JSON; null is empty. The JSON is written again, because
/// an escape might hide a secret.
fn decoded(json: Option<&str>) -> String {
    match json.map(serde_json::from_str::<Value>) {
        Some(Ok(Value::String(text))) => text,
        None | Some(Ok(Value::Null) | Err(_)) => String::new(),
        Some(Ok(other)) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_removed_before_the_message_is_cut() {
        let page = format!("{} hush, hush", "x".repeat(text::MAX_EXCERPT_BYTES - 2));
        let (message, _) = error_message(page.as_bytes(), &["", "hush"]);
        assert!(!message.contains('h'), "{message}");
    }

    #[test]
    fn no_escape_hides_a_secret() {
        for body in [
            r#"{"error":{"message":"no \u0068ush/a"}}"#,
            r#"{"error":{"no":["\u0068ush\/a"]}}"#,
            r#"{"error":"x","error_description":"hush\/a"}"#,
            r#"{"request":"hush\/a"}"#,
            r#"["hu\u0073h\/a"]"#,
            r#"{"error":{"message":"x","reason":"hush\/a"}}"#,
        ] {
            let (message, reason) = error_message(body.as_bytes(), &["hush/a"]);
            let all = format!("{message} {reason:?}");
            assert!(!all.contains("ush") && all.contains('…'), "{body}: {all}");
        }
    }

    #[test]
    fn the_message_is_found_in_every_form_of_error() {
        for (body, message, reason) in [
            (r#"{"error":{"status":400,"message":"Invalid limit"}}"#, "Invalid limit", None),
            (
                r#"{"error":{"status":429,"message":"Too many","reason":"QUOTA_EXCEEDED"}}"#,
                "Too many",
                Some("QUOTA_EXCEEDED"),
            ),
            (
                r#"{"error":"invalid_client","error_description":"Invalid client"}"#,
                "invalid_client: Invalid client",
                None,
            ),
            (r#"{"error":"invalid_client"}"#, "invalid_client", None),
            (r#"{"error":"invalid_client","error_description":null}"#, "invalid_client", None),
            (
                r#"{"error":"server_error","error_description":{"a":1}}"#,
                r#"server_error: {"a":1}"#,
                None,
            ),
            (r#"{"error":{"message":{"pt":"não"},"reason":5}}"#, r#"{"pt":"não"}"#, Some("5")),
            (r#"{"error":{"message":null,"reason":null}}"#, "", None),
            (r#"{"error":{"code":"x","status":500}}"#, r#"{"code":"x","status":500}"#, None),
            (r#"{"error":["a","b"]}"#, r#"["a","b"]"#, None),
            (r#"{"error":503}"#, "503", None),
            (r#"{"error":null}"#, "", None),
            (r#"{"error":{"message":"cut \ud83c","message":"last \u0000one"}}"#, "last one", None),
            ("\u{feff}{\"error\":\"bom\"}", "bom", None),
            ("Too many\nrequests", "Too many requests", None),
            ("<html>502</html>", "", None),
            ("{\"error\":{\"mess", "", None),
            (r#"{"message":"Forbidden"}"#, r#"{"message":"Forbidden"}"#, None),
            (r#"["a"]"#, r#"["a"]"#, None),
            (r#""gone""#, "gone", None),
            ("", "", None),
        ] {
            let (found, found_reason) = error_message(body.as_bytes(), &[]);
            assert_eq!((found.as_str(), found_reason.as_deref()), (message, reason), "{body}");
        }
        assert_eq!(error_message(b"caf\xe9 \0closed", &[]).0, "caf\u{fffd} closed");
    }
}
