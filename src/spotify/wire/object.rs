//! Parts of JSON: the values of an object and the elements of an array, as JSON text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The value of one key as a type, and the values of other keys as JSON text.
pub(super) type Values<'a, T, const N: usize> = (Option<T>, [Option<&'a str>; N]);

/// Reads an object: the value of `typed_key`, if any, as a type, and the values of `keys` as JSON text.
/// If a key occurs twice, the last one counts, as in most JSON parsers.
pub(super) fn object<'de, D, T, const N: usize>(
    deserializer: D,
    typed_key: Option<&'static str>,
    keys: &'static [&'static str; N],
) -> Result<Values<'de, T, N>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(Object { typed_key, keys, of: PhantomData })
}

/// Returns the values of `keys` as JSON text.
pub(super) fn values<'a, const N: usize>(
    json: &'a str,
    keys: &'static [&'static str; N],
) -> serde_json::Result<[Option<&'a str>; N]> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let (_, values) = object::<_, IgnoredAny, N>(&mut deserializer, None, keys)?;
    Ok(values)
}

struct Object<T, const N: usize> {
    typed_key: Option<&'static str>,
    keys: &'static [&'static str; N],
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Object<T, N> {
    type Value = Values<'de, T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut typed = None;
        let mut values = [None; N];
        while let Some(Key(key)) = map.next_key()? {
            if self.typed_key == Some(&*key) {
                typed = Some(map.next_value()?);
            } else if let Some(at) = self.keys.iter().position(|known| *known == key) {
                values[at] = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok((typed, values))
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
