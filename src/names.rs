//! The names of things: kinds of table, search terms, shows, and the table for a kind and a term.
//! No two terms share a table.

mod show;
mod term;

use std::fmt;

pub use show::{ChosenShow, ShowId, ShowMatch};
pub use term::{MAX_TERM_CHARACTERS, Term};

/// The kinds of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The first shows that a search for the term finds.
    Podcasts,
    /// All episodes of the term's show.
    Episodes,
    /// The episodes of the term's show that mention one of the configured phrases.
    Mentions,
}

impl Kind {
    /// All kinds, in the order in which a fan-out publishes them.
    pub const ALL: [Kind; 3] = [Kind::Podcasts, Kind::Episodes, Kind::Mentions];

    /// Returns the name in messages, job IDs, labels and the tables of other terms.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Podcasts => "podcasts",
            Kind::Episodes => "episodes",
            Kind::Mentions => "mentions",
        }
    }

    /// Returns the name that the previous system used. Messages may still contain it.
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

/// The configured term and its tables.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The term of a message that names none.
    pub term: Term,
    /// The tables of the configured term, in the order of [`Kind::ALL`].
    pub tables: [String; 3],
}

impl Naming {
    /// Returns the table of a kind for the configured term.
    pub fn configured_table(&self, kind: Kind) -> &str {
        &self.tables[kind as usize]
    }

    /// Returns whether the table of a kind has the name that follows from the configured term.
    pub fn is_derived_table(&self, kind: Kind) -> bool {
        self.configured_table(kind) == derived_table(kind, &self.term)
    }

    /// Returns the table for a kind and a term: the configured one for the configured term, otherwise
    /// `<kind>_<slug>`, plus as many hashes as it takes to differ from the configured ones.
    pub fn table(&self, kind: Kind, term: &Term) -> String {
        if *term == self.term {
            return self.configured_table(kind).to_owned();
        }
        let mut slug = term.slug();
        loop {
            let name = format!("{kind}_{slug}");
            // SQLite's table names are not case-sensitive.
            if !self.tables.iter().any(|configured| configured.eq_ignore_ascii_case(&name)) {
                return name;
            }
            slug = term.with_hash(&slug);
        }
    }

    /// Returns the kind that `table` in a message stands for: its name, its legacy name or its
    /// configured table. If a configured table has the name of another kind, the kind takes precedence.
    pub fn parse_kind(&self, table: &str) -> Option<Kind> {
        let find = |is: &dyn Fn(&Kind) -> bool| Kind::ALL.into_iter().find(is);
        find(&|kind| table == kind.name() || table == kind.legacy_name())
            .or_else(|| find(&|kind| table == self.configured_table(*kind)))
    }
}

/// Returns the table for a kind and a term if none is configured.
pub(crate) fn derived_table(kind: Kind, term: &Term) -> String {
    format!("{kind}_{}", term.slug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(podcasts: &str) -> Naming {
        Naming {
            term: Term::parse("data hackers").unwrap(),
            tables: [podcasts, "tb_e", "tb_m"].map(str::to_owned),
        }
    }

    #[test]
    fn the_table_of_another_term_is_never_a_configured_one() {
        assert_eq!(
            naming("tb").table(Kind::Podcasts, &Term::parse("DATA  háckers").unwrap()),
            "tb"
        );
        let other = Term::parse("foo").unwrap();
        assert_eq!(naming("tb").table(Kind::Podcasts, &other), "podcasts_foo");
        let renamed = naming("Podcasts_Foo").table(Kind::Podcasts, &other);
        assert!(renamed.starts_with("podcasts_foo_") && renamed.len() == 21, "{renamed}");
        let mut both = naming("podcasts_foo");
        both.tables[2] = renamed.clone();
        let renamed_again = both.table(Kind::Podcasts, &other);
        assert!(
            renamed_again.starts_with(&renamed) && renamed_again.len() == 30,
            "{renamed_again}"
        );
        // A term that reads like that name has yet another table.
        let alike = Term::parse(&renamed["podcasts_".len()..].replace('_', " ")).unwrap();
        assert_ne!(naming("podcasts_foo").table(Kind::Podcasts, &alike), renamed);
    }

    #[test]
    fn a_kind_has_three_names() {
        for name in ["podcasts", "tabela_5", "tb"] {
            assert_eq!(naming("tb").parse_kind(name), Some(Kind::Podcasts), "{name}");
        }
        assert_eq!(naming("tb").parse_kind("Podcasts"), None);
        assert_eq!(naming("episodes").parse_kind("episodes"), Some(Kind::Episodes));
    }
}
