//! What an error says in its own words, whatever its form.

use serde_json::Value;

use super::{clean, object};
use crate::text;

/// What an error's body says, and the reason that it names: JSON of the Web API
/// (`{"error":{"message","reason"}}`), of the token endpoint (`{"error","error_description"}`), any
/// other JSON as it came, or plain text. HTML says nothing. Where the body repeats one of `secrets` (a
/// proxy's error page may show the request that it did not pass on), that is left out.
pub(crate) fn error_words(body: &[u8], secrets: &[&str]) -> (String, Option<String>) {
    let body = clean::body(body);
    let body = body.trim();
    let (words, reason) = match object::values(body, &["error", "error_description"]) {
        Ok([Some(error), description]) => of_error(error, description),
        _ if serde_json::from_str::<&serde_json::value::RawValue>(body).is_ok() => {
            (plain(Some(body)), None)
        }
        _ if body.starts_with(['<', '{', '[']) => (String::new(), None),
        _ => (body.to_owned(), None),
    };
    (line(&words, secrets), reason.map(|reason| line(&reason, secrets)))
}

/// The beginning of an answer of JSON, without `secrets`.
pub(super) fn quote(body: &[u8], secrets: &[&str]) -> String {
    line(&plain(Some(&clean::body(body))), secrets)
}

fn line(words: &str, secrets: &[&str]) -> String {
    text::excerpt(&text::redacted(words, secrets), text::MAX_EXCERPT_BYTES)
}

fn of_error(error: &str, description: Option<&str>) -> (String, Option<String>) {
    if let Ok([message, reason]) = object::values(error, &["message", "reason"]) {
        let words = plain(message.or(description).or(Some(error)));
        return (words, reason.map(|reason| plain(Some(reason))).filter(|text| !text.is_empty()));
    }
    let words = [plain(Some(error)), plain(description)];
    (words.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": "), None)
}

/// A text as it reads, nothing for null, and of any other value its JSON: written again, so that no
/// escape hides a secret.
fn plain(json: Option<&str>) -> String {
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
    fn a_secret_that_is_repeated_is_left_out_before_the_text_is_cut() {
        let page = format!("{} hush, hush", "x".repeat(text::MAX_EXCERPT_BYTES - 2));
        let (words, _) = error_words(page.as_bytes(), &["", "hush"]);
        assert!(!words.contains('h'), "{words}");
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
            let (words, reason) = error_words(body.as_bytes(), &["hush/a"]);
            let all = format!("{words} {reason:?}");
            assert!(!all.contains("ush") && all.contains('…'), "{body}: {all}");
        }
    }

    #[test]
    fn errors_are_read_in_each_form() {
        for (body, words, reason) in [
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
            let (is, why) = error_words(body.as_bytes(), &[]);
            assert_eq!((is.as_str(), why.as_deref()), (words, reason), "{body}");
        }
        assert_eq!(error_words(b"caf\xe9 \0closed", &[]).0, "caf\u{fffd} closed");
    }
}
