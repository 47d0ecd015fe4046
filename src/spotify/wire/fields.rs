//! The fields of an item, read from any value. Spotify has sent whole numbers as `2345.0`, objects in
//! place of numbers, and nulls everywhere; an odd value must not fail the table. A value is given as its
//! JSON text, in a body that [`super::clean`] has cleaned.

use super::number::whole;
use super::object::elements;

/// Reads fields, and counts those whose value has the wrong type.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) malformed: u32,
}

impl Fields {
    /// Returns a string, which may be empty.
    pub(super) fn text(&mut self, json: Option<&str>) -> Option<String> {
        self.field(json, text)
    }

    /// Returns a number if it is whole and fits BigQuery's INTEGER.
    pub(super) fn whole(&mut self, json: Option<&str>) -> Option<i64> {
        self.field(json, |json| i64::try_from(whole(json)?).ok())
    }

    pub(super) fn flag(&mut self, json: Option<&str>) -> Option<bool> {
        self.field(json, |json| json.parse().ok())
    }

    /// Returns the first string that is not blank, of `one` and the elements of `list`. Counts a wrong
    /// type only if there is none.
    pub(super) fn first_text(&mut self, one: Option<&str>, list: Option<&str>) -> Option<String> {
        let mut fields = Self::default();
        let found = fields.text(one).filter(|text| !is_blank(text)).or_else(|| {
            let list = fields.field(list, elements).unwrap_or_default();
            list.into_iter().find_map(present)
        });
        if found.is_none() {
            self.malformed += fields.malformed.min(1);
        }
        found
    }

    /// A missing value and null are healthy; only a value that `parse` rejects is counted.
    fn field<'a, T>(
        &mut self,
        json: Option<&'a str>,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Option<T> {
        let json = json.filter(|json| *json != "null")?;
        let value = parse(json);
        self.malformed += u32::from(value.is_none());
        value
    }
}

/// Returns a string that is not blank, such as an ID.
pub(super) fn present(json: &str) -> Option<String> {
    text(json).filter(|text| !is_blank(text))
}

pub(super) fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrong_type_is_malformed() {
        let mut fields = Fields::default();
        assert_eq!(fields.whole(Some("2345.0")), Some(2345));
        assert_eq!(fields.whole(None), None);
        assert_eq!(fields.whole(Some("null")), None);
        assert_eq!(fields.flag(Some("false")), Some(false));
        assert_eq!(fields.text(Some("\"\"")).as_deref(), Some(""));
        assert_eq!(fields.text(Some(r#""a\nb \ud83c\udfa7""#)).as_deref(), Some("a\nb 🎧"));
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
            assert_eq!(found.as_deref(), expected, "{one:?} {list:?}");
            assert_eq!(fields.malformed, malformed, "{one:?} {list:?}");
        }
    }
}
