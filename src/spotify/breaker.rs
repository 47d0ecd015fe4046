//! A circuit breaker for the calls to Spotify: decides whether a call may be made now. A pure state
//! machine; [`super::throttle`] supplies the time and makes the calls wait.
//!
//! - *Closed*: Spotify answers, and all calls pass.
//! - *Cooling down* after a 429, or *backing off* after calls have failed: no call is made until a pause
//!   has passed.
//! - *Half-open*: the next call is the probe, and all others wait for its result. A success closes the
//!   breaker; anything else leads to another pause, which grows with each failure in a row. The process
//!   starts half-open.
//!
//! So a rate limit or an outage costs the process one call at a time, not one per message. If it lasts
//! for as many failures as one call has attempts, all calls that wait fail at once with the last failure.
//! One call that fails again and again while others succeed does not open the breaker.

mod failures;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;
use crate::retry::Backoff;
use failures::{Failures, Snapshot};

/// The number of cooldowns in a row after which the calls that wait fail.
const MAX_COOLDOWNS: u32 = 10;

#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// The number of cooldowns since the last success.
    cooldowns: u32,
    failures: Failures,
    /// The last failure and its time.
    last_failure: Option<(Failure, Instant)>,
    /// The last failure that all waiting calls were failed with.
    shared_failure: Option<Failure>,
    /// The number of times that waiting calls were failed.
    shared_failures: u64,
    /// The number of calls that have begun.
    calls: u64,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed,
    /// The next call is the probe.
    HalfOpen,
    /// The probe is in flight.
    Probing,
    /// No call is made until `until`, after a 429.
    CoolingDown {
        until: Instant,
        quota: bool,
    },
    /// No call is made until `until`, after transient failures.
    BackingOff {
        until: Instant,
    },
}

/// Identifies a call, with all its attempts, and holds the breaker's counters from when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallStart {
    id: u64,
    shared_failures: u64,
    failures: Snapshot,
}

/// The calls that a failure is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// The failure concerns one call; others may succeed.
    One(CallStart),
    /// The failure concerns all calls, because they make the same request.
    All(CallStart),
}

/// Whether a call may be made.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    Allowed { is_probe: bool },
    Wait { until: Option<Instant>, is_cooldown: bool },
}

/// A cooldown that has just begun.
#[derive(Debug, PartialEq)]
pub(super) struct Cooldown {
    pub(super) remaining: Duration,
    /// Whether it is too long to be waited for, unlike the cooldown before it.
    pub(super) has_become_long: bool,
}

