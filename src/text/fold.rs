//! Folding: the form in which texts are compared. Two texts fold alike if they differ only in case,
//! accents, white space (no-break spaces included), invisible characters, or composed versus
//! decomposed characters.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use unicode_normalization::char::decompose_compatible;

/// Returns the folded form of `text`: compatibility-decomposed, in lower case, without combining
/// diacritical marks and invisible characters. Each run of white space becomes one space, and none
/// remains at the ends. Marks of other scripts stay: "が" and "か" are different letters.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::new();
    fold_into(text, &mut folded);
    folded
}

/// Replaces the content of `folded` with the folded form of `text`. The caller can reuse the buffer.
pub(crate) fn fold_into(text: &str, folded: &mut String) {
    folded.clear();
    folded.reserve(text.len());
    for character in text.chars() {
        // Most characters of most texts are ASCII, and need no tables.
        if character.is_ascii() {
            push(folded, character.to_ascii_lowercase());
        } else {
            fold_character(character, |part| push(folded, part));
        }
    }
    if folded.ends_with(' ') {
        folded.pop();
    }
}

fn push(folded: &mut String, character: char) {
    if !character.is_whitespace() {
        folded.push(character);
    } else if !folded.is_empty() && !folded.ends_with(' ') {
        folded.push(' ');
    }
}

/// Calls `take` with each character that `character` folds to, white space unchanged.
fn fold_character(character: char, mut take: impl FnMut(char)) {
    decompose_compatible(character, |part| {
        if !is_accent(part) && !is_invisible(part) {
            // Lower, upper, lower: this folds ß and its capital to ss, and the final sigma to sigma.
            let upper = part.to_lowercase().flat_map(char::to_uppercase);
            upper.flat_map(char::to_lowercase).for_each(&mut take);
        }
    });
}

/// Returns whether the character is in a block of combining diacritical marks: the main block,
/// Extended, Supplement or Half Marks. U+0345 is not an accent, because its upper case is a letter.
fn is_accent(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{344}'
            | '\u{346}'..='\u{36f}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Returns whether Unicode calls the character default-ignorable: joiners, zero-width spaces,
/// variation selectors, tags, and every control of text direction.
fn is_invisible(character: char) -> bool {
    !character.is_ascii()
        && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folds a text without the fast path for ASCII.
    fn fold_slowly(text: &str) -> String {
        let mut folded = String::new();
        text.chars().for_each(|character| fold_character(character, |part| folded.push(part)));
        folded.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn case_accents_and_white_space_are_ignored() {
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
    fn letters_that_only_look_accented_stay_different() {
        assert_ne!(fold("がき"), fold("かき"));
        assert_eq!(fold("c++"), "c++");
        assert_eq!(fold("\u{301} \u{200b}"), "");
    }

    #[test]
    fn case_is_ignored_even_if_the_length_changes() {
        assert_eq!(fold("Straße"), "strasse");
        assert_eq!(fold("STRAẞE"), "strasse");
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("İstanbul"), "istanbul");
        assert_eq!(fold("Ae\u{1dc4}\u{1ab0}\u{fe20}x"), "aex");
        assert_eq!(fold("ﬁm ǆ ŉ"), fold("FIM Ǆ ʼN"));
    }

    #[test]
    fn invisible_characters_are_ignored() {
        for invisible in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e007f}',
            '\u{e0fff}',
        ] {
            let text =
                format!("{invisible}Grupo{invisible} {invisible}Bo{invisible}ticário{invisible}");
            assert_eq!(fold(&text), "grupo boticario", "{invisible:?}");
        }
        let controls = CodePointSetData::new::<icu_properties::props::BidiControl>();
        for control in controls.iter_ranges().flatten().filter_map(char::from_u32) {
            assert_eq!(fold(&format!("a{control}b")), "ab", "{control:?}");
        }
    }

    #[test]
    fn every_character_folds_to_one_form() {
        // Other planes have no characters and would only slow the test down.
        let characters = ('\0'..'\u{20000}').chain('\u{e0000}'..'\u{e1000}');
        for character in characters {
            let folded = fold(&character.to_string());
            assert_eq!(fold(&folded), folded, "{character:?} twice");
            for other in
                [character.to_uppercase().to_string(), character.to_lowercase().to_string()]
            {
                assert_eq!(fold(&other), folded, "{character:?} as {other:?}");
            }
        }
    }

    #[test]
    fn every_character_folds_as_without_the_fast_path_in_any_position() {
        for character in ('\0'..'\u{3100}').chain('\u{fb00}'..='\u{ffff}') {
            let text = format!("{character} Abc{character}defghij {character}");
            assert_eq!(fold(&text), fold_slowly(&text), "{character:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text: String) {
            let once = fold(&text);
            assert_eq!(fold(&once), once);
        }
    }
}
