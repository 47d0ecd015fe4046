//! Spotify's answers, as far as they are used. Every field may be missing and any field may be new;
//! texts borrow from the body.

use std::borrow::Cow;
use std::ops::Deref;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::http;
use crate::text;

/// Reads an answer. Its text is validated at once, which is several times as fast as serde_json's way,
/// string by string; an answer that is not UTF-8 everywhere may still be so where it is used.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> serde_json::Result<T> {
    match simdutf8::basic::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    }
}

/// A page of a listing.
#[derive(Deserialize)]
pub(crate) struct Paging<T> {
    #[serde(default = "Vec::new")]
    pub(crate) items: Vec<Option<T>>,
    pub(crate) total: u64,
}

/// The answer to a search.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(crate) struct Search<'a> {
    pub(crate) shows: Paging<Show<'a>>,
}

/// A text that borrows where it holds no escapes. (serde does not borrow inside `Option<Cow>`.)
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A text as it stands in the answer, quotes and escapes included: long texts go into their row as
/// they came, without being read and written anew.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Quoted<'a>(&'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for Quoted<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quoted = Self(<&RawValue>::deserialize(deserializer)?);
        let text = quoted.0.get();
        // Half a surrogate pair is JSON, but no text, which only reading it shows.
        if !text.starts_with('"') || text.contains("\\ud") || text.contains("\\uD") {
            quoted.read().map_err(D::Error::custom)?;
        }
        Ok(quoted)
    }
}

impl<'a> Quoted<'a> {
    /// What it says.
    pub(crate) fn read(&self) -> serde_json::Result<Cow<'a, str>> {
        let Text(text) = serde_json::from_str(self.0.get())?;
        Ok(text)
    }
}

/// A show.
#[derive(Deserialize)]
pub(crate) struct Show<'a> {
    #[serde(default, borrow)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub(crate) name: Option<Quoted<'a>>,
    #[serde(default, borrow)]
    pub(crate) description: Option<Quoted<'a>>,
    #[serde(default)]
    pub(crate) total_episodes: Option<i64>,
}

/// An episode.
#[derive(Deserialize)]
pub(crate) struct Episode<'a> {
    #[serde(default, borrow)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub(crate) name: Option<Quoted<'a>>,
    #[serde(default, borrow)]
    pub(crate) description: Option<Quoted<'a>>,
    #[serde(default, borrow)]
    pub(crate) release_date: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) duration_ms: Option<i64>,
    #[serde(default, borrow)]
    pub(crate) language: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "none_when_null")]
    pub(crate) languages: Vec<Text<'a>>,
    #[serde(default)]
    pub(crate) explicit: Option<bool>,
    #[serde(default, borrow)]
    pub(crate) r#type: Option<Text<'a>>,
}

fn none_when_null<'de: 'a, 'a, D>(deserializer: D) -> Result<Vec<Text<'a>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Option::<Vec<Text<'a>>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A token.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: secrecy::SecretString,
    #[serde(default = "an_hour")]
    pub(super) expires_in: u64,
}

fn an_hour() -> u64 {
    3600
}

/// What an error's body says in its own words, whatever its form: JSON of the Web API
/// (`{"error":{"message","reason"}}`), of the token endpoint (`{"error","error_description"}`),
/// or plain text. HTML says nothing. Where the body repeats one of `secrets` (a proxy's error page
/// may show the request that it did not pass on), that is left out.
pub(crate) fn error_words(body: &[u8], secrets: &[&str]) -> (String, Option<String>) {
    #[derive(Deserialize)]
    struct Wire {
        error: Words,
        #[serde(default)]
        error_description: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Api {
            #[serde(default)]
            message: String,
            #[serde(default)]
            reason: Option<String>,
        },
        Token(String),
    }
    let (words, reason) = match serde_json::from_slice(body) {
        Ok(Wire { error: Words::Api { message, reason }, .. }) => (message, reason),
        Ok(Wire { error: Words::Token(code), error_description }) => {
            (error_description.map_or(code.clone(), |text| format!("{code}: {text}")), None)
        }
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let is_text = !text.trim_start().starts_with(['<', '{', '[']);
            (if is_text { text.into_owned() } else { String::new() }, None)
        }
    };
    (text::excerpt(&text::without(&words, secrets), http::EXCERPT), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_new_fields_are_tolerated() {
        let episodes: Paging<Episode<'_>> = serde_json::from_str(
            r#"{"total":3,"new":1,"items":[null,{},{"id":"a","languages":null,"language":null,"x":[{}]}]}"#,
        )
        .unwrap();
        assert_eq!(episodes.items.len(), 3);
        assert!(episodes.items[2].as_ref().unwrap().languages.is_empty());
    }

    #[test]
    fn texts_borrow_where_they_can() {
        let shows: Paging<Show<'_>> =
            serde_json::from_str(r#"{"total":1,"items":[{"id":"plain","name":"a\nb"}]}"#).unwrap();
        let show = shows.items[0].as_ref().unwrap();
        assert!(matches!(show.id, Some(Text(Cow::Borrowed("plain")))));
        let name = show.name.as_ref().unwrap();
        assert_eq!(name.read().unwrap(), "a\nb");
        assert_eq!(serde_json::to_string(name).unwrap(), r#""a\nb""#);
    }

    #[test]
    fn a_quoted_text_is_a_text() {
        let read = |name: &str| serde_json::from_str::<Quoted<'_>>(name).is_ok();
        assert!(read(r#""""#) && read(r#""🎧 \ud83c\udfa7 \u00e9""#));
        for wrong in ["1", "{}", "[]", "true", r#""\ud83c""#, r#""\uDFA7 x""#, r#""\x""#, "\"\n\""]
        {
            assert!(!read(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_secret_that_is_repeated_is_left_out_before_the_text_is_cut() {
        let page = format!("{} hush, hush", "x".repeat(http::EXCERPT - 2));
        let (words, _) = error_words(page.as_bytes(), &["", "hush"]);
        assert!(!words.contains('h'), "{words}");
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
            ("Too many\nrequests", "Too many requests", None),
            ("<html>502</html>", "", None),
            (r#"{"other":1}"#, "", None),
            ("", "", None),
        ] {
            let (is, why) = error_words(body.as_bytes(), &[]);
            assert_eq!((is.as_str(), why.as_deref()), (words, reason), "{body}");
        }
    }
}
