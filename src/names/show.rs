//! Spotify shows: their IDs, and which one was chosen for a term.

use std::fmt;

/// The length of the IDs that Spotify gives.
const SHOW_ID_CHARACTERS: usize = 22;

/// The longest ID that the service accepts from Spotify. Longer than today's, in case the format changes.
const MAX_SHOW_ID_CHARACTERS: usize = 64;

/// The ID of a Spotify show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShowId(String);

impl ShowId {
    /// Parses an ID from a user, which must be 22 characters of base62.
    pub fn parse(text: &str) -> Option<Self> {
        let is_valid = text.len() == SHOW_ID_CHARACTERS
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_valid.then(|| Self(text.to_owned()))
    }

    /// Parses an ID from Spotify. It may have another length, but must be safe in a URL's path.
    pub fn from_spotify(text: &str) -> Option<Self> {
        let is_valid = (1..=MAX_SHOW_ID_CHARACTERS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_valid.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the URL of the show's page.
    pub fn link(&self) -> String {
        format!("https://open.spotify.com/show/{self}")
    }
}

impl fmt::Display for ShowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The show whose episodes a table contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenShow {
    pub id: ShowId,
    /// The show's name, if it was found by a search.
    pub name: Option<String>,
    /// Why it was chosen. `None` if it comes from the labels of a load job of an earlier version.
    pub matched_by: Option<ShowMatch>,
}

/// Why a show was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowMatch {
    /// Its name equals the term.
    Name,
    /// No show is named like the term, and this is the first result. The order of results can change.
    First,
    /// The message names it.
    ShowId,
}

impl ShowMatch {
    const ALL: [Self; 3] = [Self::Name, Self::First, Self::ShowId];

    /// Returns the name in log lines, labels and the output of commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::First => "first",
            Self::ShowId => "show_id",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}
