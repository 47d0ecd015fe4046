//! Limits the calls of the process to Spotify and makes them wait, in order of arrival, as the
//! [`Gate`] decides.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::gate::{Admission, Gate, Scope, Ticket};
use crate::context::Context;
use crate::failure::Failure;
use crate::retry::Backoff;

#[derive(Debug)]
pub(super) struct Throttle {
    gate: watch::Sender<Gate>,
    permits: Arc<Semaphore>,
    /// The right to probe. It is granted in order of arrival, so that a call that has failed goes
    /// behind those that have not been tried.
    turn: Arc<Semaphore>,
}

/// The right to make one call. The holder reports the result; a pass that is dropped without one
/// leaves the gate as if the call had not been made.
#[derive(Debug)]
pub(super) struct Pass {
    throttle: Arc<Throttle>,
    probe: bool,
    result: Reported,
    _permit: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, PartialEq)]
enum Reported {
    Nothing,
    Answered,
    Done,
}

impl Throttle {
    pub(super) fn new(concurrent_calls: usize, backoff: Backoff) -> Self {
        Self {
            gate: watch::Sender::new(Gate::new(backoff)),
            permits: Arc::new(Semaphore::new(concurrent_calls)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Returns whether the last calls succeeded.
    pub(super) fn is_open(&self) -> bool {
        self.gate.borrow().is_open()
    }

    /// Begins a call. A finding about Spotify from now on ends it.
    pub(super) fn ticket(&self) -> Ticket {
        self.change(|gate| (gate.ticket(), false))
    }

    /// Waits until a call may be made. Fails if a cooldown lasts longer than patience or the message's
    /// deadline allows, or if another call finds out meanwhile that Spotify fails.
    pub(super) async fn enter(
        self: &Arc<Self>,
        ticket: Ticket,
        context: &Context,
    ) -> Result<Pass, Failure> {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return Err(Failure::ShuttingDown);
        };
        let mut news = self.gate.subscribe();
        let mut turn = None;
        let mut next_turn = pin!(Arc::clone(&self.turn).acquire_owned());
        loop {
            news.mark_unchanged();
            let start = Instant::now();
            let admission = self.change(|gate| {
                let admission =
                    gate.admit(ticket, turn.is_some(), start, context.deadline.answer_by());
                let news = matches!(admission, Ok(Admission::Go { probe: true }));
                (admission, news)
            })?;
            let (until, banned) = match admission {
                Admission::Go { probe } => {
                    return Ok(Pass {
                        throttle: Arc::clone(self),
                        probe,
                        result: Reported::Nothing,
                        _permit: permit,
                        _turn: turn.filter(|_| probe),
                    });
                }
                Admission::Wait { until, banned } => (until, banned),
            };
            tokio::select! {
                // The sender lives in self.
                _ = news.changed() => {}
                granted = &mut next_turn, if turn.is_none() => turn = granted.ok(),
                () = sleep_until(until.unwrap_or(start)), if turn.is_some() && until.is_some() => {}
            }
            if banned {
                context.meter.throttled_ms.add_since(start);
            }
        }
    }

    /// Waits until a cooldown has passed.
    pub(super) async fn cooled_down(&self, context: &Context) -> Result<(), Failure> {
        let mut news = self.gate.subscribe();
        loop {
            let start = Instant::now();
            let ban = news.borrow_and_update().ban(start, context.deadline.answer_by())?;
            let Some(until) = ban else { return Ok(()) };
            let _ = timeout_at(until, news.changed()).await;
            context.meter.throttled_ms.add_since(start);
        }
    }

    /// Makes no call for `wait`, or for a time that grows with every cooldown in a row if that is
    /// longer. Returns how long it lasts.
    pub(super) fn close(&self, wait: Option<Duration>, quota: bool) -> Duration {
        let cooldown = self.change(|gate| (gate.banned(wait, quota, Instant::now()), true));
        if cooldown.is_ban {
            let seconds = cooldown.left.as_secs();
            tracing::warn!(
                event = "spotify_ban",
                retry_after_seconds = seconds,
                reason = if quota { "quota_exceeded" } else { "throttled" },
                advice = "nothing to do but wait; the messages are retried",
                "Spotify wants no calls for {seconds} s; until then messages are answered 503 without a call"
            );
        }
        cooldown.left
    }

    /// Changes the gate. `change` also returns whether to wake the calls that wait.
    fn change<T>(&self, change: impl FnOnce(&mut Gate) -> (T, bool)) -> T {
        let mut result = None;
        self.gate.send_if_modified(|gate| {
            let (value, news) = change(gate);
            result = Some(value);
            news
        });
        #[expect(clippy::expect_used, reason = "send_if_modified calls its argument once")]
        result.expect("a result")
    }
}

impl Pass {
    /// Records that Spotify answered. A later report replaces this one.
    pub(super) fn answered(&mut self) {
        self.result = Reported::Answered;
    }

    /// Records a 429. Returns for how long no call is made.
    pub(super) fn banned(&mut self, wait: Option<Duration>, quota: bool) -> Duration {
        self.result = Reported::Done;
        self.throttle.close(wait, quota)
    }

    /// Records a transient failure. Returns a failure if it ends all calls that wait.
    pub(super) fn failed(
        mut self,
        scope: Scope,
        failure: &Failure,
        after: Option<Duration>,
    ) -> Option<Failure> {
        self.result = Reported::Done;
        let now = Instant::now();
        self.throttle.change(|gate| (gate.failed(scope, self.probe, failure, after, now), true))
    }

    /// Records a refusal that concerns all calls, and ends those that wait.
    pub(super) fn refused(mut self, failure: Failure) -> Failure {
        self.result = Reported::Done;
        self.throttle.change(|gate| (gate.refused(failure), true))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        match self.result {
            Reported::Done => {}
            Reported::Answered => self.throttle.change(|gate| ((), gate.succeeded(self.probe))),
            Reported::Nothing => self.throttle.change(|gate| ((), gate.cut_off(self.probe))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    fn throttle(calls: usize) -> Arc<Throttle> {
        let backoff = Backoff {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
            attempts: 5,
            max_retry_after: Duration::from_secs(30),
        };
        Arc::new(Throttle::new(calls, backoff))
    }

    fn context() -> Context {
        Context::new(Duration::from_secs(540))
    }

    async fn enter(throttle: &Arc<Throttle>, context: &Context) -> Result<Pass, Failure> {
        throttle.enter(throttle.ticket(), context).await
    }

    fn failure() -> Failure {
        Failure::SpotifyUnavailable { call: "x".to_owned(), detail: "500".to_owned(), after: None }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_call_goes_alone_then_as_many_as_are_allowed() {
        let (throttle, context) = (throttle(2), context());
        let probe = enter(&throttle, &context).await.unwrap();
        assert!(enter(&throttle, &context).now_or_never().is_none());
        drop(probe);
        let mut probe = enter(&throttle, &context).await.unwrap();
        probe.answered();
        drop(probe);
        let _one = enter(&throttle, &context).await.unwrap();
        let _two = enter(&throttle, &context).await.unwrap();
        assert!(enter(&throttle, &context).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_cooldown_is_waited_for_and_then_probed() {
        let (throttle, context) = (throttle(2), context());
        enter(&throttle, &context).await.unwrap().banned(Some(Duration::from_secs(7)), false);
        let start = Instant::now();
        let probe = enter(&throttle, &context).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 7);
        assert_eq!(context.meter.throttled_ms.get() / 1000, 7);
        assert!(probe.probe && enter(&throttle, &context).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_one_or_one_past_the_deadline_is_not() {
        let (throttle, context) = (self::throttle(2), context());
        enter(&throttle, &context).await.unwrap().banned(Some(Duration::from_secs(86_400)), true);
        let failure = enter(&throttle, &context).await.err().unwrap();
        assert!(
            matches!(failure, Failure::Throttled { quota: true, wait } if wait.as_secs() == 86_400)
        );
        // A shorter one does not open the gate sooner.
        throttle.close(Some(Duration::from_secs(1)), false);
        assert!(enter(&throttle, &context).await.is_err());

        let throttle = self::throttle(2);
        throttle.close(Some(Duration::from_secs(20)), false);
        let short = Context::new(Duration::from_secs(10));
        assert!(enter(&throttle, &short).await.is_err());
        assert!(throttle.cooled_down(&short).await.is_err());
        assert!(enter(&throttle, &context).await.is_ok());
    }

    /// A call that fails each time it is made, and takes 20 s for that.
    async fn hangs(throttle: &Arc<Throttle>, context: &Context, calls: &mut usize) -> Failure {
        let ticket = throttle.ticket();
        loop {
            let pass = match throttle.enter(ticket, context).await {
                Ok(pass) => pass,
                Err(shared) => return shared,
            };
            *calls += 1;
            tokio::time::sleep(Duration::from_secs(20)).await;
            if let Some(shared) = pass.failed(Scope::Call(ticket), &failure(), None) {
                return shared;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_is_found_out_by_all_together() {
        for permits in [1, 2, 8] {
            let (throttle, context) = (throttle(permits), context());
            let start = Instant::now();
            let mut calls = [0; 8];
            let all = calls.iter_mut().map(|calls| hangs(&throttle, &context, calls));
            join_all(all).await;
            // Five calls with pauses of at most 0.5, 1, 2 and 4 s, each by another message.
            assert!(start.elapsed() < Duration::from_secs(108), "{:?}", start.elapsed());
            assert_eq!(calls, [1, 1, 1, 1, 1, 0, 0, 0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_releases_those_that_wait_for_a_hanging_probe() {
        let (throttle, context) = (throttle(8), context());
        let mut probe = enter(&throttle, &context).await.unwrap();
        probe.answered();
        drop(probe);
        let (mut early, one, two) = (
            enter(&throttle, &context).await.unwrap(),
            enter(&throttle, &context).await.unwrap(),
            enter(&throttle, &context).await.unwrap(),
        );
        for pass in [one, two] {
            pass.failed(Scope::Call(throttle.ticket()), &failure(), None);
        }
        let _hanging = enter(&throttle, &context).await.unwrap();
        assert!(!throttle.is_open());
        let mut waiting = Box::pin(enter(&throttle, &context));
        assert!(waiting.as_mut().now_or_never().is_none());
        early.answered();
        drop(early);
        assert!(throttle.is_open() && waiting.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_call_that_is_given_up_holds_up_no_other() {
        let (throttle, context) = (throttle(8), context());
        let mut probe = enter(&throttle, &context).await.unwrap();
        let mut given_up = Box::pin(enter(&throttle, &context));
        assert!(given_up.as_mut().now_or_never().is_none());
        let mut waiting = Box::pin(enter(&throttle, &context));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(given_up);
        probe.answered();
        drop(probe);
        assert!(waiting.now_or_never().is_some());
    }
}
