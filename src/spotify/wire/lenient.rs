//! Reads a value from whatever came. Spotify has sent whole numbers as `2345.0`, objects in place of
//! numbers and nulls everywhere; one odd value must not cost a table. This file alone decides what
//! counts as a text, a number or a flag. A value is handed in as its JSON text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::clean;

/// A JSON text as it stands in the answer, quotes and escapes included: long texts go into their
/// row as they came, without being read and written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quoted<'a>(Cow<'a, str>);

impl<'a> Quoted<'a> {
    /// Returns `None` if `json` is no text.
    pub(crate) fn from_json(json: &'a str) -> Option<Self> {
        json.starts_with('"').then(|| Self(clean::escapes(json)))
    }

    /// The text as JSON.
    pub(crate) fn as_json(&self) -> &str {
        &self.0
    }

    /// What the text says.
    pub(crate) fn read(&self) -> Cow<'_, str> {
        let quoted = self.as_json();
        if quoted.contains('\\') {
            // The parser of the answer has checked every escape, and `clean` has removed half pairs.
            return Cow::Owned(serde_json::from_str(quoted).unwrap_or_default());
        }
        Cow::Borrowed(quoted.get(1..quoted.len() - 1).unwrap_or_default())
    }

    /// Returns `None` if the text shows nothing.
    fn unless_blank(self) -> Option<Self> {
        let blank = self.read().trim().is_empty();
        (!blank).then_some(self)
    }
}

/// Reads fields, and counts those whose value has the wrong type.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) malformed: u32,
}

impl Fields {
    /// Reads any text, also an empty one.
    pub(super) fn text<'a>(&mut self, json: Option<&'a str>) -> Option<Quoted<'a>> {
        self.field(json, text)
    }

    /// Reads a number if it is whole and fits BigQuery's INTEGER.
    pub(super) fn whole(&mut self, json: Option<&str>) -> Option<i64> {
        self.field(json, |json| i64::try_from(whole(json)?).ok())
    }

    pub(super) fn flag(&mut self, json: Option<&str>) -> Option<bool> {
        self.field(json, flag)
    }

    /// Reads the first of `one` and the elements of `list` that shows something. Counts a wrong type
    /// only if nothing is left.
    pub(super) fn first_text<'a>(
        &mut self,
        one: Option<&'a str>,
        list: Option<&'a str>,
    ) -> Option<Quoted<'a>> {
        let mut fields = Self::default();
        let found = fields.text(one).and_then(Quoted::unless_blank).or_else(|| {
            let list = fields.field(list, elements).unwrap_or_default();
            list.into_iter().find_map(present)
        });
        if found.is_none() {
            self.malformed += fields.malformed.min(1);
        }
        found
    }

    /// Absent and null are healthy: only a value that `read` makes nothing of counts.
    fn field<'a, T>(
        &mut self,
        json: Option<&'a str>,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Option<T> {
        let json = json.filter(|json| *json != "null")?;
        let value = read(json);
        self.malformed += u32::from(value.is_none());
        value
    }
}

/// A text that shows something, such as an id.
pub(super) fn present(json: &str) -> Option<Quoted<'_>> {
    text(json).and_then(Quoted::unless_blank)
}

pub(super) fn text(json: &str) -> Option<Quoted<'_>> {
    Quoted::from_json(json)
}

fn flag(json: &str) -> Option<bool> {
    match json {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The elements of a list.
pub(super) fn elements(json: &str) -> Option<Vec<&str>> {
    let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(list.into_iter().map(RawValue::get).collect())
}

/// A whole number, however it is written: `70`, `70.0`, `7.0E1`, and each of them as a text.
pub(super) fn whole(json: &str) -> Option<i128> {
    if let Some(quoted) = text(json) {
        return decimal(quoted.read().trim());
    }
    decimal(json)
}

/// A decimal number without a fraction, exactly; `None` also where it has more digits than any
/// integer of 64 bits.
fn decimal(number: &str) -> Option<i128> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent)),
        None => (number, "0"),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let size = exponent.strip_prefix('-').unwrap_or(exponent);
    if ![integer, fraction, size].into_iter().all(are_digits) {
        return None;
    }
    let digits = format!("{integer}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // An exponent that does not fit makes a number that is too large, or has a fraction.
    let exponent: i64 = exponent.parse().ok()?;
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let zeros = exponent.checked_add(trailing as i64)?.checked_sub(fraction.len() as i64)?;
    let zeros = usize::try_from(zeros).ok()?;
    if significant.len().checked_add(zeros)? > MAX_DIGITS {
        return None;
    }
    let value: i128 = format!("{significant}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if negative { -value } else { value })
}

/// The digits of `u64::MAX`.
const MAX_DIGITS: usize = 20;

/// What kind of value this is, for an error.
pub(super) fn kind(json: Option<&str>) -> &'static str {
    let Some(json) = json else { return "missing" };
    match json.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

/// The value of an object's main key, and those of the other keys as JSON text.
pub(super) type Values<'a, M, const N: usize> = (Option<M>, [Option<&'a str>; N]);

/// Reads an object: the values of `keys` as JSON text, and the value of `main`, where there is such a
/// key, as a type. If a key occurs twice, the last one counts, as in most readers of JSON.
pub(super) fn object<'de, D, M, const N: usize>(
    deserializer: D,
    main: Option<&'static str>,
    keys: &'static [&'static str; N],
) -> Result<Values<'de, M, N>, D::Error>
where
    D: Deserializer<'de>,
    M: Deserialize<'de>,
{
    deserializer.deserialize_map(Object { main, keys, of: PhantomData })
}

