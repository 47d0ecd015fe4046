//! What a seed's world is like.

use std::time::Duration;

use super::catalogue::{self, TERMS, UNKNOWN_SHOW, UNKNOWN_TERM};
use super::dice::Dice;
use super::message::{Draft, Wants};

/// One seed in this many runs the real binary, with its durations as they are in life.
const BINARY_EVERY: u64 = 100;

/// A message's time, in milliseconds: too short to be kept while things go wrong, or long enough on
/// the slowest machine.
const SHORT: u64 = 400;
const LONG: u64 = 30_000;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// The real binary, killed by SIGKILL, in the place of tasks.
    pub binary: bool,
    pub instances: usize,
    pub concurrent_calls: usize,
    pub concurrent_messages: usize,
    /// How many percent of calls go wrong while the storm lasts.
    pub faults: u32,
    /// How many percent of pages show what is not true while the storm lasts.
    pub lies: u32,
    /// How many percent of deliveries come twice, or again although they were acknowledged.
    pub doubles: u32,
    /// How long the storm lasts, on its own clock.
    pub storm: u64,
    /// When instances end.
    pub ends: Vec<u64>,
    /// When Spotify's catalogue changes.
    pub changes: Vec<u64>,
    pub patience: Duration,
    pub message_deadline: Duration,
    pub ack_deadline: Duration,
    /// The subscription's dead-letter policy; without one deliveries are not counted.
    pub attempts: Option<u32>,
    /// BigQuery may take a job long after the connection was cut.
    pub late_uploads: bool,
    pub bans: bool,
    /// How long a reading is kept for the other table of its show.
    pub reading_memory: Duration,
    /// All uploads are resumable, so that sessions can get lost.
    pub resumable: bool,
    /// The tables are there at first, so that operators can spoil them before the first load.
    pub tables_exist: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let binary = seed % BINARY_EVERY == BINARY_EVERY / 2;
        let storm = dice.number(40..250);
        let moments = |dice: &mut Dice, most: u64| -> Vec<u64> {
            (0..dice.number(0..most)).map(|_| dice.number(0..storm)).collect()
        };
        let mut lies = Dice::new(seed, "how many lies");
        Self {
            seed,
            binary,
            lies: *lies.pick(&[0, 0, 1, 1, 10, 30]),
            reading_memory: Duration::from_millis(*lies.pick(&[30, 400, 400])),
            instances: if dice.chance(25) { 2 } else { 1 },
            concurrent_calls: dice.number(1..6) as usize,
            concurrent_messages: dice.number(1..9) as usize,
            faults: *dice.pick(if binary { &[5, 15] } else { &[0, 15, 30, 45] }),
            doubles: *dice.pick(&[5, 15, 30]),
            storm,
            ends: moments(&mut dice, 4),
            changes: moments(&mut dice, 5),
            patience: Duration::from_millis(*dice.pick(&[20, 1200])),
            message_deadline: Duration::from_millis(*dice.pick(&[SHORT, LONG, LONG])),
            ack_deadline: Duration::from_millis(*dice.pick(&[300, 60_000, 60_000, 60_000])),
            attempts: *dice.pick(&[None, Some(5), Some(100), Some(100)]),
            late_uploads: dice.chance(25),
            bans: dice.chance(50),
            resumable: dice.chance(50),
            tables_exist: dice.chance(50),
        }
    }

    /// Whether an older reading can never land on a newer one: that is promised within a process,
    /// and no process can prevent what BigQuery does with an upload that it gave up.
    pub fn readings_keep_their_order(&self) -> bool {
        self.instances == 1 && !self.late_uploads && !self.binary
    }

    /// The same in fair weather: nothing is cut short that only needs its time.
    pub fn fair(&self) -> Self {
        Self { message_deadline: Duration::from_millis(LONG), ..self.clone() }
    }

    /// What is published as the storm begins.
    pub fn drafts(&self) -> Vec<Draft> {
        let mut dice = Dice::new(self.seed, "messages");
        let messages = dice.number(3..11);
        (0..messages)
            .map(|_| match dice.number(0..10) {
                0..7 => table(&mut dice, self.seed),
                7 => fan_out(&mut dice),
                _ => poison(&mut dice),
            })
            .collect()
    }
}

fn table(dice: &mut Dice, seed: u64) -> Draft {
    let kind = *dice.pick(&["podcasts", "episodes", "mentions"]);
    // Few terms, so that several messages want the same table.
    let term = *dice.pick(&[0, 0, 1, 2]);
    match dice.number(0..4) {
        0 if kind != "podcasts" => {
            Draft::table_of_show(kind, term, &catalogue::show_of(seed, term))
        }
        _ => Draft::table(kind, term),
    }
}

fn fan_out(dice: &mut Dice) -> Draft {
    let data = match dice.number(0..3) {
        0 => serde_json::json!({"search_term": TERMS[dice.number(0..3) as usize].text}),
        1 => serde_json::json!({"search_term": [TERMS[0].text, TERMS[1].text]}),
        _ => {
            serde_json::json!({"table": "mentions", "search_term": [TERMS[2].text, TERMS[1].text]})
        }
    };
    Draft::new(data.to_string(), Wants::FanOut)
}

fn poison(dice: &mut Dice) -> Draft {
    let (data, reason) = *dice.pick(&[
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
    Draft::new(data, Wants::Letter(reason))
}
