//! The phrases of `MENTION`, and whether a text holds one of them.

use super::{fold, fold_into};

/// The most phrases in `MENTION`.
const MAX_PHRASES: usize = 20;

/// The most characters of one phrase.
const MAX_PHRASE_CHARACTERS: usize = 100;

/// Phrases to look for, however they are written: case, accents, white space and invisible characters
/// make no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrases {
    folded: Vec<String>,
}

impl Phrases {
    /// Parses phrases separated by `|`, or says what is wrong with them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let phrases: Vec<&str> = text.split('|').map(str::trim).collect();
        if phrases.len() > MAX_PHRASES {
            return Err(format!("must have at most {MAX_PHRASES} phrases, not {}", phrases.len()));
        }
        let mut folded: Vec<String> = Vec::with_capacity(phrases.len());
        for phrase in phrases {
            let characters = phrase.chars().count();
            if characters > MAX_PHRASE_CHARACTERS {
                return Err(format!(
                    "a phrase has at most {MAX_PHRASE_CHARACTERS} characters, one of these has \
                     {characters}"
                ));
            }
            let form = fold(phrase);
            if form.is_empty() {
                return Err("no phrase may be empty (phrases are separated by |)".to_owned());
            }
            if phrase.contains(char::is_control) {
                return Err("no phrase may contain a control character".to_owned());
            }
            if !folded.contains(&form) {
                folded.push(form);
            }
        }
        Ok(Self { folded })
    }

    /// Returns whether `text` holds one of the phrases. `buffer` is reused between texts.
    pub fn match_any(&self, text: &str, buffer: &mut String) -> bool {
        fold_into(text, buffer);
        self.folded.iter().any(|phrase| buffer.contains(phrase.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_in(phrases: &str, text: &str) -> bool {
        Phrases::parse(phrases).unwrap().match_any(text, &mut String::new())
    }

    #[test]
    fn one_phrase_of_several_is_enough_however_it_is_written() {
        let phrases = " Grupo Boticário|Magalu |c++";
        for text in [
            "o GRUPO\u{a0}BOTICA\u{301}RIO",
            "na magalu.",
            "Ma\u{2068}ga\u{200d}lu\u{fe0f}",
            "C++23",
            "grupo boticario e Magalu",
        ] {
            assert!(are_in(phrases, text), "{text:?}");
        }
        for text in ["", "grupo", "boticário grupo", "c+", "|", "Grupo|Boticário"] {
            assert!(!are_in(phrases, text), "{text:?}");
        }
    }

    #[test]
    fn phrases_have_bounds() {
        let long = "é".repeat(100);
        assert!(are_in(&long, &format!("x{long}x")));
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join("|");
        assert!(are_in(&many(20), "19"));
        for (wrong, why) in [
            (many(21), "at most 20 phrases, not 21"),
            (format!("{long}é"), "at most 100 characters, one of these has 101"),
            (format!("a|{long}é"), "one of these has 101"),
            (String::new(), "may be empty"),
            ("|".to_owned(), "may be empty"),
            ("a| |b".to_owned(), "may be empty"),
            ("a|b|".to_owned(), "may be empty"),
            ("a|\u{200b}\u{301}".to_owned(), "may be empty"),
            ("a\nb".to_owned(), "control character"),
        ] {
            let refused = Phrases::parse(&wrong).unwrap_err();
            assert!(refused.contains(why), "{wrong:?}: {refused}");
        }
    }
}