/// The values of `keys` as JSON text, or `None` if `json` is no object.
pub(super) fn values<'a, const N: usize>(
    json: &'a str,
    keys: &'static [&'static str; N],
) -> Option<[Option<&'a str>; N]> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let (_, values) = object::<_, IgnoredAny, N>(&mut deserializer, None, keys).ok()?;
    Some(values)
}

struct Object<M, const N: usize> {
    main: Option<&'static str>,
    keys: &'static [&'static str; N],
    of: PhantomData<M>,
}

impl<'de, M: Deserialize<'de>, const N: usize> Visitor<'de> for Object<M, N> {
    type Value = Values<'de, M, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut main = None;
        let mut values = [None; N];
        while let Some(Key(key)) = map.next_key()? {
            if self.main == Some(&*key) {
                main = Some(map.next_value()?);
            } else if let Some(at) = self.keys.iter().position(|known| *known == key) {
                values[at] = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok((main, values))
    }
}

/// A key, which borrows unless it holds escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_every_form() {
        for (json, expected) in [
            ("70", Some(70)),
            ("70.0", Some(70)),
            ("7.0E1", Some(70)),
            ("4.9022656E7", Some(49_022_656)),
            ("0.7e+2", Some(70)),
            ("700e-1", Some(70)),
            ("\"70\"", Some(70)),
            ("\" 7.0e1 \"", Some(70)),
            ("-70.0", Some(-70)),
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("0e999999999999999999999", Some(0)),
            ("9223372036854775807", Some(i64::MAX.into())),
            ("9223372036854775807.0", Some(i64::MAX.into())),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("99999999999999999999", Some(99_999_999_999_999_999_999)),
            ("100000000000000000000", None),
            ("1e20", None),
            ("1e999999999999999999999", None),
            ("1e-999999999999999999999", None),
            ("70.5", None),
            ("7e-1", None),
            ("\"\"", None),
            ("\"seventy\"", None),
            ("\"7_0\"", None),
            ("\"0x46\"", None),
            ("\"-\"", None),
            ("\".5\"", None),
            ("\"1e\"", None),
            ("\"1e+-1\"", None),
            ("\"NaN\"", None),
            ("\"７０\"", None),
            ("true", None),
            ("[]", None),
            ("{\"ms\":70}", None),
        ] {
            assert_eq!(whole(json), expected, "{json}");
        }
    }

    #[test]
    fn only_a_wrong_type_is_malformed() {
        let mut fields = Fields::default();
        assert_eq!(fields.whole(Some("2345.0")), Some(2345));
        assert_eq!(fields.whole(None), None);
        assert_eq!(fields.whole(Some("null")), None);
        assert_eq!(fields.flag(Some("false")), Some(false));
        assert_eq!(fields.text(Some("\"\"")).unwrap().read(), "");
        assert_eq!(fields.malformed, 0);
        for number in ["{}", "2.5", "9223372036854775808", "\"\"", "true"] {
            assert_eq!(fields.whole(Some(number)), None, "{number}");
        }
        for flag in ["0", "1", "\"true\"", "[]"] {
            assert_eq!(fields.flag(Some(flag)), None, "{flag}");
        }
        for text in ["1", "{}", "[\"a\"]", "true"] {
            assert_eq!(fields.text(Some(text)), None, "{text}");
        }
        assert_eq!(fields.malformed, 13);
    }

    #[test]
    fn the_first_usable_text_counts() {
        for (one, list, expected, malformed) in [
            (Some("\"pt\""), Some("[\"en\"]"), Some("pt"), 0),
            (None, Some("[\"pt\",\"en\"]"), Some("pt"), 0),
            (Some("null"), Some("[null,\"\",5,\"pt\"]"), Some("pt"), 0),
            (Some("\"\""), Some("[\"pt\"]"), Some("pt"), 0),
            (Some("5"), Some("[\"pt\"]"), Some("pt"), 0),
            (Some("\"\""), Some("[\"\"]"), None, 0),
            (Some("\" \""), None, None, 0),
            (None, Some("[null]"), None, 0),
            (Some("5"), Some("[]"), None, 1),
            (None, Some("\"pt\""), None, 1),
            (Some("{}"), Some("{}"), None, 1),
        ] {
            let mut fields = Fields::default();
            let found = fields.first_text(one, list);
            assert_eq!(found.as_ref().map(Quoted::read).as_deref(), expected, "{one:?} {list:?}");
            assert_eq!(fields.malformed, malformed, "{one:?} {list:?}");
        }
    }

    #[test]
    fn texts_stay_as_they_came_but_for_what_is_no_character() {
        let plain = text(r#""Podcast é 🎧""#).unwrap();
        assert!(matches!(plain.read(), Cow::Borrowed("Podcast é 🎧")));
        let escaped = text(r#""a\nb \ud83c\udfa7""#).unwrap();
        assert_eq!(escaped.as_json(), r#""a\nb \ud83c\udfa7""#);
        assert_eq!(escaped.read(), "a\nb 🎧");
        let cut = text(r#""cut \ud83c""#).unwrap();
        assert_eq!(cut.as_json(), r#""cut \ufffd""#);
        assert_eq!(cut.read(), "cut \u{fffd}");
        assert_eq!(text(r#""a\u0000b""#).unwrap().read(), "ab");
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let values = values(r#"{"a":1,"b":{},"\u0061":2,"c":[]}"#, &["a", "c", "d"]).unwrap();
        assert_eq!(values, [Some("2"), Some("[]"), None]);
        assert!(super::values("[1,2]", &["a"]).is_none());
    }
}
