//! Limits the calls to Spotify, and makes them wait, in order of arrival, as the [`Breaker`] decides. The
//! whole process shares one throttle for the Web API, and one for the token endpoint.

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::breaker::{Admission, Breaker, CallStart, Scope};
use crate::context::Context;
use crate::failure::Failure;
use crate::retry::Backoff;

#[derive(Debug)]
pub(super) struct Throttle {
    /// A change of its state wakes the waiting calls.
    breaker: watch::Sender<Breaker>,
    concurrency: Arc<Semaphore>,
    /// The right to be the probe. It is granted in order of arrival, so a call that has failed queues
    /// behind those that have not been tried.
    probe: Arc<Semaphore>,
}

/// Permission for one attempt. The holder records its result; a permit that is dropped without a result
/// leaves the breaker as if there had been no attempt.
#[derive(Debug)]
pub(super) struct Permit {
    throttle: Arc<Throttle>,
    is_probe: bool,
    result: AttemptResult,
    _concurrency: OwnedSemaphorePermit,
    _probe: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, PartialEq)]
enum AttemptResult {
    Nothing,
    /// Spotify responded. Recorded when the permit is dropped.
    Response,
    /// A result that is recorded already.
    Recorded,
}

impl Throttle {
    pub(super) fn new(concurrent_calls: usize, backoff: Backoff) -> Self {
        Self {
            breaker: watch::Sender::new(Breaker::new(backoff)),
            concurrency: Arc::new(Semaphore::new(concurrent_calls)),
            probe: Arc::new(Semaphore::new(1)),
        }
    }

    /// Returns whether the last calls succeeded.
    pub(super) fn is_closed(&self) -> bool {
        self.breaker.borrow().is_closed()
    }

    pub(super) fn begin_call(&self) -> CallStart {
        self.change(|breaker| (breaker.begin_call(), false))
    }

    /// Waits until an attempt may be made. Fails if a cooldown is too long to be waited for, or if other
    /// attempts find meanwhile that Spotify fails.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        call: CallStart,
        context: &Context,
    ) -> Result<Permit, Failure> {
        let Ok(concurrency) = Arc::clone(&self.concurrency).acquire_owned().await else {
            return Err(Failure::ShuttingDown);
        };
        let mut changes = self.breaker.subscribe();
        let mut probe = None;
        let mut next_probe = pin!(Arc::clone(&self.probe).acquire_owned());
        loop {
            changes.mark_unchanged();
            let start = Instant::now();
            let admission = self.change(|breaker| {
                let admission =
                    breaker.admit(call, probe.is_some(), start, context.deadline.answer_by());
                let has_changed = matches!(admission, Ok(Admission::Allowed { is_probe: true }));
                (admission, has_changed)
            })?;
            let (until, is_cooldown) = match admission {
                Admission::Allowed { is_probe } => {
                    return Ok(Permit {
                        throttle: Arc::clone(self),
                        is_probe,
                        result: AttemptResult::Nothing,
                        _concurrency: concurrency,
                        _probe: probe.filter(|_| is_probe),
                    });
                }
                Admission::Wait { until, is_cooldown } => (until, is_cooldown),
            };
            tokio::select! {
                // The sender lives in self.
                _ = changes.changed() => {}
                granted = &mut next_probe, if probe.is_none() => probe = granted.ok(),
                () = sleep_until(until.unwrap_or(start)), if probe.is_some() && until.is_some() => {}
            }
            if is_cooldown {
                context.meter.throttled_ms.add_since(start);
            }
        }
    }

    /// Waits until the current cooldown has passed, if there is one. Fails if it is too long.
    pub(super) async fn wait_for_cooldown(&self, context: &Context) -> Result<(), Failure> {
        let mut changes = self.breaker.subscribe();
        loop {
            let start = Instant::now();
            let end =
                changes.borrow_and_update().cooldown_end(start, context.deadline.answer_by())?;
            let Some(end) = end else { return Ok(()) };
            let _ = timeout_at(end, changes.changed()).await;
            context.meter.throttled_ms.add_since(start);
        }
    }

    /// Begins a cooldown after a 429. Returns how long it lasts.
    pub(super) fn cool_down(&self, retry_after: Option<Duration>, quota: bool) -> Duration {
        let now = Instant::now();
        let cooldown = self.change(|breaker| (breaker.record_429(retry_after, quota, now), true));
        if cooldown.has_become_long {
            let seconds = cooldown.remaining.as_secs();
            tracing::warn!(
                event = "spotify_ban",
                retry_after_seconds = seconds,
                reason = if quota { "quota_exceeded" } else { "throttled" },
                advice = "wait; the messages are retried",
                "Spotify accepts no calls for {seconds} s; until then the service answers messages with 503 and makes no call"
            );
        }
        cooldown.remaining
    }

    /// Changes the breaker. `change` also returns whether to wake the calls that wait.
    fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> (T, bool)) -> T {
        let mut result = None;
        self.breaker.send_if_modified(|breaker| {
            let (value, has_changed) = change(breaker);
            result = Some(value);
            has_changed
        });
        #[expect(clippy::expect_used, reason = "send_if_modified calls its argument once")]
        result.expect("a result")
    }
}

impl Permit {
    /// Records that Spotify responded. A later result replaces this one.
    pub(super) fn record_response(&mut self) {
        self.result = AttemptResult::Response;
    }

    /// Records a 429. Returns how long the cooldown lasts.
    pub(super) fn record_429(&mut self, retry_after: Option<Duration>, quota: bool) -> Duration {
        self.result = AttemptResult::Recorded;
        self.throttle.cool_down(retry_after, quota)
    }

    /// Records a transient failure. Returns a failure if it ends all calls that wait, this one included.
    pub(super) fn record_failure(
        mut self,
        scope: Scope,
        failure: &Failure,
        retry_after: Option<Duration>,
    ) -> Option<Failure> {
        self.result = AttemptResult::Recorded;
        let (is_probe, now) = (self.is_probe, Instant::now());
        self.throttle.change(|breaker| {
            (breaker.record_failure(scope, is_probe, failure, retry_after, now), true)
        })
    }

    /// Records a refusal that concerns all calls, and fails those that wait.
    pub(super) fn record_refusal(mut self, failure: Failure) -> Failure {
        self.result = AttemptResult::Recorded;
        self.throttle.change(|breaker| (breaker.record_refusal(failure), true))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let is_probe = self.is_probe;
        match self.result {
            AttemptResult::Recorded => {}
            AttemptResult::Response => self.throttle.change(|it| ((), it.record_success(is_probe))),
            AttemptResult::Nothing => {
                self.throttle.change(|it| ((), it.record_no_result(is_probe)))
            }
        }
    }
}
