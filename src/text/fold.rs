//! Folding: the form in which texts are compared. Two texts that differ only in case, accents,
//! white space (no-break spaces included), invisible characters or composed versus decomposed
//! characters fold alike.
//!
//! Every description of a show is folded to find its mentions, and that was half of such a message's
//! processor time; hence eight bytes at a time where they are plain, and a table for Latin letters.

use std::sync::LazyLock;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use unicode_normalization::char::decompose_compatible;

/// The folded form of `text`: compatibility-decomposed, without combining diacritical marks and
/// invisible characters, in one case, with every run of white space as one space and none at the
/// ends. Marks of other scripts stay: "が" and "か" are different letters, not accents.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::new();
    fold_into(text, &mut folded);
    folded
}

/// [`fold`] into a buffer that the caller reuses; what it held is gone.
pub(crate) fn fold_into(text: &str, folded: &mut String) {
    let mut out = Folding { bytes: std::mem::take(folded).into_bytes(), after_space: true };
    out.bytes.clear();
    out.bytes.reserve(text.len() + 8);
    let latin = LATIN.as_slice();
    let mut rest = text.as_bytes();
    while let Some(&first) = rest.first() {
        if let Some(chunk) = rest.first_chunk::<8>() {
            let plain = plain(*chunk, out.after_space);
            if plain > 0 {
                out.bytes.extend_from_slice(chunk);
                out.bytes.truncate(out.bytes.len() - 8 + plain);
                out.after_space = chunk[plain - 1] == b' ';
                rest = &rest[plain..];
                continue;
            }
        }
        let length = match (first, rest.get(1)) {
            (b' ' | b'\t'..=b'\r', _) => {
                out.push_space();
                1
            }
            (0..0x80, _) => {
                out.push(&[first]);
                1
            }
            // Two bytes of UTF-8, U+0080 to U+023F.
            (0xc2..=0xc8, Some(second)) => {
                let code = usize::from(first & 0x1f) << 6 | usize::from(second & 0x3f);
                match latin[code - 0x80].text() {
                    b" " => out.push_space(),
                    text => out.push(text),
                }
                2
            }
            _ => {
                let at = text.len() - rest.len();
                let character = text[at..].chars().next().unwrap_or_default();
                each_part(character, |part| match part {
                    ' ' => out.push_space(),
                    part => out.push(part.encode_utf8(&mut [0; 4]).as_bytes()),
                });
                character.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    if out.bytes.last() == Some(&b' ') {
        out.bytes.pop();
    }
    // What came through the other ways is in lower case already.
    out.bytes.make_ascii_lowercase();
    // Whole characters went in, so whole characters come out.
    *folded = String::from_utf8(out.bytes).unwrap_or_default();
}

struct Folding {
    bytes: Vec<u8>,
    after_space: bool,
}

impl Folding {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.after_space &= text.is_empty();
    }

    fn push_space(&mut self) {
        if !self.after_space {
            self.bytes.push(b' ');
        }
        self.after_space = true;
    }
}

/// How many bytes at the start fold to themselves, but for their case: ASCII that is no white space,
/// or one space where none stands before it. A byte too few is no harm.
fn plain(chunk: [u8; 8], after_space: bool) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(chunk);
    // The high bit of each byte that is less; exact for the first, and only the first one counts.
    let less_than = |least: u64| word.wrapping_sub(ONES * least) & !word & HIGH;
    let blank = less_than(0x21);
    let before = (blank << 8) | (u64::from(after_space) << 7);
    let odd = (word & HIGH) | less_than(0x20) | (blank & before);
    (odd.trailing_zeros() / 8) as usize
}

/// What each character from U+0080 to U+023F folds to: a space, or no space among it.
static LATIN: LazyLock<Vec<Part>> = LazyLock::new(|| {
    ('\u{80}'..'\u{240}')
        .map(|character| {
            let mut part = Part::default();
            each_part(character, |folded| {
                let end = usize::from(part.length);
                part.length += folded.encode_utf8(&mut part.bytes[end..]).len() as u8;
            });
            part
        })
        .collect()
});

#[derive(Clone, Copy, Default)]
struct Part {
    bytes: [u8; 7],
    length: u8,
}

impl Part {
    fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The characters that one folds to, white space as a space.
fn each_part(character: char, mut take: impl FnMut(char)) {
    decompose_compatible(character, |part| {
        // Lower, upper, lower: this folds ß and its capital to ss, and the final sigma to sigma.
        let upper = part.to_lowercase().flat_map(char::to_uppercase);
        for lower in upper.flat_map(char::to_lowercase) {
            if lower.is_whitespace() {
                take(' ');
            } else if !is_accent(lower) && !is_invisible(lower) {
                take(lower);
            }
        }
    });
}

/// The blocks of combining diacritical marks: the first one, Extended, Supplement, and Half Marks.
fn is_accent(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// What Unicode says shows nothing by itself: joiners, zero-width spaces, variation selectors, tags.
/// Every control of text direction is among them.
fn is_invisible(character: char) -> bool {
    !character.is_ascii()
        && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Character by character, as it reads in the description of [`fold`].
    fn slowly(text: &str) -> String {
        let mut folded = String::new();
        text.chars().for_each(|character| each_part(character, |part| folded.push(part)));
        folded.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

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
        assert_eq!(fold("c++"), "c++");
        assert_eq!(fold("\u{301} \u{200b}"), "");
    }

    #[test]
    fn case_folds_away_in_full() {
        assert_eq!(fold("Straße"), "strasse");
        assert_eq!(fold("STRAẞE"), "strasse");
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("İstanbul"), "istanbul");
        assert_eq!(fold("Ae\u{1dc4}\u{1ab0}\u{fe20}x"), "aex");
        assert_eq!(fold("ﬁm ǆ ŉ"), fold("FIM Ǆ ʼN"));
    }

    /// Each of these stood between words or letters in some text, or could.
    #[test]
    fn invisible_characters_fold_away() {
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
        // The planes that have characters; the others only make the test slow.
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
    fn every_character_folds_as_it_does_slowly_wherever_it_stands() {
        for character in ('\0'..'\u{3100}').chain('\u{fb00}'..='\u{ffff}') {
            let text = format!("{character} Abc{character}defghij {character}");
            assert_eq!(fold(&text), slowly(&text), "{character:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text: String) {
            let once = fold(&text);
            assert_eq!(fold(&once), once);
        }

        #[test]
        fn it_folds_as_it_does_slowly(text in "[ !a-zA-Z\t\u{1}\u{a0}áÇß½\u{301}\u{a8}🎧が]{0,40}") {
            assert_eq!(fold(&text), slowly(&text));
        }
    }
}
