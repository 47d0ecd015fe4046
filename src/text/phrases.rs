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
            return Err(format!(
                "has {} phrases, at most {MAX_PHRASES} are allowed",
                phrases.len()
            ));
        }
        let mut folded: Vec<String> = Vec::with_capacity(phrases.len());
        for phrase in phrases {
            let characters = phrase.chars().count();
            if characters > MAX_PHRASE_CHARACTERS {
                return Err(format!(
                    "each phrase must have at most {MAX_PHRASE_CHARACTERS} characters, one has {characters}"
                ));
            }
            let form = fold(phrase);
            if form.is_empty() || phrase.chars().any(char::is_control) {
                return Err("each phrase, separated by |, must have a visible character and no \
                            control character"
                    .to_owned());
            }
            if !folded.contains(&form) {
                folded.push(form);
            }
        }
        Ok(Self { folded })
    }

    /// Returns whether `text` holds one of the phrases. `buffer` is reused between texts.
    pub fn are_in(&self, text: &str, buffer: &mut String) -> bool {
        fold_into(text, buffer);
        self.folded.iter().any(|phrase| buffer.contains(phrase.as_str()))
    }
}
