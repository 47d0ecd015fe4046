//! Parts of JSON: the values of an object and the elements of an array, as JSON text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Reads the values of an object's `keys` as JSON text. If a key occurs twice, the last one counts, as in
/// most JSON parsers.
pub(super) fn object<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
    keys: &'static [&'static str; N],
) -> Result<[Option<&'de str>; N], D::Error> {
    deserializer.deserialize_map(Object(keys))
}

/// Returns the values of `keys` as JSON text.
pub(super) fn values<'a, const N: usize>(
    json: &'a str,
    keys: &'static [&'static str; N],
) -> serde_json::Result<[Option<&'a str>; N]> {
    object(&mut serde_json::Deserializer::from_str(json), keys)
}

struct Object<const N: usize>(&'static [&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Object<N> {
    type Value = [Option<&'de str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        while let Some(Key(key)) = map.next_key()? {
            if let Some(at) = self.0.iter().position(|known| *known == key) {
                values[at] = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(values)
    }
}

/// A key, which is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the elements of an array as JSON text.
pub(super) fn elements(json: &str) -> Option<Vec<&str>> {
    let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(list.into_iter().map(RawValue::get).collect())
}

/// Returns the type of a value, for an error.
pub(super) fn kind(json: Option<&str>) -> &'static str {
    let Some(json) = json else { return "missing" };
    match json.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let values = values(r#"{"a":1,"b":{},"\u0061":2,"c":[]}"#, &["a", "c", "d"]).unwrap();
        assert_eq!(values, [Some("2"), Some("[]"), None]);
        assert!(super::values("[1,2]", &["a"]).is_err());
    }
}
