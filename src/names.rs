//! What things are called: the three kinds of table, search terms, shows, and the BigQuery table
//! that a kind and a term share. No two terms share a table.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::text::fold;

/// The longest search term, in characters.
pub const MAX_TERM_CHARACTERS: usize = 100;

/// The kinds of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The first shows that a search for the term finds.
    Podcasts,
    /// All episodes of the term's show.
    Episodes,
    /// Those episodes of the term's show that hold the configured mention.
    Mentions,
}

impl Kind {
    /// Every kind, in the order in which a fan-out publishes them.
    pub const ALL: [Kind; 3] = [Kind::Podcasts, Kind::Episodes, Kind::Mentions];

    /// The name in messages, job ids, labels and the tables of other terms.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Podcasts => "podcasts",
            Kind::Episodes => "episodes",
            Kind::Mentions => "mentions",
        }
    }

    /// What the system before this one called the table; messages may still say it.
    pub fn legacy_name(self) -> &'static str {
        match self {
            Kind::Podcasts => "tabela_5",
            Kind::Episodes => "tabela_6",
            Kind::Mentions => "tabela_7",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A search term: 1 to [`MAX_TERM_CHARACTERS`] characters, among them a letter or digit of any script.
#[derive(Clone, Debug)]
pub struct Term {
    text: String,
    folded: String,
}

impl Term {
    /// A term without the white space around it, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let characters = text.chars().count();
        if characters > MAX_TERM_CHARACTERS {
            return Err(format!(
                "a search term has at most {MAX_TERM_CHARACTERS} characters, this one has {characters}"
            ));
        }
        let folded = fold(text);
        if folded.is_empty() || text.chars().any(char::is_control) {
            return Err("a search term has at least one visible character and no control \
                        character"
                .to_owned());
        }
        if !folded.contains(char::is_alphanumeric) {
            return Err("a search term has at least one letter or digit, since Spotify searches \
                        for nothing else"
                .to_owned());
        }
        Ok(Self { text: text.to_owned(), folded })
    }

    /// The term as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The form in which terms are compared.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The table of a kind and this term, if nothing else is configured.
    pub fn table(&self, kind: Kind) -> String {
        format!("{kind}_{}", self.slug())
    }

    /// The term as a part of a table's name: its words of ASCII letters and digits joined by `_`.
    /// Where that loses more than case, accents and spacing, or where it looks like a slug that
    /// did, 8 hex digits of the SHA-256 of the folded term follow, so that no two terms meet.
    pub fn slug(&self) -> String {
        let words: Vec<&str> = self
            .folded
            .split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let slug = words.join("_");
        let lossless = slug.replace('_', " ") == self.folded;
        if lossless && !ends_like_a_hash(&words) { slug } else { self.hashed_slug(&slug) }
    }

    fn hashed_slug(&self, slug: &str) -> String {
        let digest = Sha256::digest(self.folded.as_bytes());
        format!("{slug}_{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
    }
}

/// Two terms are the same when they fold alike.
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
    words.len() > 1
        && words.last().is_some_and(|word| {
            word.len() == 8
                && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
}

/// A Spotify show's id: 22 characters of base62.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShowId(String);

impl ShowId {
    /// The id, if `text` has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .then(|| Self(text.to_owned()))
    }

    /// An id that Spotify itself gave: of whatever length, but nothing that changes a URL's path.
    pub fn from_spotify(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// The id as Spotify writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The page of the show.
    pub fn link(&self) -> String {
        format!("https://open.spotify.com/show/{self}")
    }
}

impl fmt::Display for ShowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The show whose episodes a table holds, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenShow {
    pub id: ShowId,
    /// Its name, if a search returned it.
    pub name: Option<String>,
    /// Why it was chosen, unless the load job is of an earlier version, which does not say.
    pub matched_by: Option<ShowMatch>,
}

/// Why a show was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowMatch {
    /// Its name is the term.
    Name,
    /// No name is the term, and it is the first result. Another day may rank another show first.
    First,
    /// The message names it.
    ShowId,
}

impl ShowMatch {
    /// The word for it in log lines, labels and the output of commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::First => "first",
            Self::ShowId => "show_id",
        }
    }

    /// Returns the match that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Name, Self::First, Self::ShowId].into_iter().find(|known| known.name() == name)
    }
}

/// The configured term, and the three tables that are its own.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The term of a message that names none.
    pub term: Term,
    /// The configured term's tables, in the order of [`Kind::ALL`].
    pub tables: [String; 3],
}

