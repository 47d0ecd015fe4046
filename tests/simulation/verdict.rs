//! What must be true when all messages are settled, whatever happened before.

use std::collections::BTreeMap;

use super::catalogue::TERMS;
use super::loads;
use super::message::Wants;
use super::queue::End;
use super::world::Sim;

/// What is wrong once the storm is over.
pub fn after_the_storm(sim: &Sim) -> Vec<String> {
    let mut complaints = sim.bans.complaints();
    complaints.extend(stuck(sim));
    complaints.extend(letters(sim));
    complaints.extend(jobs(sim));
    complaints.extend(loads::complaints(sim));
    complaints
}

/// What is wrong after one more message for each table, with nothing in its way.
pub fn next_morning(sim: &Sim) -> Vec<String> {
    let mut complaints = after_the_storm(sim);
    let mut catalogue = sim.catalogue.lock().unwrap();
    for (kind, term) in sim.tables() {
        let name = table_name(kind, term);
        let rows = sim.world.bigquery.rows(name);
        let version = catalogue.version;
        if rows != catalogue.rows(kind, term, version) {
            complaints.push(format!("{name} does not hold what Spotify shows"));
        }
    }
    complaints
}

fn stuck(sim: &Sim) -> Vec<String> {
    let stuck = sim.settled.iter().filter_map(|(message, end)| match end {
        End::Stuck(answer) => Some(format!(
            "{} {:?} is not done, and nothing is in its way; last answer: {answer}",
            message.push.id, message.wants
        )),
        _ => None,
    });
    stuck.collect()
}

/// The messages that can never succeed, and only those, are dead letters of the service, unless
/// Pub/Sub took no letter until the subscription's attempts were used up.
fn letters(sim: &Sim) -> Vec<String> {
    let letters = sim.world.pubsub.published("letters");
    let mut complaints = Vec::new();
    for letter in &letters {
        let id = letter.attributes["message_id"].as_str();
        let of = sim.settled.iter().find(|(message, _)| message.push.id == id);
        let Some((message, _)) = of else {
            complaints.push(format!("a letter of no message: {letter:?}"));
            continue;
        };
        let reason = letter.attributes.get("reason").map(String::as_str);
        if reason != message.wants.reason() || letter.data != message.push.data.as_bytes() {
            complaints.push(format!("{:?} became the letter {letter:?}", message.wants));
        }
    }
    for (message, end) in &sim.settled {
        let is_letter =
            letters.iter().any(|letter| letter.attributes["message_id"] == message.push.id);
        if message.wants.reason().is_some() && *end == End::Acknowledged && !is_letter {
            complaints.push(format!("{:?} was acknowledged and is no letter", message.wants));
        }
    }
    complaints
}

/// No message was loaded twice, and none was acknowledged without.
fn jobs(sim: &Sim) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for id in sim.world.bigquery.accepted() {
        if sim.world.bigquery.job(&id).error.is_none() {
            let (message, _) = id.rsplit_once('_').unwrap();
            *done.entry(message.to_owned()).or_default() += 1;
        }
    }
    for (message, times) in done {
        if times > 1 {
            complaints.push(format!("{message} was loaded {times} times"));
        }
    }
    for (kind, term) in sim.tables() {
        let name = table_name(kind, term);
        let loads = sim.world.bigquery.table(name).map_or(0, |table| table.loads) as usize;
        let ended =
            |end: End| sim.wanted(Wants::Table(kind, term)).filter(|(_, is)| *is == end).count();
        let acknowledged = ended(End::Acknowledged);
        // What the subscription gave up may have been done, with every acknowledgement lost.
        let most = acknowledged + ended(End::DeadLettered);
        if loads < acknowledged || loads > most {
            complaints.push(format!(
                "{name} was loaded {loads} times for {acknowledged} to {most} messages"
            ));
        }
    }
    complaints
}

fn table_name(kind: &str, term: usize) -> &'static str {
    let at = ["podcasts", "episodes", "mentions"].iter().position(|name| *name == kind);
    TERMS[term].tables[at.unwrap()]
}
