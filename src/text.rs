//! Text from outside: folded for comparison, shortened and redacted for logs and errors.

mod fold;
mod phrases;

pub(crate) use fold::{fold, fold_into};
pub use phrases::Phrases;

/// The longest excerpt of another service's error text in a log line or an error.
pub(crate) const MAX_EXCERPT_BYTES: usize = 300;

/// Returns the longest prefix of at most `bytes` bytes that ends at a character boundary.
pub(crate) fn truncated(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Returns `text` with each secret in it replaced by `…`.
pub(crate) fn redacted(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    text
}

/// Formats a time as RFC 3339, in UTC and without fractions of a second.
pub(crate) fn rfc3339(time: std::time::SystemTime) -> String {
    let time = time::OffsetDateTime::from(time);
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    seconds.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// Returns the start of `text` as one line of at most `bytes` bytes (and `…`), without control
/// characters and repeated spaces. Text from outside goes through this into log lines and errors.
pub(crate) fn excerpt(text: &str, bytes: usize) -> String {
    let mut line = String::new();
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if character == ' ' && (line.is_empty() || line.ends_with(' ')) {
            continue;
        }
        if line.len() + character.len_utf8() > bytes {
            line.push('…');
            break;
        }
        line.push(character);
    }
    line.truncate(line.trim_end().len());
    line
}

/// Returns `text` as one line. If it is longer than `bytes`, the middle is left out, because the
/// start names the cause and the end names the place.
pub(crate) fn middle_elided(text: &str, bytes: usize) -> String {
    let line = excerpt(text, usize::MAX);
    if line.len() <= bytes {
        return line;
    }
    let tail = line.ceil_char_boundary(line.len() - bytes / 4);
    format!("{} … {}", truncated(&line, bytes * 3 / 4).trim_end(), line[tail..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("a\r\n\tb\u{7} c", 100), "a b c");
        assert_eq!(excerpt("ação", 3), "aç…");
    }

    #[test]
    fn a_long_text_loses_its_middle() {
        assert_eq!(middle_elided("a\n b", 8), "a b");
        assert_eq!(middle_elided("1234567890ab", 8), "123456 … ab");
        assert_eq!(middle_elided("ééééééé", 8), "ééé … é");
    }
}
