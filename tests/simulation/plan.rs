//! The parameters of a seed.

use std::time::Duration;

use super::catalog::{self, TERMS, UNKNOWN_SHOW, UNKNOWN_TERM};
use super::message::{Draft, Expected};
use super::random::SeededRandom;

/// One seed in this many runs the real binary, with the durations of production.
const BINARY_EVERY: u64 = 100;

/// Message deadlines: one that is too short with faults, and one that is long enough on a slow machine.
const SHORT_DEADLINE_MS: u64 = 400;
const LONG_DEADLINE_MS: u64 = 30_000;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Whether instances are the real binary instead of tasks.
    pub binary: bool,
    pub instances: usize,
    pub concurrent_calls: usize,
    pub concurrent_messages: usize,
    /// The percentage of calls that fail in the fault phase.
    pub faults: u32,
    /// The percentage of wrong pages in the fault phase.
    pub page_faults: u32,
    /// The percentage of deliveries that are sent twice, or again after an acknowledgement.
    pub duplicates: u32,
    /// When the fault phase ends.
    pub fault_phase_end: u64,
    /// When instances are restarted.
    pub restarts: Vec<u64>,
    /// When the catalog changes.
    pub changes: Vec<u64>,
    pub max_retry_after: Duration,
    pub message_deadline: Duration,
    pub ack_deadline: Duration,
    /// The maximum of the subscription's dead-letter policy. Without a policy, deliveries are not counted.
    pub attempts: Option<u32>,
    /// Whether BigQuery may accept a job after the connection was closed.
    pub late_uploads: bool,
    pub bans: bool,
    pub reading_ttl: Duration,
    /// Whether all uploads are resumable, so that sessions can get lost.
    pub resumable: bool,
    /// Whether the tables exist at first, so that an operator can change them before the first load.
    pub tables_exist: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed, "plan");
        let binary = seed % BINARY_EVERY == BINARY_EVERY / 2;
        let fault_phase_end = random.number(40..250);
        let moments = |random: &mut SeededRandom, most: u64| -> Vec<u64> {
            (0..random.number(0..most)).map(|_| random.number(0..fault_phase_end)).collect()
        };
        let mut page_random = SeededRandom::new(seed, "how many lies");
        Self {
            seed,
            binary,
            page_faults: *page_random.pick(&[0, 0, 1, 1, 10, 30]),
            reading_ttl: Duration::from_millis(*page_random.pick(&[30, 400, 400])),
            instances: if random.chance(25) { 2 } else { 1 },
            concurrent_calls: random.number(1..6) as usize,
            concurrent_messages: random.number(1..9) as usize,
            faults: *random.pick(if binary { &[5, 15] } else { &[0, 15, 30, 45] }),
            duplicates: *random.pick(&[5, 15, 30]),
            fault_phase_end,
            restarts: moments(&mut random, 4),
            changes: moments(&mut random, 5),
            max_retry_after: Duration::from_millis(*random.pick(&[20, 1200])),
            message_deadline: Duration::from_millis(*random.pick(&[
                SHORT_DEADLINE_MS,
                LONG_DEADLINE_MS,
                LONG_DEADLINE_MS,
            ])),
            ack_deadline: Duration::from_millis(*random.pick(&[300, 60_000, 60_000, 60_000])),
            attempts: *random.pick(&[None, Some(5), Some(100), Some(100)]),
            late_uploads: random.chance(25),
            bans: random.chance(50),
            resumable: random.chance(50),
            tables_exist: random.chance(50),
        }
    }

    /// Returns whether an older reading must not replace a newer one. A process guarantees it for its own loads,
    /// but not for an upload that BigQuery accepts late.
    pub fn readings_stay_in_order(&self) -> bool {
        self.instances == 1 && !self.late_uploads && !self.binary
    }

    /// Returns the plan for the time after the fault phase, in which every message has enough time.
    pub fn without_faults(&self) -> Self {
        Self { message_deadline: Duration::from_millis(LONG_DEADLINE_MS), ..self.clone() }
    }

    /// Returns the messages that are published at the start.
    pub fn drafts(&self) -> Vec<Draft> {
        let mut random = SeededRandom::new(self.seed, "messages");
        let messages = random.number(3..11);
        (0..messages)
            .map(|_| match random.number(0..10) {
                0..7 => table(&mut random, self.seed),
                7 => fan_out(&mut random),
                _ => poison(&mut random),
            })
            .collect()
    }
}

fn table(random: &mut SeededRandom, seed: u64) -> Draft {
    let kind = *random.pick(&["podcasts", "episodes", "mentions"]);
    // There are few terms, so that several messages load the same table.
    let term = *random.pick(&[0, 0, 1, 2]);
    match random.number(0..4) {
        0 if kind != "podcasts" => Draft::table_of_show(kind, term, &catalog::show_of(seed, term)),
        _ => Draft::table(kind, term),
    }
}

fn fan_out(random: &mut SeededRandom) -> Draft {
    let data = match random.number(0..3) {
        0 => serde_json::json!({"search_term": TERMS[random.number(0..3) as usize].text}),
        1 => serde_json::json!({"search_term": [TERMS[0].text, TERMS[1].text]}),
        _ => {
            serde_json::json!({"table": "mentions", "search_term": [TERMS[2].text, TERMS[1].text]})
        }
    };
    Draft::new(data.to_string(), Expected::FanOut)
}

fn poison(random: &mut SeededRandom) -> Draft {
    let (data, reason) = *random.pick(&[
        ("%", "bad_base64"),
        ("{\"table\":", "bad_json"),
        (r#"{"tabel":"episodes"}"#, "refused"),
        (r#"{"table":"songs"}"#, "refused"),
        ("unknown term", "no_results"),
        ("unknown show", "no_such_show"),
    ]);
    let data = match data {
        "unknown term" => {
            serde_json::json!({"table": "podcasts", "search_term": UNKNOWN_TERM}).to_string()
        }
        "unknown show" => serde_json::json!({
            "table": "episodes", "search_term": TERMS[1].text, "show_id": UNKNOWN_SHOW,
        })
        .to_string(),
        plain => plain.to_owned(),
    };
    Draft::new(data, Expected::DeadLetter(reason))
}
