//! The response to a request for a token.

use secrecy::SecretString;

use super::unreadable::{Unreadable, error_or_missing, members};
use super::{clean, fields, number};

pub(crate) struct TokenResponse {
    pub(crate) access_token: SecretString,
    /// In seconds.
    pub(crate) expires_in: u64,
}

/// The lifetime that Spotify documents, for a token whose response has none. If the token expires earlier,
/// Spotify refuses it and it is replaced.
const DEFAULT_EXPIRES_IN: u64 = 3600;

/// Parses the response. The error does not repeat the body, which may contain a token.
pub(crate) fn token(body: &[u8]) -> Result<TokenResponse, Unreadable> {
    let body = clean::body(body);
    let [token, expires_in, error] = members(&body, &["access_token", "expires_in", "error"])?;
    let Some(text) = token.and_then(fields::text) else {
        return Err(error_or_missing(error, "`access_token`", token));
    };
    // Other characters are not valid in a header.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let found = if text.trim().is_empty() { "empty" } else { "not a token" };
        return Err(Unreadable::Missing { what: "`access_token`", found });
    }
    let seconds = expires_in.and_then(number::whole).filter(|seconds| *seconds > 0);
    Ok(TokenResponse {
        access_token: SecretString::from(text),
        expires_in: seconds
            .map_or(DEFAULT_EXPIRES_IN, |seconds| u64::try_from(seconds).unwrap_or(u64::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_lasts_an_hour_by_default() {
        for (rest, seconds) in [
            (r#","expires_in":3600"#, 3600),
            (r#","expires_in":"1800""#, 1800),
            (r#","expires_in":1800.0"#, 1800),
            (r#","expires_in":1.8e3,"token_type":"bearer""#, 1800),
            ("", 3600),
            (r#","expires_in":null,"token_type":null"#, 3600),
            (r#","expires_in":-5"#, 3600),
            (r#","expires_in":0"#, 3600),
            (r#","expires_in":{"s":1}"#, 3600),
            (r#","expires_in":0.5"#, 3600),
            (r#","expires_in":18446744073709551615"#, u64::MAX),
            (r#","expires_in":99999999999999999999"#, u64::MAX),
            (r#","expires_in":1e400"#, 3600),
            (r#","token_type":"BEARER","scope":"\ud83c","error":null"#, 3600),
        ] {
            let body = format!("\u{feff}{{\"access_token\":\"t\"{rest}}}");
            let answer = token(body.as_bytes()).unwrap_or_else(|why| panic!("{rest}: {why}"));
            assert_eq!(answer.access_token.expose_secret(), "t", "{rest}");
            assert_eq!(answer.expires_in, seconds, "{rest}");
        }
    }

    #[test]
    fn a_response_without_a_token_is_explained_but_not_quoted() {
        for (body, why) in [
            (r#"{"token":"hush"}"#, "`access_token` is missing"),
            (r#"{"access_token":null,"refresh":"hush"}"#, "`access_token` is null"),
            (r#"{"access_token":["hush"]}"#, "`access_token` is an array"),
            (r#"{"access_token":""}"#, "`access_token` is empty"),
            (r#"{"access_token":"\u0000 "}"#, "`access_token` is empty"),
            (r#"{"access_token":"hush\nhush"}"#, "`access_token` is not a token"),
            (r#"{"access_token":"húsh"}"#, "`access_token` is not a token"),
            (r#""hush""#, "the response is a string"),
            ("hush", "the response is not JSON"),
            (r#"{"access_token":"hush"#, "the response is not JSON"),
            (r#"{"error":"hush"}"#, "an error with status 200"),
        ] {
            let unreadable = token(body.as_bytes()).err().expect(body);
            let text = format!("{unreadable} {unreadable:?}");
            assert!(text.contains(why) && !text.contains("ush"), "{body}: {text}");
        }
    }
}
