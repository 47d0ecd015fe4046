//! Makes a body valid JSON text. Spotify's texts have come with half a surrogate pair, and other
//! services' with invalid UTF-8, U+0000 or a byte order mark. JSON parsers reject all of these, and
//! BigQuery rejects the rows.

use std::borrow::Cow;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The length of `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// Returns the body as text: without a byte order mark and U+0000, and with U+FFFD for anything that is
/// not a character. Borrows if nothing has to change.
pub(super) fn body(bytes: &[u8]) -> Cow<'_, str> {
    // simdutf8 is much faster than the standard library for text with accents.
    let text = match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    };
    match text {
        Cow::Borrowed(text) if !text.contains('\0') => {
            escapes(text.trim_start_matches(BYTE_ORDER_MARK))
        }
        text => Cow::Owned(
            escapes(text.replace('\0', "").trim_start_matches(BYTE_ORDER_MARK)).into_owned(),
        ),
    }
}

/// Replaces escapes that are not a character: removes `\u0000`, and turns half a surrogate pair into
/// U+FFFD. Borrows if nothing has to change.
fn escapes(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return Cow::Borrowed(json);
    }
    let mut cleaned = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json[at..].find('\\') {
        let start = at + found;
        let Some(unit) = unit_at(json, start) else {
            // The second of two backslashes does not begin an escape.
            at = start + 1 + usize::from(json[start + 1..].starts_with('\\'));
            continue;
        };
        at = start + ESCAPE_BYTES;
        let replacement = match unit {
            0 => "",
            0xd800..0xdc00 if matches!(unit_at(json, at), Some(0xdc00..0xe000)) => {
                at += ESCAPE_BYTES;
                continue;
            }
            0xd800..0xe000 => "\\ufffd",
            _ => continue,
        };
        cleaned.push_str(&json[copied..start]);
        cleaned.push_str(replacement);
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    cleaned.push_str(&json[copied..]);
    Cow::Owned(cleaned)
}

/// Returns the UTF-16 code unit that is escaped at `start`.
fn unit_at(json: &str, start: usize) -> Option<u16> {
    let digits = json.get(start..start + ESCAPE_BYTES)?.strip_prefix("\\u")?;
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { u16::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_are_not_a_character_are_replaced_or_removed() {
        for (json, expected) in [
            (r#""cut \ud83c""#, r#""cut \ufffd""#),
            (r#""\uDFA7 x""#, r#""\ufffd x""#),
            (r#""\ud83c\ud83c\udfa7""#, r#""\ufffd\ud83c\udfa7""#),
            (r#""\ud83cA""#, r#""\ufffdA""#),
            (r#""a\u0000b\u0000""#, r#""ab""#),
            (r#""\ud83c\u0000\udfa7""#, r#""\ufffd\ufffd""#),
            (r#""\\\ud83c""#, r#""\\\ufffd""#),
        ] {
            assert_eq!(escapes(json), expected, "{json}");
        }
        for healthy in [
            r#""""#,
            r#""\ud83c\udfa7 \uD83C\uDFA7 \u00e9""#,
            r#""\\ud83c \\u0000""#,
            r#""\"\/\b\n""#,
            r#""\u00zz\u""#,
            "\"\\é\\u12é4\"",
            "\\",
            "\\u",
        ] {
            assert!(matches!(escapes(healthy), Cow::Borrowed(_)), "{healthy}");
        }
    }

    #[test]
    fn a_body_becomes_valid_text() {
        assert_eq!(body(b"\xef\xbb\xbf{\"a\":\"\xff\0\"}"), "{\"a\":\"\u{fffd}\"}");
        assert_eq!(body(b""), "");
        assert!(matches!(body(b"\xef\xbb\xbf{}"), Cow::Borrowed("{}")));
    }

    proptest::proptest! {
        #[test]
        fn any_escapes_can_be_parsed(units: Vec<u16>, text in "[a\\\\u0d8c\"]{0,12}") {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{escaped}\"");
            let expected = String::from_utf16_lossy(&units);
            let read: String = serde_json::from_str(&escapes(&json)).unwrap();
            // If U+0000 separates the halves of a pair, each becomes U+FFFD.
            if !units.contains(&0) {
                proptest::prop_assert_eq!(read, expected);
            } else {
                proptest::prop_assert!(!read.contains('\0'));
            }
            // Does not panic if the text is not JSON.
            let _ = escapes(&text);
        }
    }
}