impl Breaker {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            state: State::HalfOpen,
            cooldowns: 0,
            failures: Failures::default(),
            last_failure: None,
            shared_failure: None,
            shared_failures: 0,
            calls: 0,
            backoff,
        }
    }

    pub(super) fn begin_call(&mut self) -> CallStart {
        self.calls += 1;
        CallStart {
            id: self.calls,
            shared_failures: self.shared_failures,
            failures: self.failures.snapshot(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Decides whether the call may be made now. Fails if waiting is pointless: the message's deadline
    /// comes first, or the calls that wait have been failed. Only a caller that `may_probe` becomes the
    /// probe.
    pub(super) fn admit(
        &mut self,
        call: CallStart,
        may_probe: bool,
        now: Instant,
        deadline: Instant,
    ) -> Result<Admission, Failure> {
        if self.shared_failures > call.shared_failures
            && let Some(failure) = &self.shared_failure
        {
            return Err(failure.clone());
        }
        if self.failures.detect_outage(call.failures, self.backoff.attempts)
            && let Some((last, _)) = self.last_failure.clone()
        {
            return Err(self.fail_waiting(last));
        }
        let wait_until = |until| Ok(Admission::Wait { until, is_cooldown: false });
        match self.state {
            State::Closed => return Ok(Admission::Allowed { is_probe: false }),
            State::Probing => return wait_until(None),
            State::HalfOpen => {}
            State::BackingOff { until } => {
                if until >= deadline
                    && let Some((last, _)) = &self.last_failure
                {
                    return Err(last.clone());
                }
                if until > now {
                    return wait_until(Some(until));
                }
            }
            State::CoolingDown { .. } => {
                if let Some(until) = self.cooldown_end(now, deadline)? {
                    return Ok(Admission::Wait { until: Some(until), is_cooldown: true });
                }
            }
        }
        if !may_probe {
            return wait_until(None);
        }
        self.state = State::Probing;
        Ok(Admission::Allowed { is_probe: true })
    }

    /// Returns when the current cooldown ends, if there is one. Fails if it is too long to be waited for.
    pub(super) fn cooldown_end(
        &self,
        now: Instant,
        deadline: Instant,
    ) -> Result<Option<Instant>, Failure> {
        match self.state {
            State::CoolingDown { until, quota } if until > now => {
                let wait = until - now;
                if wait > self.backoff.max_retry_after || until >= deadline {
                    return Err(Failure::Throttled { wait, quota });
                }
                Ok(Some(until))
            }
            _ => Ok(None),
        }
    }

    /// Records a response that is neither a 429 nor a transient failure. Returns whether the state
    /// changed.
    pub(super) fn record_success(&mut self, is_probe: bool) -> bool {
        // A call that was sent before the cooldown says nothing about the time after it.
        if !is_probe && self.cooldowns > 0 {
            return false;
        }
        // The cooldown began while the probe was in flight.
        if matches!(self.state, State::CoolingDown { .. }) {
            return false;
        }
        let has_changed = self.state != State::Closed || self.failures.in_a_row() > 0;
        self.state = State::Closed;
        self.cooldowns = 0;
        self.failures.reset();
        has_changed
    }

    /// Records a transient failure. Returns a failure if it ends all calls that wait, this one included.
    pub(super) fn record_failure(
        &mut self,
        scope: Scope,
        is_probe: bool,
        failure: &Failure,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<Failure> {
        let max_retry_after = self.backoff.max_retry_after;
        let previous = self.last_failure.replace((failure.clone(), now));
        let is_first_in_a_while = previous.is_some_and(|(_, at)| now - at > max_retry_after);
        if is_first_in_a_while && self.state == State::Closed {
            self.failures.reset();
        }
        let (call, failed) = match scope {
            Scope::One(call) => (call, Some(call.id)),
            Scope::All(call) => (call, None),
        };
        self.failures.add_call(failed);
        if !is_probe && self.state != State::Closed {
            return None;
        }
        self.failures.count();
        if !is_probe && !self.failures.are_of_several_calls() {
            return None;
        }
        let is_long = retry_after.is_some_and(|retry_after| retry_after > max_retry_after);
        if !matches!(self.state, State::CoolingDown { .. }) {
            // A long `Retry-After` is returned with the message's 503 instead. The next call shows whether it
            // still applies.
            let retry_after = retry_after.filter(|_| !is_long).unwrap_or_default();
            let pause = self.backoff.jittered_delay(self.failures.in_a_row()).max(retry_after);
            self.state = State::BackingOff { until: now + pause };
        }
        let is_outage = self.failures.detect_outage(call.failures, self.backoff.attempts);
        (is_outage || is_long).then(|| self.fail_waiting(failure.clone()))
    }

    /// Records a refusal that concerns all calls, and fails those that wait. The next call is a probe,
    /// which finds out whether the refusal still holds.
    pub(super) fn record_refusal(&mut self, failure: Failure) -> Failure {
        if !matches!(self.state, State::CoolingDown { .. }) {
            self.state = State::HalfOpen;
        }
        self.fail_waiting(failure)
    }

    /// Records a 429. The cooldown lasts for `retry_after`, and not less than the backoff, which grows
    /// with each cooldown in a row.
    pub(super) fn record_429(
        &mut self,
        retry_after: Option<Duration>,
        quota: bool,
        now: Instant,
    ) -> Cooldown {
        let previous_end = match self.state {
            // The 429 of a call that was in flight when the cooldown began extends it.
            State::CoolingDown { until, .. } if until > now => until,
            _ => {
                self.cooldowns += 1;
                now
            }
        };
        let pause = retry_after.unwrap_or_default().max(self.backoff.delay_bound(self.cooldowns));
        let until = (now + pause).max(previous_end);
        let remaining = until - now;
        let max_retry_after = self.backoff.max_retry_after;
        let has_become_long = remaining > max_retry_after && previous_end - now <= max_retry_after;
        self.state = State::CoolingDown { until, quota };
        if self.cooldowns >= MAX_COOLDOWNS {
            self.fail_waiting(Failure::Throttled { wait: remaining, quota });
        }
        Cooldown { remaining, has_become_long }
    }

    /// Records that a call ended without a result. Returns whether the state changed.
    pub(super) fn record_no_result(&mut self, is_probe: bool) -> bool {
        let has_changed = is_probe && self.state == State::Probing;
        if has_changed {
            self.state = State::HalfOpen;
        }
        has_changed
    }

    /// Fails all waiting calls: those that wait for permission, and those between two attempts.
    fn fail_waiting(&mut self, failure: Failure) -> Failure {
        self.shared_failures += 1;
        self.shared_failure = Some(failure.clone());
        failure
    }
}
