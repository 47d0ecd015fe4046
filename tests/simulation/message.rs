//! A message of the simulation: what is pushed, and what it must come to.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::catalogue::TERMS;
use crate::support::Push;

/// What a message must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The table of this kind and term is replaced.
    Table(&'static str, usize),
    /// Messages are published.
    FanOut,
    /// A dead letter with this reason.
    Letter(&'static str),
}

/// A message before Pub/Sub takes it.
#[derive(Clone, Debug)]
pub struct Draft {
    pub data: String,
    pub wants: Wants,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub push: Push,
    pub wants: Wants,
    pub published: SystemTime,
}

impl Draft {
    pub fn new(data: String, wants: Wants) -> Self {
        Self { data, wants }
    }

    pub fn table(kind: &'static str, term: usize) -> Self {
        let mut data = json!({ "table": kind });
        if term > 0 {
            data["search_term"] = json!(TERMS[term].text);
        }
        Self::new(data.to_string(), Wants::Table(kind, term))
    }

    /// A message that names the show, which is the one that a search finds.
    pub fn table_of_show(kind: &'static str, term: usize, show: &str) -> Self {
        let data = json!({"table": kind, "search_term": TERMS[term].text, "show_id": show});
        Self::new(data.to_string(), Wants::Table(kind, term))
    }

    /// A message that the service published, read as one that must load its table.
    pub fn of_service(data: &[u8]) -> Self {
        let read: Value = serde_json::from_slice(data).unwrap();
        let kinds = ["podcasts", "episodes", "mentions"];
        let kind = kinds.into_iter().find(|kind| read["table"] == **kind).unwrap();
        let term = TERMS.iter().position(|term| read["search_term"] == term.text).unwrap();
        Self::new(String::from_utf8(data.to_vec()).unwrap(), Wants::Table(kind, term))
    }
}

impl Message {
    /// The envelope of one delivery; `attempt` only where the subscription counts them.
    pub fn envelope(&self, attempt: Option<u32>) -> String {
        let mut envelope = Push { attempt, ..self.push.clone() }.envelope();
        if self.wants == Wants::Letter("bad_base64") {
            envelope["message"]["data"] = json!(self.push.data);
        }
        envelope.to_string()
    }
}

impl Wants {
    /// The reason of the dead letter that this is.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Letter(reason) => Some(reason),
            _ => None,
        }
    }
}
