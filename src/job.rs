//! What a message asks for: to replace one table, or to publish one message per table and term.

mod keys;

use serde::Serialize;

use crate::envelope::Message;
use crate::failure::Failure;
use crate::names::{Kind, Naming, ShowId, Term};
use keys::{Keys, invalid};

/// One table to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub kind: Kind,
    pub term: Term,
    /// The show that the message names. If `None`, a search for the term finds it.
    pub show: Option<ShowId>,
    /// The table's name in the dataset.
    pub table: String,
    /// How much of a listing may be missing if Spotify's responses contradict each other, in percent.
    pub max_missing_percent: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Replace one table.
    Load(Job),
    /// Publish these messages to the trigger topic.
    FanOut(Vec<TriggerMessage>),
}

/// A message for the trigger topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TriggerMessage {
    /// A kind's name, or another name that [`Naming::parse_kind`] accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_term: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_missing_percent: Option<u8>,
}

impl TriggerMessage {
    /// Returns the JSON for `message.data`.
    pub fn to_data(&self) -> Vec<u8> {
        // Strings and a number can always be serialized.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Parses a message. The failure names the key and says what is allowed.
pub fn parse(message: &Message, naming: &Naming) -> Result<Action, Failure> {
    let keys = Keys::parse(message, naming)?;
    if keys.show.is_some() {
        if keys.terms.as_ref().is_none_or(|terms| terms.len() != 1) {
            return Err(invalid("`show_id` requires exactly one `search_term`"));
        }
        if keys.kind == Some(Kind::Podcasts) {
            return Err(invalid("`show_id` can't be used with the table `podcasts`"));
        }
    }
    let terms = keys.terms.unwrap_or_else(|| vec![naming.term.clone()]);
    let (show, percent) = (keys.show, keys.max_missing_percent);
    match (keys.kind, terms.as_slice()) {
        (Some(kind), [term]) => Ok(Action::Load(Job {
            kind,
            term: term.clone(),
            show,
            table: naming.table(kind, term),
            max_missing_percent: percent.unwrap_or_else(|| default_missing_percent(kind)),
        })),
        (kind, terms) => Ok(Action::FanOut(fan_out(kind, terms, show.as_ref(), percent))),
    }
}

/// The results of a search change from hour to hour, so more of them may be missing.
pub(crate) fn default_missing_percent(kind: Kind) -> u8 {
    match kind {
        Kind::Podcasts => 10,
        Kind::Episodes | Kind::Mentions => 2,
    }
}

/// Returns one message per term and kind. `None` means all kinds.
fn fan_out(
    kind: Option<Kind>,
    terms: &[Term],
    show: Option<&ShowId>,
    max_missing_percent: Option<u8>,
) -> Vec<TriggerMessage> {
    let kinds = kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
    let pairs = terms.iter().flat_map(|term| kinds.iter().map(move |kind| (term, *kind)));
    pairs
        .map(|(term, kind)| TriggerMessage {
            table: Some(kind.name().to_owned()),
            search_term: Some(term.text().to_owned()),
            show_id: show.filter(|_| kind != Kind::Podcasts).map(|show| show.as_str().to_owned()),
            max_missing_percent,
        })
        .collect()
}

#[cfg(test)]
mod tests;
