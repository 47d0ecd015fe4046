//! Spotify's answers, as far as they are used. Every field may be missing, new or of another type than
//! documented; only an answer without a list of items is unreadable. Texts borrow from the body.

mod clean;
mod lenient;
mod words;

use std::fmt;

use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::http;
use crate::text;
use lenient::Fields;
pub(crate) use lenient::Quoted;
pub(crate) use words::error_words;

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Paging<T> {
    /// What stands in the page; `None` for whatever is no object.
    pub(crate) items: Vec<Option<T>>,
    /// How many items the listing has, as far as the page says.
    pub(crate) total: Option<u64>,
    /// Whether the page names a next one.
    pub(crate) next: bool,
}

/// A show.
#[derive(Debug)]
pub(crate) struct Show<'a> {
    /// Never blank.
    pub(crate) id: Option<Quoted<'a>>,
    pub(crate) name: Option<Quoted<'a>>,
    pub(crate) description: Option<Quoted<'a>>,
    pub(crate) total_episodes: Option<i64>,
    /// Fields that are `None` because their value has the wrong type.
    pub(crate) malformed: u32,
}

impl<'de: 'a, 'a> Deserialize<'de> for Show<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str; 4] = &["id", "name", "description", "total_episodes"];
        let (_, values) = lenient::object::<_, IgnoredAny, _>(deserializer, None, KEYS)?;
        let [id, name, description, total_episodes] = values;
        let mut fields = Fields::default();
        Ok(Self {
            id: id.and_then(lenient::present),
            name: fields.text(name),
            description: fields.text(description),
            total_episodes: fields.whole(total_episodes),
            malformed: fields.malformed,
        })
    }
}

/// An episode.
#[derive(Debug)]
pub(crate) struct Episode<'a> {
    /// Never blank.
    pub(crate) id: Option<Quoted<'a>>,
    pub(crate) name: Option<Quoted<'a>>,
    pub(crate) description: Option<Quoted<'a>>,
    /// As Spotify writes it, which may be no date.
    pub(crate) release_date: Option<Quoted<'a>>,
    pub(crate) duration_ms: Option<i64>,
    /// `language`, which is deprecated, or the first of `languages`; never blank.
    pub(crate) language: Option<Quoted<'a>>,
    pub(crate) explicit: Option<bool>,
    pub(crate) r#type: Option<Quoted<'a>>,
    /// Fields that are `None` because their value has the wrong type.
    pub(crate) malformed: u32,
}

impl<'de: 'a, 'a> Deserialize<'de> for Episode<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str; 9] = &[
            "id",
            "name",
            "description",
            "release_date",
            "duration_ms",
            "language",
            "languages",
            "explicit",
            "type",
        ];
        let (_, values) = lenient::object::<_, IgnoredAny, _>(deserializer, None, KEYS)?;
        let [id, name, description, date, duration, language, languages, explicit, r#type] = values;
        let mut fields = Fields::default();
        Ok(Self {
            id: id.and_then(lenient::present),
            name: fields.text(name),
            description: fields.text(description),
            release_date: fields.text(date),
            duration_ms: fields.whole(duration),
            language: fields.first_text(language, languages),
            explicit: fields.flag(explicit),
            r#type: fields.text(r#type),
            malformed: fields.malformed,
        })
    }
}

/// Why an answer with a status of success cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is no JSON; serde's words.
    NotJson(String),
    /// A field without which it means nothing is missing, or is something else.
    Missing { what: &'static str, found: &'static str },
    /// It is an error in a page's place, whose words [`error_words`] reads; with the status that the
    /// error itself names.
    Said { status: Option<u16> },
}

/// Without the answer's own words, which may hold a token.
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the answer is not JSON: {why}"),
            Self::Missing { what, found } => write!(f, "{what} is {found}"),
            Self::Said { status: None } => f.write_str("an error with status 200"),
            Self::Said { status: Some(status) } => write!(f, "an error {status} with status 200"),
        }
    }
}

impl Unreadable {
    /// What is wrong, and Spotify's own words: the message of an error, else how the answer begins.
    pub(crate) fn detail(&self, body: &[u8], secrets: &[&str]) -> String {
        let words = match self {
            Self::NotJson(_) | Self::Said { .. } => error_words(body, secrets).0,
            Self::Missing { .. } => {
                text::excerpt(&text::without(&clean::body(body), secrets), http::EXCERPT)
            }
        };
        if words.is_empty() { self.to_string() } else { format!("{self}: {words}") }
    }
}

