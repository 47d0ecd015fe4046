//! `check`: checks everything that a load needs, and says how to fix what is wrong.

mod bigquery;
mod finding;
mod pubsub;
mod spotify;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, TABLE_SETTINGS, default};
use crate::google::GoogleCredentials;
use crate::names::{Kind, Naming, Term};
use finding::Finding;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Report tables that do not exist or were last changed longer ago than this, such as 26h or 2d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
}

/// Prints all findings. Returns whether none is a problem.
pub(super) async fn run(config: &Config, args: &Args) -> Result<bool, String> {
    let google = Arc::new(GoogleCredentials::new(config));
    let mut findings = vec![Finding::ok("settings", "all valid")];
    findings.extend(derived_tables(&config.naming));
    findings.extend(spotify::findings(config).await?);
    findings.extend(bigquery::findings(config, &google, args.max_age).await?);
    findings.extend(pubsub::findings(config, &google).await);
    findings.push(push_verification(config));
    for finding in &findings {
        finding.print(args.json)?;
    }
    Ok(findings.iter().all(|finding| finding.ok))
}

/// Names the tables that are derived from SEARCH_TERM. A deployment that sets only the term may expect
/// the default names.
fn derived_tables(naming: &Naming) -> Option<Finding> {
    if Term::parse(default("SEARCH_TERM")).is_ok_and(|default| default == naming.term) {
        return None;
    }
    let derived = Kind::ALL.into_iter().filter(|kind| naming.is_derived_table(*kind));
    let defaults: Vec<String> = derived
        .map(|kind| TABLE_SETTINGS[kind as usize])
        .map(|name| format!("{name}={}", default(name)))
        .collect();
    if defaults.is_empty() {
        return None;
    }
    let detail = format!(
        "{}, because SEARCH_TERM is {:?}. To load the tables with the default names instead, set {} (Terraform: `tables = {{}}`)",
        naming.tables.join(", "),
        naming.term.text(),
        defaults.join(" "),
    );
    Some(Finding::ok("table names", detail))
}

fn push_verification(config: &Config) -> Finding {
    let what = "push verification";
    match &config.push_auth {
        None => Finding::ok(what, "off; the platform must verify pushes, as Cloud Run does"),
        Some(auth) => Finding::ok(
            what,
            format!("requires tokens of {} for {}", auth.service_account, auth.audience),
        ),
    }
}

/// Parses a duration such as 90s, 30m, 26h, 2d or 1d12h.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || "expected numbers with a unit (s, m, h or d), such as 26h or 1d12h".to_owned();
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit_seconds = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return Err(invalid()),
        };
        let part = number.checked_mul(unit_seconds);
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(invalid)?;
        rest = &rest[digits + 1..];
    }
    if seconds == 0 { Err(invalid()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("26h", 93_600), ("1d12h", 129_600)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for invalid in
            ["", "26", "h", "-1h", "1.5h", "2 weeks", "0h", "1é", "99999999999999999999d"]
        {
            assert!(parse_duration(invalid).is_err(), "{invalid}");
        }
    }
}
