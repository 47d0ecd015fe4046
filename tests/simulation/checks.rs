//! Checks after all messages were acknowledged or dead-lettered.

use std::collections::BTreeMap;

use super::catalog::TERMS;
use super::loads;
use super::message::Expected;
use super::queue::Outcome;
use super::run::Simulation;

/// Returns the errors after the fault phase.
pub fn after_faults(sim: &Simulation) -> Vec<String> {
    let mut violations = sim.bans.violations();
    violations.extend(stuck(sim));
    violations.extend(dead_letters(sim));
    violations.extend(jobs(sim));
    violations.extend(loads::violations(sim));
    violations
}

/// Returns the errors after one more message for each table, without faults.
pub fn after_final_messages(sim: &Simulation) -> Vec<String> {
    let mut violations = after_faults(sim);
    let mut catalog = sim.catalog.lock().unwrap();
    for (kind, term) in sim.tables() {
        let name = table_name(kind, term);
        let rows = sim.world.bigquery.rows(name);
        let version = catalog.version;
        if rows != catalog.rows(kind, term, version) {
            violations.push(format!("{name} does not have the rows that Spotify shows"));
        }
    }
    violations
}

fn stuck(sim: &Simulation) -> Vec<String> {
    let stuck = sim.settled.iter().filter_map(|(message, outcome)| match outcome {
        Outcome::Stuck(response) => Some(format!(
            "{} {:?} is not acknowledged, although there are no more faults; last response: {response}",
            message.push.id, message.expected
        )),
        _ => None,
    });
    stuck.collect()
}

/// Checks that the service published a dead letter for each message that can never succeed, and for no other.
/// If publishing kept failing, the subscription has dead-lettered the message.
fn dead_letters(sim: &Simulation) -> Vec<String> {
    let letters = sim.world.pubsub.published("letters");
    let mut violations = Vec::new();
    for letter in &letters {
        let id = letter.attributes["message_id"].as_str();
        let original = sim.settled.iter().find(|(message, _)| message.push.id == id);
        let Some((message, _)) = original else {
            violations.push(format!("dead letter without a message: {letter:?}"));
            continue;
        };
        let reason = letter.attributes.get("reason").map(String::as_str);
        if reason != message.expected.reason() || letter.data != message.push.data.as_bytes() {
            violations.push(format!("{:?} became the dead letter {letter:?}", message.expected));
        }
    }
    for (message, outcome) in &sim.settled {
        let is_letter =
            letters.iter().any(|letter| letter.attributes["message_id"] == message.push.id);
        if message.expected.reason().is_some() && *outcome == Outcome::Acknowledged && !is_letter {
            violations
                .push(format!("{:?} was acknowledged without a dead letter", message.expected));
        }
    }
    violations
}

/// Checks that no message was loaded twice, or acknowledged without a load.
fn jobs(sim: &Simulation) -> Vec<String> {
    let mut violations = Vec::new();
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for id in sim.world.bigquery.accepted() {
        if sim.world.bigquery.job(&id).error.is_none() {
            let (message, _) = id.rsplit_once('_').unwrap();
            *done.entry(message.to_owned()).or_default() += 1;
        }
    }
    for (message, times) in done {
        if times > 1 {
            violations.push(format!("{message} was loaded {times} times"));
        }
    }
    for (kind, term) in sim.tables() {
        let name = table_name(kind, term);
        let loads = sim.world.bigquery.table(name).map_or(0, |table| table.loads) as usize;
        let count = |outcome: Outcome| {
            sim.with_expected(Expected::Table(kind, term)).filter(|(_, is)| *is == outcome).count()
        };
        let acknowledged = count(Outcome::Acknowledged);
        // A dead-lettered message may have been loaded if every acknowledgement was lost.
        let most = acknowledged + count(Outcome::DeadLettered);
        if loads < acknowledged || loads > most {
            violations.push(format!(
                "{name} was loaded {loads} times for {acknowledged} to {most} messages"
            ));
        }
    }
    violations
}

fn table_name(kind: &str, term: usize) -> &'static str {
    let at = ["podcasts", "episodes", "mentions"].iter().position(|name| *name == kind);
    TERMS[term].tables[at.unwrap()]
}