/// Reads the answer to a search.
pub(crate) fn shows<T>(
    body: &[u8],
    read: impl FnOnce(Paging<Show<'_>>) -> T,
) -> Result<T, Unreadable> {
    if let Some(Search { shows: Some(page), error }) = healthy(body)
        && let Page { items: Some(items), .. } = page
    {
        return paging(items, page.total, page.next, error.or(page.error)).map(read);
    }
    let body = clean::body(body);
    let Search::<&RawValue> { shows, error } = whole(&body)?;
    let shows = shows.map(RawValue::get);
    match shows.filter(|shows| shows.starts_with('{')) {
        Some(shows) => page(shows, error).map(read),
        None => Err(said_or_missing(error, "`shows`", shows)),
    }
}

/// Reads a page of a show's episodes.
pub(crate) fn episodes<T>(
    body: &[u8],
    read: impl FnOnce(Paging<Episode<'_>>) -> T,
) -> Result<T, Unreadable> {
    if let Some(Page { items: Some(items), total, next, error }) = healthy(body) {
        return paging(items, total, next, error).map(read);
    }
    page(whole::<&RawValue>(&clean::body(body))?.get(), None).map(read)
}

/// Reads an answer in one go. Its text is validated at once, which is several times as fast as
/// serde_json's way, string by string. Whatever is odd about the answer as a whole ends in `None`:
/// it is cleaned and read again, item by item.
fn healthy<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let text = simdutf8::basic::from_utf8(body).ok()?;
    serde_json::from_str(clean::without_mark(text)).ok()
}

/// Reads an answer that must be an object.
fn whole<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, Unreadable> {
    let not_json = |error: serde_json::Error| Unreadable::NotJson(error.to_string());
    if body.trim().is_empty() {
        return Err(Unreadable::NotJson("it is empty".to_owned()));
    }
    let json = serde_json::from_str::<&RawValue>(body).map_err(not_json)?.get();
    if !json.starts_with('{') {
        let found = lenient::kind(Some(json));
        return Err(Unreadable::Missing { what: "the answer", found });
    }
    serde_json::from_str(json).map_err(not_json)
}

/// Reads the object of a page item by item.
fn page<'a, T: Deserialize<'a>>(
    json: &'a str,
    error: Option<&str>,
) -> Result<Paging<T>, Unreadable> {
    let page: Page<'_, &RawValue> = whole(json)?;
    let error = error.or(page.error);
    let items = page.items.map(RawValue::get);
    let Some(elements) = items.and_then(lenient::elements) else {
        return Err(said_or_missing(error, "`items`", items));
    };
    let items = elements.into_iter().map(|item| serde_json::from_str(item).ok()).collect();
    paging(items, page.total, page.next, error)
}

fn paging<T>(
    items: Vec<Option<T>>,
    total: Option<&str>,
    next: Option<&str>,
    error: Option<&str>,
) -> Result<Paging<T>, Unreadable> {
    if items.is_empty()
        && let Some(error) = error.filter(|error| *error != "null")
    {
        return Err(said(error));
    }
    Ok(Paging {
        items,
        total: total.and_then(lenient::whole).and_then(|total| u64::try_from(total).ok()),
        next: next.and_then(lenient::present).is_some(),
    })
}

fn said_or_missing(error: Option<&str>, what: &'static str, found: Option<&str>) -> Unreadable {
    match error.filter(|error| *error != "null") {
        Some(error) => said(error),
        None => Unreadable::Missing { what, found: lenient::kind(found) },
    }
}

fn said(error: &str) -> Unreadable {
    let status = lenient::values(error, &["status"]).and_then(|[status]| lenient::whole(status?));
    Unreadable::Said { status: status.and_then(|status| u16::try_from(status).ok()) }
}

/// The object around the page of a search; `P` is how the page is read.
struct Search<'a, P> {
    shows: Option<P>,
    error: Option<&'a str>,
}

impl<'de: 'a, 'a, P: Deserialize<'de>> Deserialize<'de> for Search<'a, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (shows, [error]) = lenient::object(deserializer, Some("shows"), &["error"])?;
        Ok(Self { shows, error })
    }
}

/// A page's object; `I` is how its items are read.
struct Page<'a, I> {
    items: Option<I>,
    total: Option<&'a str>,
    next: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'de: 'a, 'a, I: Deserialize<'de>> Deserialize<'de> for Page<'a, I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str; 3] = &["total", "next", "error"];
        let (items, [total, next, error]) = lenient::object(deserializer, Some("items"), KEYS)?;
        Ok(Self { items, total, next, error })
    }
}

/// A token.
pub(super) struct TokenAnswer {
    pub(super) access_token: SecretString,
    /// Seconds.
    pub(super) expires_in: u64,
}

/// How long a token is valid for if Spotify does not say so: a token that ends earlier is refused, and
/// replaced then.
const TOKEN_SECONDS: u64 = 3600;

