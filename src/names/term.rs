//! Search terms, and the part of a table's name that follows from one.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::text::fold;

pub const MAX_TERM_CHARACTERS: usize = 100;

/// A search term: at most [`MAX_TERM_CHARACTERS`], among them a letter or digit of any script. Two
/// terms are equal if they fold alike.
#[derive(Clone, Debug)]
pub struct Term {
    text: String,
    folded: String,
}

impl Term {
    /// Parses a term, without white space around it. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let characters = text.chars().count();
        if characters > MAX_TERM_CHARACTERS {
            return Err(format!(
                "a search term may have at most {MAX_TERM_CHARACTERS} characters, but this one has \
                 {characters}"
            ));
        }
        let folded = fold(text);
        if folded.is_empty() || text.chars().any(char::is_control) {
            return Err("a search term must have at least one visible character and no control \
                        characters"
                .to_owned());
        }
        if !folded.contains(char::is_alphanumeric) {
            return Err("a search term must have at least one letter or digit, because Spotify \
                        ignores other characters"
                .to_owned());
        }
        Ok(Self { text: text.to_owned(), folded })
    }

    /// Returns the term as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the form in which terms are compared.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Returns the term as part of a table's name: its words of ASCII letters and digits, joined by
    /// `_`. No two terms have the same slug: if it loses more than case, accents and spacing, or looks
    /// like one that did, 8 hex digits of the SHA-256 of the folded term follow.
    pub fn slug(&self) -> String {
        let words: Vec<&str> = self
            .folded
            .split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let slug = words.join("_");
        let is_lossless = slug.replace('_', " ") == self.folded;
        if is_lossless && !ends_like_a_hash(&words) { slug } else { self.with_hash(&slug) }
    }

    /// Appends the hash of the folded term to `slug`.
    pub(super) fn with_hash(&self, slug: &str) -> String {
        let digest = Sha256::digest(self.folded.as_bytes());
        format!("{slug}_{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Term {}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn ends_like_a_hash(words: &[&str]) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    words.len() > 1 && words.last().is_some_and(|word| word.len() == 8 && word.bytes().all(is_hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(term: &str) -> String {
        Term::parse(term).unwrap().slug()
    }

    #[test]
    fn a_slug_gets_a_hash_if_it_loses_more_than_accents() {
        assert_eq!(slug("Café\u{a0} da  Manhã"), "cafe_da_manha");
        // printf 'c++' | sha256sum
        assert_eq!(slug("C++"), "c_cedb1bac");
        assert_eq!(slug("c"), "c");
        assert_eq!(slug("日本"), slug("日本 "));
        assert!(slug("日本").starts_with('_') && slug("日本").len() == 9);
        assert_ne!(slug("日本"), slug("日木"));
        assert_ne!(slug("data-hackers"), slug("data hackers"));
        assert_ne!(slug("data_hackers"), slug("data hackers"));
    }

    #[test]
    fn a_term_that_reads_like_another_terms_slug_has_another_slug() {
        assert_ne!(slug("c cedb1bac"), slug("c++"));
        assert_eq!(slug("deadbeef"), "deadbeef");
    }

    #[test]
    fn terms_have_a_letter_or_digit_and_a_maximum_length() {
        assert!(Term::parse(&"é".repeat(100)).is_ok());
        for term in ["日", "ж", "٣", "א", "½", "c++", "#1", "*a*"] {
            assert!(Term::parse(term).is_ok(), "{term:?}");
        }
        let too_long = "é".repeat(101);
        for wrong in
            ["", " \u{a0}", "\u{301}", "a\nb", &too_long, "*", "\"\"", "- _", "…", "🎧", "\u{3164}"]
        {
            assert!(Term::parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Term::parse(" a ").unwrap().text(), "a");
    }

    proptest::proptest! {
        #[test]
        fn slugs_are_table_names_and_differ_for_different_terms(a in "\\PC{1,20}", b in "[a-f0-9 _+é]{1,12}") {
            if let (Ok(a), Ok(b)) = (Term::parse(&a), Term::parse(&b)) {
                proptest::prop_assert!(a.slug().bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'));
                proptest::prop_assert_eq!(a == b, a.slug() == b.slug());
            }
        }
    }
}
