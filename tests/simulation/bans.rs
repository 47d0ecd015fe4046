//! Spotify's bans, and who called while one lasted. A process that was at work when the ban came may
//! have as many calls under way as it makes at once, less the one that was told; a process that
//! starts later finds out with one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// What Spotify says of a ban that no run outlasts.
pub const DAY: Duration = Duration::from_secs(86_400);

pub struct Bans {
    concurrent_calls: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Processes that have called the Web API.
    known: BTreeSet<String>,
    bans: Vec<Ban>,
}

struct Ban {
    until: Instant,
    length: Duration,
    /// Whose call it answered; nobody's where the token endpoint told it.
    told: Option<String>,
    /// Processes that had called before.
    known: BTreeSet<String>,
    calls: BTreeMap<String, usize>,
}

impl Bans {
    pub fn new(concurrent_calls: usize) -> Self {
        Self { concurrent_calls, state: Mutex::default() }
    }

    /// Counts a call to the Web API, and answers how long the ban lasts that it runs into.
    pub fn call(&self, process: &str) -> Option<Duration> {
        let mut state = self.state.lock().unwrap();
        state.known.insert(process.to_owned());
        let now = Instant::now();
        let ban = state.bans.last_mut().filter(|ban| ban.until > now)?;
        *ban.calls.entry(process.to_owned()).or_default() += 1;
        Some(ban.until - now)
    }

    /// From now on, for so long. Not while another ban lasts.
    pub fn announce(&self, told: Option<&str>, length: Duration) -> bool {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        if state.bans.last().is_some_and(|ban| ban.until > now) {
            return false;
        }
        let ban = Ban {
            until: now + length,
            length,
            told: told.map(str::to_owned),
            known: state.known.clone(),
            calls: BTreeMap::new(),
        };
        state.bans.push(ban);
        true
    }

    /// The day is over. Answers whether there was one.
    pub fn lift(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let mut days = state.bans.iter_mut().filter(|ban| ban.length == DAY).peekable();
        let any = days.peek().is_some();
        days.for_each(|ban| ban.until = ban.until.min(now));
        any
    }

    /// Processes that called too often in a ban.
    pub fn complaints(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let complaint = |ban: &Ban, process: &str, calls: usize| {
            let allowed = match (ban.known.contains(process), ban.told.as_deref()) {
                (false, _) => 1,
                (true, Some(told)) if told == process => self.concurrent_calls - 1,
                (true, _) => self.concurrent_calls,
            };
            (calls > allowed).then(|| {
                format!(
                    "in a ban of {:?} {process} called {calls} times, at most {allowed} could not know",
                    ban.length
                )
            })
        };
        let all = state.bans.iter().flat_map(|ban| {
            ban.calls.iter().filter_map(move |(process, calls)| complaint(ban, process, *calls))
        });
        all.collect()
    }
}
