//! Spotify's rate limits (bans) and the calls during each. When a ban begins, a process may have as many
//! calls in flight as it makes concurrently. A process that starts later may make one call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A ban that is longer than the fault phase of any seed.
pub const LONG_BAN: Duration = Duration::from_secs(86_400);

pub struct Bans {
    concurrent_calls: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Processes that have called the Web API.
    processes: BTreeSet<String>,
    bans: Vec<Ban>,
}

struct Ban {
    until: Instant,
    length: Duration,
    /// The process whose call was answered with the ban. `None` for the token endpoint.
    first_process: Option<String>,
    /// Processes that had called the Web API before the ban.
    processes_before: BTreeSet<String>,
    calls: BTreeMap<String, usize>,
}

impl Bans {
    pub fn new(concurrent_calls: usize) -> Self {
        Self { concurrent_calls, state: Mutex::default() }
    }

    /// Counts a call to the Web API. Returns the rest of the current ban.
    pub fn call(&self, process: &str) -> Option<Duration> {
        let mut state = self.state.lock().unwrap();
        state.processes.insert(process.to_owned());
        let now = Instant::now();
        let ban = state.bans.last_mut().filter(|ban| ban.until > now)?;
        *ban.calls.entry(process.to_owned()).or_default() += 1;
        Some(ban.until - now)
    }

    /// Starts a ban. Returns `false` if there is one already.
    pub fn start(&self, first_process: Option<&str>, length: Duration) -> bool {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        if state.bans.last().is_some_and(|ban| ban.until > now) {
            return false;
        }
        let ban = Ban {
            until: now + length,
            length,
            first_process: first_process.map(str::to_owned),
            processes_before: state.processes.clone(),
            calls: BTreeMap::new(),
        };
        state.bans.push(ban);
        true
    }

    /// Ends the long bans. Returns whether there was one.
    pub fn end_long_bans(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let mut long = state.bans.iter_mut().filter(|ban| ban.length == LONG_BAN).peekable();
        let any = long.peek().is_some();
        long.for_each(|ban| ban.until = ban.until.min(now));
        any
    }

    /// Returns an error for each process that called too often during a ban.
    pub fn violations(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let violation = |ban: &Ban, process: &str, calls: usize| {
            let allowed = match (ban.processes_before.contains(process), &ban.first_process) {
                (false, _) => 1,
                (true, Some(first)) if first == process => self.concurrent_calls - 1,
                (true, _) => self.concurrent_calls,
            };
            (calls > allowed).then(|| {
                format!(
                    "{process} made {calls} calls during a ban of {:?}; at most {allowed} were in flight",
                    ban.length
                )
            })
        };
        let all = state.bans.iter().flat_map(|ban| {
            ban.calls.iter().filter_map(move |(process, calls)| violation(ban, process, *calls))
        });
        all.collect()
    }
}
