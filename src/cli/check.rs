//! `check`: a doctor. It looks at everything that must be in order, and says how to fix what is not.

mod bigquery;
mod pubsub;
mod spotify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anstyle::AnsiColor;
use serde::Serialize;
use serde_json::Value;

use crate::config::{Config, TABLE_SETTINGS, default};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::names::{Kind, Naming, Term};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Report tables that are absent or were last changed longer ago, such as 26h or 2d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
}

/// What was looked at, and how it is.
#[derive(Serialize)]
struct Finding {
    what: String,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// For scripts, what the detail says in words.
    #[serde(flatten)]
    facts: BTreeMap<&'static str, Value>,
}

impl Finding {
    fn ok(what: &str, detail: impl Into<String>) -> Self {
        let (what, detail) = (what.to_owned(), detail.into());
        Self { what, ok: true, detail, advice: None, facts: BTreeMap::new() }
    }

    fn problem(what: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { ok: false, advice: Some(advice.into()), ..Self::ok(what, detail) }
    }

    fn failure(what: &str, failure: &Failure) -> Self {
        Self::problem(what, failure.to_string(), failure.advice_at_terminal())
    }

    /// Adds a fact, unless there is none.
    fn with(mut self, name: &'static str, fact: impl Into<Value>) -> Self {
        let fact = fact.into();
        if !fact.is_null() {
            self.facts.insert(name, fact);
        }
        self
    }

    fn say(&self, json: bool) -> Result<(), String> {
        if json {
            say!("{}", serde_json::to_string(self).map_err(|error| error.to_string())?);
            return Ok(());
        }
        let (color, mark) = if self.ok {
            (AnsiColor::Green.on_default(), "ok     ")
        } else {
            (AnsiColor::Red.on_default().bold(), "PROBLEM")
        };
        say!("{color}{mark}{color:#} {}: {}", self.what, self.detail);
        if let Some(advice) = &self.advice {
            say!("        → {advice}");
        }
        Ok(())
    }
}

pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, String> {
    let google = Arc::new(GoogleCredentials::new(config));
    let mut findings = vec![Finding::ok("settings", "all valid")];
    findings.extend(tables_of_the_term(&config.naming));
    findings.extend(spotify::findings(config).await?);
    findings.extend(bigquery::findings(config, &google, args.max_age).await?);
    findings.extend(pubsub::findings(config, &google).await);
    findings.push(push_verification(config));
    for finding in &findings {
        finding.say(args.json)?;
    }
    Ok(findings.iter().all(|finding| finding.ok))
}

/// Which tables follow SEARCH_TERM. A deployment that had set the term alone had others before.
fn tables_of_the_term(naming: &Naming) -> Option<Finding> {
    if Term::parse(default("SEARCH_TERM")).is_ok_and(|default| default == naming.term) {
        return None;
    }
    let follow = Kind::ALL.into_iter().filter(|kind| naming.is_derived_table(*kind));
    let follow: Vec<&str> = follow.map(|kind| TABLE_SETTINGS[kind as usize]).collect();
    if follow.is_empty() {
        return None;
    }
    let old: Vec<String> = follow.iter().map(|name| format!("{name}={}", default(name))).collect();
    let detail = format!(
        "{}, since SEARCH_TERM is {:?}; to keep the tables that a deployment with this term had before, set {} (Terraform: `tables = {{}}`)",
        naming.tables.join(", "),
        naming.term.text(),
        old.join(" "),
    );
    Some(Finding::ok("table names", detail))
}

fn push_verification(config: &Config) -> Finding {
    match &config.push_auth {
        None => Finding::ok("push verification", "left to the platform (as on Cloud Run)"),
        Some(auth) => Finding::ok(
            "push verification",
            format!("tokens of {} for {}", auth.service_account, auth.audience),
        ),
    }
}

/// Reads a duration such as 90s, 30m, 26h, 2d or 1d12h.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and s, m, h or d, such as 26h".to_owned();
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return Err(wrong()),
        };
        let more = number.checked_mul(unit);
        seconds = more.and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("26h", 93_600), ("1d12h", 129_600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "26", "h", "-1h", "1.5h", "2 weeks", "0h", "1é", "99999999999999999999d"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
