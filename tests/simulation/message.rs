//! Messages of the simulation and their expected outcome.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::catalog::TERMS;
use crate::support::Push;

/// The expected outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The table of this kind and term is replaced.
    Table(&'static str, usize),
    /// Messages are published.
    FanOut,
    /// A dead letter with this reason is published.
    DeadLetter(&'static str),
}

/// A message before it is published.
#[derive(Clone, Debug)]
pub struct Draft {
    pub data: String,
    pub expected: Expected,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub push: Push,
    pub expected: Expected,
    pub published: SystemTime,
}

impl Draft {
    pub fn new(data: String, expected: Expected) -> Self {
        Self { data, expected }
    }

    pub fn table(kind: &'static str, term: usize) -> Self {
        let mut data = json!({ "table": kind });
        if term > 0 {
            data["search_term"] = json!(TERMS[term].text);
        }
        Self::new(data.to_string(), Expected::Table(kind, term))
    }

    /// A message with the ID of the show that the search also finds.
    pub fn table_of_show(kind: &'static str, term: usize, show: &str) -> Self {
        let data = json!({"table": kind, "search_term": TERMS[term].text, "show_id": show});
        Self::new(data.to_string(), Expected::Table(kind, term))
    }

    /// A message that the service published in a fan-out.
    pub fn of_service(data: &[u8]) -> Self {
        let message: Value = serde_json::from_slice(data).unwrap();
        let kinds = ["podcasts", "episodes", "mentions"];
        let kind = kinds.into_iter().find(|kind| message["table"] == **kind).unwrap();
        let term = TERMS.iter().position(|term| message["search_term"] == term.text).unwrap();
        Self::new(String::from_utf8(data.to_vec()).unwrap(), Expected::Table(kind, term))
    }
}

impl Message {
    /// Returns the envelope of a delivery. `attempt` is `None` without a dead-letter policy.
    pub fn envelope(&self, attempt: Option<u32>) -> String {
        let mut envelope = Push { attempt, ..self.push.clone() }.envelope();
        if self.expected == Expected::DeadLetter("bad_base64") {
            envelope["message"]["data"] = json!(self.push.data);
        }
        envelope.to_string()
    }
}

impl Expected {
    /// Returns the reason of an expected dead letter.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::DeadLetter(reason) => Some(reason),
            _ => None,
        }
    }
}
