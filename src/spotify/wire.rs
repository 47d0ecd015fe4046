//! Parses the parts of Spotify's responses that the service uses. A field may be missing, unknown or of another
//! type than documented; only a response without a list of items is unreadable.

mod clean;
mod fields;
mod item;
mod message;
mod number;
mod object;
mod token;
mod unreadable;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub(crate) use item::{Episode, Show};
pub(crate) use message::error_message;
pub(super) use token::{TokenResponse, token};
pub(crate) use unreadable::Unreadable;
use unreadable::{error_in_place, error_or_missing, members};

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Paging<T> {
    /// The items in their order; `None` for a value that is not an object.
    pub(crate) items: Vec<Option<T>>,
    /// The number of items in the listing, if the page has a valid one.
    pub(crate) total: Option<u64>,
    /// Whether the page links to a next page.
    pub(crate) has_next: bool,
}

/// Parses the response to a search.
pub(crate) fn shows(body: &[u8]) -> Result<Paging<Show>, Unreadable> {
    let body = clean::body(body);
    let [shows, error] = members(&body, &["shows", "error"])?;
    match shows.filter(|shows| shows.starts_with('{')) {
        Some(shows) => page(shows, error),
        None => Err(error_or_missing(error, "`shows`", shows)),
    }
}

/// Parses a page of a show's episodes.
pub(crate) fn episodes(body: &[u8]) -> Result<Paging<Episode>, Unreadable> {
    page(&clean::body(body), None)
}

/// Parses the response to a request for one show. Returns its name if it has one. Any object that is
/// not an error is a show.
pub(crate) fn show(body: &[u8]) -> Result<Option<String>, Unreadable> {
    let body = clean::body(body);
    let [name, error] = members(&body, &["name", "error"])?;
    match error.filter(|error| *error != "null") {
        Some(error) => Err(error_in_place(error)),
        None => Ok(name.and_then(fields::text)),
    }
}

/// Parses the object of a page. `error` is an error next to it.
fn page<T: DeserializeOwned>(json: &str, error: Option<&str>) -> Result<Paging<T>, Unreadable> {
    // A healthy page is read in one pass, which takes less than half the time.
    let (items, [total, next, own_error]) = match serde_json::from_str(json) {
        Ok(Page { items, total, next, error }) => {
            (items, [total, next, error].map(|value| value.map(RawValue::get)))
        }
        Err(_) => item_by_item(json, error)?,
    };
    if items.is_empty()
        && let Some(error) = error.or(own_error).filter(|error| *error != "null")
    {
        return Err(error_in_place(error));
    }
    Ok(Paging {
        items,
        total: total.and_then(number::whole).and_then(|total| u64::try_from(total).ok()),
        has_next: next.and_then(fields::present).is_some(),
    })
}

/// A healthy page. serde rejects an unreadable item and a key that occurs twice.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<'a, T> {
    items: Vec<Option<T>>,
    #[serde(borrow)]
    total: Option<&'a RawValue>,
    #[serde(borrow)]
    next: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The items of a page, and its `total`, `next` and `error` as JSON text.
type PageParts<'a, T> = (Vec<Option<T>>, [Option<&'a str>; 3]);

/// Parses each item on its own, so that an unreadable one does not affect the others.
fn item_by_item<'a, T: DeserializeOwned>(
    json: &'a str,
    error: Option<&str>,
) -> Result<PageParts<'a, T>, Unreadable> {
    let [items, total, next, own_error] = members(json, &["items", "total", "next", "error"])?;
    let Some(elements) = items.and_then(object::elements) else {
        return Err(error_or_missing(error.or(own_error), "`items`", items));
    };
    let items = elements.into_iter().map(|item| serde_json::from_str(item).ok()).collect();
    Ok((items, [total, next, own_error]))
}

#[cfg(test)]
mod tests;
