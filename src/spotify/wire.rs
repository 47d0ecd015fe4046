//! Spotify's answers, as far as they are used. Every field may be missing, new or of another type than
//! documented; only an answer without a list of items is unreadable. Texts borrow from the body.

mod clean;
mod lenient;
mod token;
mod unreadable;
mod words;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use lenient::Fields;
pub(crate) use lenient::Quoted;
pub(super) use token::{TokenAnswer, token};
pub(crate) use unreadable::Unreadable;
use unreadable::{said, said_or_missing};
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

/// Reads the answer to a request for one show: its name, if it has one that is a text. Whatever is an
/// object and no error is a show.
pub(crate) fn show(body: &[u8]) -> Result<Option<String>, Unreadable> {
    let body = clean::body(body);
    let json = whole::<&RawValue>(&body)?.get();
    let [name, error] = lenient::values(json, &["name", "error"]).unwrap_or_default();
    match error.filter(|error| *error != "null") {
        Some(error) => Err(said(error)),
        None => Ok(name.and_then(lenient::text).map(|name| name.read().into_owned())),
    }
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

#[cfg(test)]
mod tests;
