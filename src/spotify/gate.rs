//! Decides whether calls to Spotify may be made now: a state machine without a clock, locks or I/O.
//!
//! A ban or an outage that one call finds out holds for all of them. While the state is unknown or
//! Spotify fails, one call at a time goes out, and its result counts for all calls that wait. A single
//! call that fails while others succeed stops no other.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;
use crate::retry::Backoff;

/// 429 answers in a row, with a cooldown after each, until waiting messages are handed back.
const MAX_COOLDOWNS: u32 = 10;

#[derive(Debug)]
pub(super) struct Gate {
    state: State,
    /// Cooldowns in a row: since the last success.
    cooldowns: u32,
    /// Failures, and how many of them there were at the last success. Calls that were in flight when
    /// the gate closed do not count.
    failures: u64,
    failures_at_success: u64,
    /// Whether an outage was found since the last success. One failure is enough to find it again.
    outage: bool,
    by: By,
    /// The last failure, for messages that cannot wait for the next call, and its time.
    last: Option<(Failure, Instant)>,
    finding: Option<Failure>,
    findings: u64,
    tickets: u64,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing is known: at the start of the process, after a probe without a result, and after a
    /// refusal of all calls.
    Unknown,
    /// One call is in flight to find out.
    Probing,
    Open,
    Banned {
        until: Instant,
        quota: bool,
    },
    Failing {
        until: Instant,
    },
}

/// Which calls failed since the last success.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    None,
    One(u64),
    Several,
}

/// Identifies one call, with all its attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    call: u64,
    /// How many findings there were when the call began. A later one ends it.
    findings: u64,
    /// How many failures there were when the call began.
    failures: u64,
    /// Whether there was an outage when the call began.
    outage: bool,
}

/// Which calls a failure concerns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// Other calls may succeed.
    Call(Ticket),
    /// All calls make the same request, so all would fail.
    All(Ticket),
}

impl Scope {
    fn ticket(self) -> Ticket {
        let (Self::Call(ticket) | Self::All(ticket)) = self;
        ticket
    }
}

/// Whether a call may be made.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    Go { probe: bool },
    Wait { until: Option<Instant>, banned: bool },
}

/// The cooldown after a 429.
#[derive(Debug, PartialEq)]
pub(super) struct Cooldown {
    pub(super) left: Duration,
    /// Whether it is longer than messages wait, and the one before was not.
    pub(super) is_ban: bool,
}

