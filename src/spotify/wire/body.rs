//! The object in the body of a response.

use serde_json::value::RawValue;

use super::object;
use super::unreadable::Unreadable;

/// Returns the values of `keys` in a body that must be an object.
pub(super) fn members<'a, const N: usize>(
    body: &'a str,
    keys: &'static [&'static str; N],
) -> Result<[Option<&'a str>; N], Unreadable> {
    let not_json = |error: serde_json::Error| Unreadable::NotJson(error.to_string());
    if body.trim().is_empty() {
        return Err(Unreadable::NotJson("it is empty".to_owned()));
    }
    let json = serde_json::from_str::<&RawValue>(body).map_err(not_json)?.get();
    if !json.starts_with('{') {
        let found = object::kind(Some(json));
        return Err(Unreadable::Missing { what: "the response", found });
    }
    object::values(json, keys).map_err(not_json)
}