/// Reads the answer to a request for a token.
pub(super) fn token(body: &[u8]) -> Result<TokenAnswer, Unreadable> {
    let body = clean::body(body);
    let answer = whole::<&RawValue>(&body)?.get();
    let keys = &["access_token", "expires_in", "error"];
    let [token, expires_in, error] = lenient::values(answer, keys).unwrap_or_default();
    let Some(text) = token.and_then(lenient::text) else {
        return Err(said_or_missing(error, "`access_token`", token));
    };
    let text = text.read();
    // What else a header could not carry.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let found = if text.trim().is_empty() { "empty" } else { "not a token" };
        return Err(Unreadable::Missing { what: "`access_token`", found });
    }
    let seconds = expires_in.and_then(lenient::whole).filter(|seconds| *seconds > 0);
    Ok(TokenAnswer {
        access_token: SecretString::from(text.into_owned()),
        expires_in: seconds
            .map_or(TOKEN_SECONDS, |seconds| u64::try_from(seconds).unwrap_or(u64::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// The ids of a page of episodes, its total and whether there is a next one.
    type Summary = (Vec<Option<String>>, Option<u64>, bool);

    fn summary(page: Paging<Episode<'_>>) -> Summary {
        let id = |item: Option<Episode<'_>>| Some(item?.id?.read().into_owned());
        (page.items.into_iter().map(id).collect(), page.total, page.next)
    }

    fn read(body: &[u8]) -> Result<Summary, Unreadable> {
        episodes(body, summary)
    }

    fn total(value: &str) -> Option<u64> {
        let (_, total, _) = read(format!(r#"{{"items":[],{value}}}"#).as_bytes()).unwrap();
        total
    }

    #[test]
    fn a_total_is_read_from_whatever_came() {
        for value in ["70", "70.0", "7.0E1", "\"70\"", "\"7.0E1\""] {
            assert_eq!(total(&format!(r#""total":{value}"#)), Some(70), "{value}");
        }
        assert_eq!(total(r#""total":1,"total":2"#), Some(2));
        assert_eq!(total(r#""total":0"#), Some(0));
        for odd in ["null", "-1", "70.5", "\"NaN\"", "\"\"", "{}", "[70]", "true", "1e400"] {
            assert_eq!(total(&format!(r#""total":{odd}"#)), None, "{odd}");
        }
        assert_eq!(total(r#""other":1"#), None);
    }

    #[test]
    fn only_a_text_names_a_next_page() {
        for (value, expected) in [
            (r#""https://x""#, true),
            (r#""""#, false),
            ("null", false),
            ("true", false),
            ("{}", false),
            ("1", false),
        ] {
            let body = format!(r#"{{"items":[],"next":{value}}}"#);
            assert_eq!(read(body.as_bytes()).unwrap().2, expected, "{value}");
        }
        assert!(!read(br#"{"items":[]}"#).unwrap().2);
    }

    #[test]
    fn whatever_is_no_item_counts_as_null_and_the_others_stay() {
        let body = r#"{"items":[null,{"id":"a"},5,"b",1e999,["c"],{"id":7},{"id":""},{"id":"a\u0000d"},
            {"id":"e","id":"f"},{"\ud83c":1,"id":"g"},{"id":{"id":"h"}}]}"#;
        let (ids, ..) = read(body.as_bytes()).unwrap();
        let expected =
            [None, Some("a"), None, None, None, None, None, None, Some("ad"), Some("f"), Some("g")];
        let ids: Vec<Option<&str>> = ids.iter().map(Option::as_deref).collect();
        assert_eq!(ids[..11], expected);
        assert_eq!(ids[11..], [None]);
    }

    #[test]
    fn marks_and_broken_text_around_items_do_no_harm() {
        for body in [
            &b"\xef\xbb\xbf{\"items\":[{\"id\":\"a\"}]}"[..],
            b"{\"items\":[{\"id\":\"a\",\"html_description\":\"\xff\xfe\"}]}",
            b"{\"items\":[{\"id\":\"a\0\"}]}",
            b"{\"items\":null,\"items\":[{\"id\":\"a\"}]}",
            br#"{"\udfa7":1,"items":[{"id":"a","x":[[[{"a":1e999}]]]}]}"#,
            b" \n{\"items\":[{\"id\":\"a\"}]}\r\n",
        ] {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(read(body).as_ref().map(|(ids, ..)| ids.len()), Ok(1), "{shown}");
            assert_eq!(read(body).unwrap().0[0].as_deref(), Some("a"), "{shown}");
        }
    }

    #[test]
    fn an_unreadable_answer_names_the_field_and_quotes_spotify() {
        for (body, why) in [
            (r#"{"href":"x","total":3}"#, "`items` is missing: {\"href\":\"x\",\"total\":3}"),
            (r#"{"items":null,"total":3}"#, "`items` is null: {\"items\":null"),
            (r#"{"items":{"0":{}}}"#, "`items` is an object: {\"items\""),
            (r#"{"items":"none"}"#, "`items` is a text: "),
            (r#"{"items":[],"items":7}"#, "`items` is a number: "),
            (r#"[{"items":[]}]"#, "the answer is a list: [{"),
            ("null", "the answer is null: null"),
            ("", "the answer is not JSON: it is empty"),
            ("\u{feff} ", "the answer is not JSON: it is empty"),
            ("<html>busy</html>", "the answer is not JSON: expected value at line 1 column 1"),
            ("Service busy", "line 1 column 1: Service busy"),
            (r#"{"items":[{"id":"a"#, "the answer is not JSON: EOF"),
            (r#"{"error":{"status":500,"message":"Oops"}}"#, "an error 500 with status 200: Oops"),
            (r#"{"items":[],"error":{"message":"Oops"}}"#, "an error with status 200: Oops"),
            (r#"{"items":null,"error":"busy"}"#, "an error with status 200: busy"),
        ] {
            let unreadable = read(body.as_bytes()).expect_err(body);
            let detail = unreadable.detail(body.as_bytes(), &[]);
            assert!(detail.contains(why), "{body}: {detail}");
        }
        // An error beside items is no reason to throw them away.
        assert_eq!(read(br#"{"items":[null],"error":{"message":"x"}}"#).unwrap().0.len(), 1);
        assert_eq!(read(br#"{"items":[],"error":null}"#).unwrap().0.len(), 0);
    }

    #[test]
    fn a_search_needs_its_page() {
        let read = |body: &str| shows(body.as_bytes(), |page| (page.items.len(), page.total));
        assert_eq!(read(r#"{"shows":{"items":[{"id":"a"},null],"total":"2"}}"#), Ok((2, Some(2))));
        assert_eq!(read(r#"{"shows":null,"shows":{"items":[5]}}"#), Ok((1, None)));
        for (body, why) in [
            ("{}", "`shows` is missing: {}"),
            (r#"{"shows":null}"#, "`shows` is null: "),
            (r#"{"shows":[{"items":[]}]}"#, "`shows` is a list: "),
            (r#"{"shows":{}}"#, "`items` is missing: "),
            (r#"{"items":[]}"#, "`shows` is missing: "),
            (r#"{"error":{"status":429,"message":"Slow"}}"#, "an error 429 with status 200: Slow"),
            (r#"{"shows":null,"error":["a"]}"#, "an error with status 200: [\"a\"]"),
            (r#"{"shows":{"items":[]},"error":"x"}"#, "an error with status 200: x"),
        ] {
            let unreadable = read(body).expect_err(body);
            let detail = unreadable.detail(body.as_bytes(), &[]);
            assert!(detail.contains(why), "{body}: {detail}");
        }
    }

    #[test]
    fn a_quoted_answer_holds_no_secret() {
        let body = br#"{"request":"Bearer hush"}"#;
        let detail = read(body).unwrap_err().detail(body, &["hush"]);
        assert!(detail.contains("Bearer …") && !detail.contains("hush"), "{detail}");
    }

    #[test]
    fn a_token_lasts_an_hour_unless_its_answer_says_otherwise() {
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
    fn an_answer_without_a_token_says_what_is_wrong_and_repeats_nothing() {
        for (body, why) in [
            (r#"{"token":"hush"}"#, "`access_token` is missing"),
            (r#"{"access_token":null,"refresh":"hush"}"#, "`access_token` is null"),
            (r#"{"access_token":["hush"]}"#, "`access_token` is a list"),
            (r#"{"access_token":""}"#, "`access_token` is empty"),
            (r#"{"access_token":"\u0000 "}"#, "`access_token` is empty"),
            (r#"{"access_token":"hush\nhush"}"#, "`access_token` is not a token"),
            (r#"{"access_token":"húsh"}"#, "`access_token` is not a token"),
            (r#""hush""#, "the answer is a text"),
            ("hush", "the answer is not JSON"),
            (r#"{"access_token":"hush"#, "the answer is not JSON"),
            (r#"{"error":"hush"}"#, "an error with status 200"),
        ] {
            let unreadable = token(body.as_bytes()).err().expect(body);
            let told = format!("{unreadable} {unreadable:?}");
            assert!(told.contains(why) && !told.contains("ush"), "{body}: {told}");
        }
    }
}