impl Gate {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            state: State::Unknown,
            cooldowns: 0,
            failures: 0,
            failures_at_success: 0,
            outage: false,
            by: By::None,
            last: None,
            finding: None,
            findings: 0,
            tickets: 0,
            backoff,
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket {
            call: self.tickets,
            findings: self.findings,
            failures: self.failures,
            outage: self.outage,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Decides whether the call may be made now. Only a caller that `may_probe` becomes the probe.
    pub(super) fn admit(
        &mut self,
        ticket: Ticket,
        may_probe: bool,
        now: Instant,
        deadline: Instant,
    ) -> Result<Admission, Failure> {
        if self.findings > ticket.findings
            && let Some(finding) = &self.finding
        {
            return Err(finding.clone());
        }
        if self.is_lasting(ticket)
            && let Some((last, _)) = self.last.clone()
        {
            self.outage = true;
            return Err(self.share(last));
        }
        let until = match self.state {
            State::Open => return Ok(Admission::Go { probe: false }),
            State::Probing => return Ok(Admission::Wait { until: None, banned: false }),
            State::Unknown => now,
            State::Failing { until }
                if until >= deadline
                    && let Some((last, _)) = &self.last =>
            {
                return Err(last.clone());
            }
            State::Failing { until } => until,
            State::Banned { .. } => match self.ban(now, deadline)? {
                Some(until) => return Ok(Admission::Wait { until: Some(until), banned: true }),
                None => now,
            },
        };
        if until > now {
            return Ok(Admission::Wait { until: Some(until), banned: false });
        }
        if !may_probe {
            return Ok(Admission::Wait { until: None, banned: false });
        }
        self.state = State::Probing;
        Ok(Admission::Go { probe: true })
    }

    /// Returns when the current cooldown ends, or an error if that is too late to wait for.
    pub(super) fn ban(&self, now: Instant, deadline: Instant) -> Result<Option<Instant>, Failure> {
        match self.state {
            State::Banned { until, quota } if until > now => {
                let wait = until - now;
                if wait > self.backoff.max_retry_after || until >= deadline {
                    return Err(Failure::Throttled { wait, quota });
                }
                Ok(Some(until))
            }
            _ => Ok(None),
        }
    }

    /// Records an answer that is neither a 429 nor a transient failure. Returns whether the state changed.
    pub(super) fn succeeded(&mut self, probe: bool) -> bool {
        // A call that was sent before a ban says nothing about the time after it.
        if !probe && self.cooldowns > 0 {
            return false;
        }
        // The ban came while the probe was in flight.
        if matches!(self.state, State::Banned { .. }) {
            return false;
        }
        let news = self.state != State::Open || self.in_a_row() > 0;
        self.state = State::Open;
        self.cooldowns = 0;
        self.forget();
        news
    }

    /// Records a transient failure. Returns a failure if it ends all calls that wait.
    pub(super) fn failed(
        &mut self,
        scope: Scope,
        probe: bool,
        failure: &Failure,
        after: Option<Duration>,
        now: Instant,
    ) -> Option<Failure> {
        let last = self.last.replace((failure.clone(), now));
        let is_old = last.is_some_and(|(_, at)| now - at > self.backoff.max_retry_after);
        if is_old && self.state == State::Open {
            self.forget();
        }
        self.by = match (scope, self.by) {
            (Scope::Call(ticket), By::None) => By::One(ticket.call),
            (Scope::Call(ticket), By::One(call)) if call == ticket.call => self.by,
            _ => By::Several,
        };
        if !probe && self.state != State::Open {
            return None;
        }
        self.failures += 1;
        if !probe && self.by != By::Several {
            return None;
        }
        let wait = self.backoff.pause(self.in_a_row());
        let long = after.is_some_and(|after| after > self.backoff.max_retry_after);
        if !matches!(self.state, State::Banned { .. }) {
            // The failure reports a long pause to Pub/Sub. The next call finds out whether it holds.
            let after = after.filter(|_| !long).unwrap_or_default();
            self.state = State::Failing { until: now + wait.max(after) };
        }
        let lasting = self.is_lasting(scope.ticket());
        self.outage |= lasting;
        (lasting || long).then(|| self.share(failure.clone()))
    }

    fn forget(&mut self) {
        (self.failures_at_success, self.by, self.outage) = (self.failures, By::None, false);
    }

    fn in_a_row(&self) -> u32 {
        u32::try_from(self.failures - self.failures_at_success).unwrap_or(u32::MAX - 1)
    }

    /// Returns whether the call has seen all attempts fail, and not only its own.
    fn is_lasting(&self, ticket: Ticket) -> bool {
        let seen = self.failures - self.failures_at_success.max(ticket.failures);
        let attempts = if ticket.outage && self.outage { 1 } else { self.backoff.attempts };
        self.by == By::Several && seen >= u64::from(attempts)
    }

    /// Ends all calls that wait, and those that are between two attempts, with this failure.
    fn share(&mut self, failure: Failure) -> Failure {
        self.findings += 1;
        self.finding = Some(failure.clone());
        failure
    }

    /// Records a refusal that concerns all calls, and ends those that wait. The next call finds out
    /// whether it still holds.
    pub(super) fn refused(&mut self, failure: Failure) -> Failure {
        if !matches!(self.state, State::Banned { .. }) {
            self.state = State::Unknown;
        }
        self.share(failure)
    }

    /// Records a 429: no call is made for `wait`, or for a time that grows with every cooldown in a row
    /// if that is longer.
    pub(super) fn banned(&mut self, wait: Option<Duration>, quota: bool, now: Instant) -> Cooldown {
        let before = match self.state {
            // Another call of the same burst.
            State::Banned { until, .. } if until > now => until,
            _ => {
                self.cooldowns += 1;
                now
            }
        };
        let wait = wait.unwrap_or_default().max(self.backoff.max_pause(self.cooldowns));
        let until = (now + wait).max(before);
        let left = until - now;
        let is_ban =
            left > self.backoff.max_retry_after && before - now <= self.backoff.max_retry_after;
        self.state = State::Banned { until, quota };
        if self.cooldowns >= MAX_COOLDOWNS {
            self.share(Failure::Throttled { wait: left, quota });
        }
        Cooldown { left, is_ban }
    }

    /// Records that a call ended without a result. Returns whether the state changed.
    pub(super) fn cut_off(&mut self, probe: bool) -> bool {
        let news = probe && self.state == State::Probing;
        if news {
            self.state = State::Unknown;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
    const BACKOFF: Backoff = Backoff {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(20),
        attempts: 5,
        max_retry_after: MAX_RETRY_AFTER,
    };

    struct Run {
        gate: Gate,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            Self { gate: Gate::new(BACKOFF), now: Instant::now() }
        }

        fn open() -> Self {
            let mut run = Self::new();
            let ticket = run.gate.ticket();
            assert_eq!(run.admit(ticket).unwrap(), Admission::Go { probe: true });
            run.gate.succeeded(true);
            run
        }

        fn admit(&mut self, ticket: Ticket) -> Result<Admission, Failure> {
            self.gate.admit(ticket, true, self.now, self.now + Duration::from_secs(540))
        }

        /// Waits as long as the gate says, and is the probe then.
        fn probe(&mut self, ticket: Ticket) {
            match self.admit(ticket).unwrap() {
                Admission::Go { probe } => assert!(probe),
                Admission::Wait { until, .. } => {
                    self.now = until.unwrap();
                    assert_eq!(self.admit(ticket).unwrap(), Admission::Go { probe: true });
                }
            }
        }

        fn fails(&mut self, ticket: Ticket, probe: bool) -> Option<Failure> {
            let failure = failure(&ticket.call.to_string());
            self.gate.failed(Scope::Call(ticket), probe, &failure, None, self.now)
        }
    }

    fn failure(detail: &str) -> Failure {
        Failure::SpotifyUnavailable { call: String::new(), detail: detail.to_owned(), after: None }
    }

    #[test]
    fn five_failed_probes_of_several_calls_end_all_that_wait() {
        let mut run = Run::new();
        let tickets: Vec<Ticket> = (0..8).map(|_| run.gate.ticket()).collect();
        for ticket in &tickets[..4] {
            run.probe(*ticket);
            assert!(matches!(run.admit(tickets[7]), Ok(Admission::Wait { until: None, .. })));
            assert!(run.fails(*ticket, true).is_none());
        }
        run.probe(tickets[4]);
        assert!(run.fails(tickets[4], true).is_some());
        for ticket in tickets {
            assert!(run.admit(ticket).unwrap_err().to_string().ends_with(": 5"));
        }
        // After that, one failed try is enough for all that came meanwhile.
        let (late, later) = (run.gate.ticket(), run.gate.ticket());
        run.probe(late);
        assert!(run.fails(late, true).is_some() && run.admit(later).is_err());
        let next = run.gate.ticket();
        run.probe(next);
        run.gate.succeeded(true);
        assert!(run.gate.is_open());
    }

    #[test]
    fn failures_before_a_call_began_do_not_count_for_it() {
        let mut run = Run::new();
        let early = run.gate.ticket();
        for _ in 0..3 {
            run.probe(early);
            run.fails(early, true);
        }
        // Given up here by its message. The next one has all attempts.
        let late = run.gate.ticket();
        for n in 1..=5 {
            run.probe(late);
            assert_eq!(run.fails(late, true).is_some(), n == 5);
        }
    }

    #[test]
    fn one_call_that_fails_again_and_again_ends_no_other() {
        let mut run = Run::open();
        let bad = run.gate.ticket();
        for _ in 0..9 {
            assert!(run.fails(bad, false).is_none() && run.gate.is_open());
        }
        // Nor where it is the probe.
        let mut run = Run::new();
        let (bad, other) = (run.gate.ticket(), run.gate.ticket());
        for _ in 0..9 {
            run.probe(bad);
            assert!(run.fails(bad, true).is_none());
        }
        run.probe(other);
        run.gate.succeeded(true);
        assert!(run.gate.is_open());
    }

    #[test]
    fn a_second_call_that_fails_closes_the_gate_and_any_success_opens_it() {
        let mut run = Run::open();
        let (one, two, three) = (run.gate.ticket(), run.gate.ticket(), run.gate.ticket());
        assert!(run.fails(one, false).is_none());
        assert!(run.gate.succeeded(false));
        assert!(run.fails(two, false).is_none() && run.gate.is_open());
        assert!(run.fails(one, false).is_none() && !run.gate.is_open());
        // Calls of the same burst are one failure.
        for _ in 0..9 {
            assert!(run.fails(three, false).is_none());
        }
        assert!(run.gate.succeeded(false) && run.gate.is_open());
    }

    #[test]
    fn a_failure_of_long_ago_says_nothing_about_now() {
        let mut run = Run::open();
        let (bad, other) = (run.gate.ticket(), run.gate.ticket());
        for _ in 0..5 {
            run.fails(bad, false);
        }
        run.now += MAX_RETRY_AFTER + Duration::from_secs(1);
        assert!(run.fails(other, false).is_none() && run.gate.is_open());
    }

    #[test]
    fn a_refusal_of_all_calls_is_shared_and_then_probed() {
        let mut run = Run::open();
        let waiting = run.gate.ticket();
        run.gate.refused(Failure::Premium("x".to_owned()));
        assert!(matches!(run.admit(waiting), Err(Failure::Premium(_))));
        let next = run.gate.ticket();
        run.probe(next);
    }

    #[test]
    fn a_failure_of_all_calls_needs_no_second_one() {
        let mut run = Run::new();
        let ticket = run.gate.ticket();
        for n in 1..=5 {
            run.probe(ticket);
            let all = Scope::All(ticket);
            let shared = run.gate.failed(all, true, &failure("x"), None, run.now);
            assert_eq!(shared.is_some(), n == 5);
        }
    }

    #[test]
    fn a_long_pause_is_told_to_all_that_wait_and_tried_again_by_the_next() {
        let mut run = Run::new();
        let (one, two) = (run.gate.ticket(), run.gate.ticket());
        run.probe(one);
        let hour = Some(Duration::from_secs(3600));
        let shared = run.gate.failed(Scope::Call(one), true, &failure("x"), hour, run.now);
        assert!(shared.is_some() && run.admit(two).is_err());
        let three = run.gate.ticket();
        run.probe(three);
        // A short one is waited for.
        let short = Duration::from_secs(25);
        run.gate.failed(Scope::Call(three), true, &failure("x"), Some(short), run.now);
        let now = run.now;
        let admission = run.admit(three).unwrap();
        assert_eq!(admission, Admission::Wait { until: Some(now + short), banned: false });
        // But not past the deadline.
        let deadline = now + Duration::from_secs(20);
        assert!(run.gate.admit(three, true, now, deadline).is_err());
    }

    #[test]
    fn cooldowns_grow_and_are_never_shorter_than_spotify_says() {
        let mut run = Run::new();
        let ticket = run.gate.ticket();
        let (zero, seven) = (Some(Duration::ZERO), Some(Duration::from_secs(7)));
        for (wait, millis) in [(None, 500), (zero, 1000), (zero, 2000), (seven, 7000), (None, 8000)]
        {
            run.probe(ticket);
            assert_eq!(run.gate.banned(wait, false, run.now).left.as_millis(), millis);
            // Another call of the same burst is no further cooldown.
            run.gate.banned(None, false, run.now);
        }
        // A call from before the ban does not open the gate.
        assert!(!run.gate.succeeded(false));
        run.probe(ticket);
        assert!(!run.gate.succeeded(false));
        assert!(run.gate.succeeded(true));
        assert_eq!(run.gate.banned(None, false, run.now).left.as_millis(), 500);
    }

    #[test]
    fn cooldowns_that_do_not_end_are_shared() {
        let mut run = Run::new();
        let waiting = run.gate.ticket();
        for _ in 0..MAX_COOLDOWNS {
            let ticket = run.gate.ticket();
            run.probe(ticket);
            run.gate.banned(None, false, run.now);
        }
        assert!(matches!(run.admit(waiting), Err(Failure::Throttled { .. })));
    }

    #[test]
    fn a_ban_is_news_once() {
        let mut run = Run::new();
        let day = Some(Duration::from_secs(86_400));
        assert!(run.gate.banned(day, true, run.now).is_ban);
        let second = run.gate.banned(Some(Duration::from_secs(1)), true, run.now);
        assert!(!second.is_ban && Some(second.left) == day);
        let ticket = run.gate.ticket();
        assert!(matches!(run.admit(ticket), Err(Failure::Throttled { quota: true, .. })));
    }

    #[test]
    fn a_probe_that_was_cut_off_leaves_the_next_to_find_out() {
        let mut run = Run::new();
        let ticket = run.gate.ticket();
        run.probe(ticket);
        assert!(run.gate.cut_off(true) && !run.gate.cut_off(false));
        run.probe(ticket);
    }
}
