//! The result of one check, printed as text or as JSON.

use std::collections::BTreeMap;

use anstyle::AnsiColor;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

#[derive(Serialize)]
pub(super) struct Finding {
    /// The subject of the check.
    what: String,
    pub(super) ok: bool,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// Values in `detail`, for scripts.
    #[serde(flatten)]
    facts: BTreeMap<&'static str, Value>,
}

impl Finding {
    pub(super) fn ok(what: &str, detail: impl Into<String>) -> Self {
        let (what, detail) = (what.to_owned(), detail.into());
        Self { what, ok: true, detail, advice: None, facts: BTreeMap::new() }
    }

    pub(super) fn problem(
        what: &str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { ok: false, advice: Some(advice.into()), ..Self::ok(what, detail) }
    }

    pub(super) fn failure(what: &str, failure: &Failure) -> Self {
        Self::problem(what, failure.to_string(), failure.advice_at_terminal())
    }

    /// Adds a fact, unless it is null.
    pub(super) fn with(mut self, name: &'static str, fact: impl Into<Value>) -> Self {
        let fact = fact.into();
        if !fact.is_null() {
            self.facts.insert(name, fact);
        }
        self
    }

    pub(super) fn print(&self, json: bool) -> Result<(), String> {
        if json {
            say!("{}", serde_json::to_string(self).map_err(|error| error.to_string())?);
            return Ok(());
        }
        let (color, status) = if self.ok {
            (AnsiColor::Green.on_default(), "ok     ")
        } else {
            (AnsiColor::Red.on_default().bold(), "PROBLEM")
        };
        say!("{color}{status}{color:#} {}: {}", self.what, self.detail);
        if let Some(advice) = &self.advice {
            say!("        → {advice}");
        }
        Ok(())
    }
}
