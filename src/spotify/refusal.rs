//! The meaning of an answer that is not a success. Pure: status and words in, meaning out. Words that
//! name the cause decide before the status, because the same refusal comes with several statuses.

use crate::failure::RefusalCause;

/// The reason of a 429 that means the developer account's quota, not the rate
/// (<https://developer.spotify.com/documentation/web-api/references/changes/july-2026>).
const QUOTA: &str = "QUOTA_EXCEEDED";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many calls, or the quota of the developer account is used up.
    Throttled { quota: bool },
    /// The token is refused: another one, or a pause, may help.
    Token,
    /// What was asked for does not exist.
    NotFound,
    /// The app's owner has no Premium subscription.
    Premium,
    /// Spotify cannot search for this term.
    SearchTerm,
    /// A transient failure; `odd` if Spotify is up but answers strangely.
    Again { odd: bool },
    /// The call is refused until somebody changes something.
    Lasting(RefusalCause),
}

/// Returns the meaning of an answer with this status, or of an error with this status in the body of a
/// 200. The status is 0 if such an error names none.
pub(super) fn refusal(status: u16, words: &str, reason: Option<&str>) -> Refusal {
    let words = words.to_lowercase();
    let says = |part: &str| words.contains(part);
    let any = |parts: &[&str]| parts.iter().any(|part| says(part));

    let quota = reason.is_some_and(|reason| reason.eq_ignore_ascii_case(QUOTA))
        || (says("quota") && any(&["exceed", "used up", "exhausted"]));
    if quota || status == 429 || any(&["too many requests", "rate limit", "rate-limit"]) {
        return Refusal::Throttled { quota };
    }
    match status {
        500.. => return Refusal::Again { odd: false },
        // The server gave up waiting for the request.
        408 => return Refusal::Again { odd: false },
        // Conflict, wrong connection, locked, too early, and a proxy's "client closed the request".
        409 | 421 | 423 | 425 | 499 => return Refusal::Again { odd: true },
        401 => return Refusal::Token,
        404 => return Refusal::NotFound,
        451 => return Refusal::Lasting(RefusalCause::Market),
        300..=399 => return Refusal::Lasting(RefusalCause::Address),
        _ => {}
    }
    if says("premium") {
        Refusal::Premium
    } else if any(&["non existing id", "base62"]) {
        Refusal::NotFound
    } else if any(&["access token", "invalid_token", "bearer authentication"]) {
        Refusal::Token
    } else if any(&["search query", "query exceeds", "empty query", "no query"]) {
        Refusal::SearchTerm
    } else if any(&["market", "country", "region", "legal reasons"]) {
        Refusal::Lasting(RefusalCause::Market)
    } else if says("limit") {
        Refusal::Lasting(RefusalCause::PageSize)
    } else {
        match status {
            403 => Refusal::Lasting(RefusalCause::App),
            405 => Refusal::Lasting(RefusalCause::Address),
            400..=499 => Refusal::Lasting(RefusalCause::Request),
            _ => Refusal::Again { odd: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_decide_before_the_status() {
        use Refusal::*;
        let (rate, quota) = (Throttled { quota: false }, Throttled { quota: true });
        let (down, odd) = (Again { odd: false }, Again { odd: true });
        for (status, words, meaning) in [
            (429, "", rate),
            (429, "Too many requests", rate),
            (403, "Too many requests", rate),
            (0, "API rate limit exceeded", rate),
            (503, "Rate-limit reached", rate),
            (403, "Your quota has been exceeded", quota),
            (401, "The access token expired", Token),
            (401, "", Token),
            (400, "Access token missing", Token),
            (400, "Only valid bearer authentication supported", Token),
            (0, "Invalid access token", Token),
            (404, "Not found.", NotFound),
            (404, "", NotFound),
            (400, "Invalid base62 id", NotFound),
            (400, "non existing id", NotFound),
            (403, "Active premium subscription required for the owner of the app", Premium),
            (0, "Active premium subscription required", Premium),
            (400, "No search query", SearchTerm),
            (400, "Query exceeds maximum length of 250 characters", SearchTerm),
            (0, "No search query", SearchTerm),
            (400, "Invalid limit", Lasting(RefusalCause::PageSize)),
            (400, "Invalid market code", Lasting(RefusalCause::Market)),
            (400, "Unlaunched market", Lasting(RefusalCause::Market)),
            (403, "Not available in your country", Lasting(RefusalCause::Market)),
            (451, "", Lasting(RefusalCause::Market)),
            (403, "Forbidden", Lasting(RefusalCause::App)),
            (403, "", Lasting(RefusalCause::App)),
            (302, "", Lasting(RefusalCause::Address)),
            (405, "", Lasting(RefusalCause::Address)),
            (400, "Bad request", Lasting(RefusalCause::Request)),
            (410, "Gone", Lasting(RefusalCause::Request)),
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
            assert_eq!(refusal(status, words, None), meaning, "{status} {words}");
        }
        assert_eq!(refusal(403, "Forbidden", Some("quota_exceeded")), quota);
        assert_eq!(refusal(429, "", Some("OTHER")), rate);
    }

    proptest! {
        #[test]
        fn the_status_decides_where_the_words_say_nothing(status in 400u16..700, words in "[0-9 .]{0,20}") {
            let meaning = refusal(status, &words, None);
            prop_assert_eq!(meaning == Refusal::Again { odd: false }, status >= 500 || status == 408);
            prop_assert_eq!(matches!(meaning, Refusal::Throttled { .. }), status == 429);
            prop_assert_eq!(meaning == Refusal::NotFound, status == 404);
        }

        /// No words make a message dead-lettered, or its show absent, while Spotify is down.
        #[test]
        fn a_server_error_always_may_pass(status in 500u16..600, words in any::<String>(), reason in any::<Option<String>>()) {
            let meaning = refusal(status, &words, reason.as_deref());
            let passes = matches!(meaning, Refusal::Again { .. } | Refusal::Throttled { .. });
            prop_assert!(passes, "{:?}", meaning);
        }
    }
}
