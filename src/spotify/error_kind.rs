//! Classifies responses that are not a success. Pure. A message that names the cause takes precedence over the
//! status, because Spotify sends the same refusal with several statuses.

use crate::failure::Obstacle;

/// The reason of a 429 that is about the developer account's quota, not the rate
/// (<https://developer.spotify.com/documentation/web-api/references/changes/july-2026>).
const QUOTA_REASON: &str = "QUOTA_EXCEEDED";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// Too many calls, or the developer account's quota is used up.
    Throttled { quota: bool },
    /// Spotify does not accept the token (a new one, or a pause, may help) or, in a request for a token,
    /// the client ID and secret.
    Unauthorized,
    /// The resource does not exist.
    NotFound,
    /// The app's owner has no Premium subscription.
    Premium,
    /// Spotify cannot search for this term.
    SearchTerm,
    /// A transient failure; `is_odd` if Spotify is up but its response makes no sense.
    Transient { is_odd: bool },
    /// The call fails until someone changes what the obstacle names.
    Permanent(Obstacle),
}

/// Classifies a response with this status, or an error with this status in the body of a 200. The status
/// is 0 if such an error has none.
pub(super) fn classify(status: u16, message: &str, reason: Option<&str>) -> ErrorKind {
    let message = message.to_lowercase();
    let says = |part: &str| message.contains(part);
    let any = |parts: &[&str]| parts.iter().any(|part| says(part));

    let quota = reason.is_some_and(|reason| reason.eq_ignore_ascii_case(QUOTA_REASON))
        || (says("quota") && any(&["exceed", "used up", "exhausted"]));
    if quota || status == 429 || any(&["too many requests", "rate limit", "rate-limit"]) {
        return ErrorKind::Throttled { quota };
    }
    match status {
        500.. => return ErrorKind::Transient { is_odd: false },
        // The server timed out while it waited for the request.
        408 => return ErrorKind::Transient { is_odd: false },
        // Conflict, misdirected request, locked, too early, and a proxy's "client closed request".
        409 | 421 | 423 | 425 | 499 => return ErrorKind::Transient { is_odd: true },
        401 => return ErrorKind::Unauthorized,
        404 => return ErrorKind::NotFound,
        451 => return ErrorKind::Permanent(Obstacle::Market),
        300..=399 => return ErrorKind::Permanent(Obstacle::Address),
        _ => {}
    }
    if says("premium") {
        ErrorKind::Premium
    } else if any(&["non existing id", "base62"]) {
        ErrorKind::NotFound
    } else if any(&["access token", "invalid_token", "bearer authentication"]) {
        ErrorKind::Unauthorized
    } else if any(&["search query", "query exceeds", "empty query", "no query"]) {
        ErrorKind::SearchTerm
    } else if any(&["market", "country", "region", "legal reasons"]) {
        ErrorKind::Permanent(Obstacle::Market)
    } else if says("limit") {
        ErrorKind::Permanent(Obstacle::PageSize)
    } else {
        match status {
            403 => ErrorKind::Permanent(Obstacle::App),
            405 => ErrorKind::Permanent(Obstacle::Address),
            400..=499 => ErrorKind::Permanent(Obstacle::Request),
            _ => ErrorKind::Transient { is_odd: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_take_precedence_over_the_status() {
        use ErrorKind::*;
        let (rate, quota) = (Throttled { quota: false }, Throttled { quota: true });
        let (down, odd) = (Transient { is_odd: false }, Transient { is_odd: true });
        for (status, message, kind) in [
            (429, "", rate),
            (429, "Too many requests", rate),
            (403, "Too many requests", rate),
            (0, "API rate limit exceeded", rate),
            (503, "Rate-limit reached", rate),
            (403, "Your quota has been exceeded", quota),
            (401, "The access token expired", Unauthorized),
            (401, "", Unauthorized),
            (400, "Access token missing", Unauthorized),
            (400, "Only valid bearer authentication supported", Unauthorized),
            (0, "Invalid access token", Unauthorized),
            (404, "Not found.", NotFound),
            (404, "", NotFound),
            (400, "Invalid base62 id", NotFound),
            (400, "non existing id", NotFound),
            (403, "Active premium subscription required for the owner of the app", Premium),
            (0, "Active premium subscription required", Premium),
            (400, "No search query", SearchTerm),
            (400, "Query exceeds maximum length of 250 characters", SearchTerm),
            (0, "No search query", SearchTerm),
            (400, "Invalid limit", Permanent(Obstacle::PageSize)),
            (400, "Invalid market code", Permanent(Obstacle::Market)),
            (400, "Unlaunched market", Permanent(Obstacle::Market)),
            (403, "Not available in your country", Permanent(Obstacle::Market)),
            (451, "", Permanent(Obstacle::Market)),
            (403, "Forbidden", Permanent(Obstacle::App)),
            (403, "", Permanent(Obstacle::App)),
            (302, "", Permanent(Obstacle::Address)),
            (405, "", Permanent(Obstacle::Address)),
            (400, "Bad request", Permanent(Obstacle::Request)),
            (410, "Gone", Permanent(Obstacle::Request)),
            (425, "Too early", odd),
            (499, "", odd),
            (408, "", down),
            (500, "Server error", down),
            (502, "", down),
            (503, "non existing id", down),
            (599, "", down),
            (0, "Something went wrong", odd),
            (0, "", odd),
            (200, "", odd),
        ] {
            assert_eq!(classify(status, message, None), kind, "{status} {message}");
        }
        assert_eq!(classify(403, "Forbidden", Some("quota_exceeded")), quota);
        assert_eq!(classify(429, "", Some("OTHER")), rate);
    }

    proptest! {
        #[test]
        fn the_status_decides_if_the_words_say_nothing(status in 400u16..700, message in "[0-9 .]{0,20}") {
            let kind = classify(status, &message, None);
            prop_assert_eq!(kind == ErrorKind::Transient { is_odd: false }, status >= 500 || status == 408);
            prop_assert_eq!(matches!(kind, ErrorKind::Throttled { .. }), status == 429);
            prop_assert_eq!(kind == ErrorKind::NotFound, status == 404);
        }

        /// Whatever a server error says, no message is dead-lettered and no show counts as deleted.
        #[test]
        fn a_server_error_is_always_transient(status in 500u16..600, message in any::<String>(), reason in any::<Option<String>>()) {
            let kind = classify(status, &message, reason.as_deref());
            let is_transient = matches!(kind, ErrorKind::Transient { .. } | ErrorKind::Throttled { .. });
            prop_assert!(is_transient, "{:?}", kind);
        }
    }
}