impl Naming {
    /// The configured name of a kind's table.
    pub fn configured_table(&self, kind: Kind) -> &str {
        &self.tables[kind as usize]
    }

    /// Whether a kind's table is the one that follows from the configured term.
    pub fn is_derived_table(&self, kind: Kind) -> bool {
        self.configured_table(kind) == self.term.table(kind)
    }

    /// The table of a kind and a term: a configured one for the configured term, else
    /// `<kind>_<slug>`, with hashes behind it until it is no configured one.
    pub fn table(&self, kind: Kind, term: &Term) -> String {
        if *term == self.term {
            return self.configured_table(kind).to_owned();
        }
        let mut slug = term.slug();
        loop {
            let name = format!("{kind}_{slug}");
            // SQLite's table names are not case-sensitive.
            if !self.tables.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
                return name;
            }
            slug = term.hashed_slug(&slug);
        }
    }

    /// The kind that a message's `table` means: its name, its old name, or else its configured name,
    /// which may be another kind's name.
    pub fn parse_kind(&self, table: &str) -> Option<Kind> {
        let find = |is: &dyn Fn(&Kind) -> bool| Kind::ALL.into_iter().find(is);
        find(&|kind| table == kind.name() || table == kind.legacy_name())
            .or_else(|| find(&|kind| table == self.configured_table(*kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(term: &str) -> String {
        Term::parse(term).unwrap().slug()
    }

    fn naming(podcasts: &str) -> Naming {
        Naming {
            term: Term::parse("data hackers").unwrap(),
            tables: [podcasts, "tb_e", "tb_m"].map(str::to_owned),
        }
    }

    #[test]
    fn slugs_are_words_and_a_hash_where_more_is_lost() {
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
    fn a_term_that_spells_another_terms_slug_has_its_own() {
        assert_ne!(slug("c cedb1bac"), slug("c++"));
        assert_eq!(slug("deadbeef"), "deadbeef");
    }

    #[test]
    fn a_terms_table_is_never_a_configured_one() {
        assert_eq!(
            naming("tb").table(Kind::Podcasts, &Term::parse("DATA  háckers").unwrap()),
            "tb"
        );
        let other = Term::parse("foo").unwrap();
        assert_eq!(naming("tb").table(Kind::Podcasts, &other), "podcasts_foo");
        let moved = naming("Podcasts_Foo").table(Kind::Podcasts, &other);
        assert!(moved.starts_with("podcasts_foo_") && moved.len() == 21, "{moved}");
        let mut both = naming("podcasts_foo");
        both.tables[2] = moved.clone();
        let further = both.table(Kind::Podcasts, &other);
        assert!(further.starts_with(&moved) && further.len() == 30, "{further}");
        // The term that spells the moved name has another one.
        let spelled = Term::parse(&moved["podcasts_".len()..].replace('_', " ")).unwrap();
        assert_ne!(naming("podcasts_foo").table(Kind::Podcasts, &spelled), moved);
    }

    #[test]
    fn tables_go_by_three_names() {
        for name in ["podcasts", "tabela_5", "tb"] {
            assert_eq!(naming("tb").parse_kind(name), Some(Kind::Podcasts), "{name}");
        }
        assert_eq!(naming("tb").parse_kind("Podcasts"), None);
        assert_eq!(naming("episodes").parse_kind("episodes"), Some(Kind::Episodes));
    }

    #[test]
    fn terms_have_a_letter_or_digit_and_an_end() {
        assert!(Term::parse(&"é".repeat(100)).is_ok());
        for term in ["日", "ж", "٣", "א", "½", "c++", "#1", "*a*"] {
            assert!(Term::parse(term).is_ok(), "{term:?}");
        }
        let long = "é".repeat(101);
        for wrong in
            ["", " \u{a0}", "\u{301}", "a\nb", &long, "*", "\"\"", "- _", "…", "🎧", "\u{3164}"]
        {
            assert!(Term::parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Term::parse(" a ").unwrap().text(), "a");
    }

    proptest::proptest! {
        #[test]
        fn slugs_are_table_names_and_tell_terms_apart(a in "\\PC{1,20}", b in "[a-f0-9 _+é]{1,12}") {
            if let (Ok(a), Ok(b)) = (Term::parse(&a), Term::parse(&b)) {
                proptest::prop_assert!(a.slug().bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'));
                proptest::prop_assert_eq!(a == b, a.slug() == b.slug());
            }
        }
    }
}
