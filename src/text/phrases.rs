//! The phrases of `MENTION`, and the search for them in a text.

use super::{fold, fold_into};

const MAX_PHRASES: usize = 20;
const MAX_PHRASE_CHARACTERS: usize = 100;

/// Phrases to search for, regardless of case, accents, white space and invisible characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrases {
    folded: Vec<String>,
}

impl Phrases {
    /// Parses phrases separated by `|`. The error says what is wrong with them.
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
                    "a phrase may have at most {MAX_PHRASE_CHARACTERS} characters, but one has \
                     {characters}"
                ));
            }
            let folded_phrase = fold(phrase);
            if folded_phrase.is_empty() {
                return Err("no phrase may be empty (phrases are separated by |)".to_owned());
            }
            if phrase.contains(char::is_control) {
                return Err("no phrase may contain a control character".to_owned());
            }
            if !folded.contains(&folded_phrase) {
                folded.push(folded_phrase);
            }
        }
        Ok(Self { folded })
    }

    /// Returns whether `text` contains any of the phrases. `buffer` can be reused between texts.
    pub fn match_any(&self, text: &str, buffer: &mut String) -> bool {
        fold_into(text, buffer);
        self.folded.iter().any(|phrase| buffer.contains(phrase.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains_any(phrases: &str, text: &str) -> bool {
        Phrases::parse(phrases).unwrap().match_any(text, &mut String::new())
    }

    #[test]
    fn any_phrase_matches_in_any_spelling() {
        let phrases = " Grupo Boticário|Magalu |c++";
        for text in [
            "o GRUPO\u{a0}BOTICA\u{301}RIO",
            "na magalu.",
            "Ma\u{2068}ga\u{200d}lu\u{fe0f}",
            "C++23",
            "grupo boticario e Magalu",
        ] {
            assert!(contains_any(phrases, text), "{text:?}");
        }
        for text in ["", "grupo", "boticário grupo", "c+", "|", "Grupo|Boticário"] {
            assert!(!contains_any(phrases, text), "{text:?}");
        }
    }

    #[test]
    fn phrases_are_limited() {
        let long = "é".repeat(100);
        assert!(contains_any(&long, &format!("x{long}x")));
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join("|");
        assert!(contains_any(&many(20), "19"));
        for (wrong, why) in [
            (many(21), "at most 20 phrases, not 21"),
            (format!("{long}é"), "at most 100 characters, but one has 101"),
            (format!("a|{long}é"), "but one has 101"),
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
