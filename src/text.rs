//! Folding: the form in which texts are compared. Two texts that differ only in case, accents,
//! white space (no-break spaces included) or composed versus decomposed characters fold alike.

use unicode_normalization::char::decompose_compatible;

/// The folded form of `text`: compatibility-decomposed, without the marks of the Combining
/// Diacritical Marks block, in one case, with every run of white space as one space and none at
/// the ends. Marks of other scripts stay: "が" and "か" are different letters, not accents.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    folded
}

/// [`fold`] into a buffer that the caller reuses; what it held is gone.
pub(crate) fn fold_into(text: &str, folded: &mut String) {
    folded.clear();
    for character in text.chars() {
        if character.is_ascii() {
            push(character.to_ascii_lowercase(), folded);
        } else {
            decompose_compatible(character, |part| {
                // Upper, then lower: this folds ß to ss and the final sigma to sigma as well.
                for upper in part.to_uppercase() {
                    for lower in upper.to_lowercase() {
                        push(lower, folded);
                    }
                }
            });
        }
    }
    if folded.ends_with(' ') {
        folded.pop();
    }
}

fn push(character: char, folded: &mut String) {
    match character {
        ' ' | '\t'..='\r' => push_space(folded),
        '!'..='~' => folded.push(character),
        '\u{300}'..='\u{36f}' => {}
        // Soft hyphen, zero-width space, word joiner, byte order mark: seen by nobody.
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => {}
        _ if character.is_whitespace() => push_space(folded),
        _ => folded.push(character),
    }
}

fn push_space(folded: &mut String) {
    if !folded.is_empty() && !folded.ends_with(' ') {
        folded.push(' ');
    }
}

/// `text` cut to at most `bytes` bytes at a character's edge.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// `text` without the secrets that it repeats.
pub(crate) fn without(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    text
}

/// `text` as one printable line of at most `bytes` bytes: what an answer of another service may
/// put into a log line or an error.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_white_space_fold_away() {
        for text in [
            "Grupo Boticário",
            "GRUPO BOTICÁRIO",
            "grupo\u{a0}boticário",
            "  Grupo \u{202f}\n Boticario ",
            "Grupo Botica\u{301}rio",
            "Grupo Boti\u{ad}cário\u{feff}",
            "Ｇｒｕｐｏ　Ｂｏｔｉｃáｒｉｏ",
        ] {
            assert_eq!(fold(text), "grupo boticario", "{text:?}");
        }
    }

    #[test]
    fn letters_that_only_look_like_accented_ones_stay_apart() {
        assert_ne!(fold("がき"), fold("かき"));
        assert_eq!(fold("Straße"), "strasse");
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("c++"), "c++");
        assert_eq!(fold("\u{301} \u{200b}"), "");
    }

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt("a\r\n\tb\u{7} c", 100), "a b c");
        assert_eq!(excerpt("ação", 3), "aç…");
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text: String) {
            let once = fold(&text);
            assert_eq!(fold(&once), once);
        }
    }
}
