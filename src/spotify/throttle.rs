//! One gate before Spotify's Web API, for all messages of the process: how many calls are made at
//! once, and when none is. A ban grows when it is ignored (bans of a day are on record), so nobody
//! passes a closed gate, and who does not know whether the gate is open sends one call to find out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::meter::Meter;
use crate::retry::Backoff;

#[derive(Debug)]
pub(crate) struct Throttle {
    gate: watch::Sender<Gate>,
    permits: Arc<Semaphore>,
    patience: Duration,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    /// Nobody knows whether calls are welcome: the first one finds out, the rest wait for it.
    /// So it is at the process's start and after each cooldown.
    Untested {
        strikes: u32,
    },
    /// A call is under way to find out.
    Probing {
        strikes: u32,
    },
    Open,
    /// `strikes` counts cooldowns in a row.
    Closed {
        until: Instant,
        quota: bool,
        strikes: u32,
    },
}

impl Gate {
    fn strikes(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Untested { strikes }
            | Self::Probing { strikes }
            | Self::Closed { strikes, .. } => strikes,
        }
    }
}

/// The right to make one call. Whoever holds it tells how the call went; dropped without a word
/// (the call was cut), the gate is as if it had not been made.
pub(crate) struct Pass {
    throttle: Arc<Throttle>,
    probe: bool,
    _permit: OwnedSemaphorePermit,
}

impl Throttle {
    pub(crate) fn new(concurrent_calls: usize, patience: Duration, backoff: Backoff) -> Self {
        Self {
            gate: watch::Sender::new(Gate::Untested { strikes: 0 }),
            permits: Arc::new(Semaphore::new(concurrent_calls)),
            patience,
            backoff,
        }
    }

    /// The longest cooldown that is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether calls are known to be welcome.
    pub(crate) fn is_open(&self) -> bool {
        *self.gate.borrow() == Gate::Open
    }

    /// Waits until a call may be made. A cooldown that lasts longer than patience or the message's
    /// time is not waited for.
    pub(crate) async fn enter(self: &Arc<Self>, meter: &Meter) -> Result<Pass, Failure> {
        loop {
            self.cooled_down(meter).await?;
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return Err(Failure::ShuttingDown);
            };
            let mut probe = false;
            let mut welcome = false;
            self.gate.send_if_modified(|gate| {
                probe = match *gate {
                    Gate::Untested { .. } => true,
                    Gate::Closed { until, .. } => until <= Instant::now(),
                    Gate::Open | Gate::Probing { .. } => false,
                };
                welcome = probe || *gate == Gate::Open;
                if probe {
                    *gate = Gate::Probing { strikes: gate.strikes() };
                }
                probe
            });
            if welcome {
                return Ok(Pass { throttle: Arc::clone(self), probe, _permit: permit });
            }
        }
    }

    /// Waits out a cooldown, and a probe that is under way.
    pub(crate) async fn cooled_down(&self, meter: &Meter) -> Result<(), Failure> {
        let mut gate = self.gate.subscribe();
        loop {
            let now = *gate.borrow_and_update();
            match now {
                Gate::Open | Gate::Untested { .. } => return Ok(()),
                Gate::Probing { .. } => {
                    // The sender lives in self.
                    let _ = gate.changed().await;
                }
                Gate::Closed { until, quota, .. } => {
                    let start = Instant::now();
                    let wait = until.saturating_duration_since(start);
                    if wait.is_zero() {
                        return Ok(());
                    }
                    if wait > self.patience || until >= meter.deadline {
                        return Err(Failure::Throttled { wait, quota });
                    }
                    let _ = tokio::time::timeout_at(until, gate.changed()).await;
                    meter.throttled_ms.add_since(start);
                }
            }
        }
    }

    /// Closes the gate for `wait`, or where Spotify did not say for how long, for a time that grows
    /// with every cooldown in a row. Answers how long it stays closed.
    pub(crate) fn close(&self, wait: Option<Duration>, quota: bool) -> Duration {
        let now = Instant::now();
        let mut news = None;
        let mut left = Duration::ZERO;
        self.gate.send_modify(|gate| {
            let (open_until, strikes) = match *gate {
                Gate::Closed { until, strikes, .. } if until > now => (until, strikes),
                other => (now, other.strikes() + 1),
            };
            let wait = wait.unwrap_or_else(|| self.backoff.bound(strikes + 1));
            let until = (now + wait).max(open_until);
            if wait > self.patience && open_until.saturating_duration_since(now) <= self.patience {
                news = Some(wait);
            }
            left = until.saturating_duration_since(now);
            *gate = Gate::Closed { until, quota, strikes };
        });
        if let Some(wait) = news {
            let seconds = wait.as_secs();
            tracing::warn!(
                event = "spotify_ban",
                retry_after_seconds = seconds,
                reason = if quota { "quota_exceeded" } else { "throttled" },
                advice = "nothing is to be done but wait; messages come again by themselves",
                "Spotify wants no calls for {seconds} s; until then messages are answered 503 without a call"
            );
        }
        left
    }
}

impl Pass {
    /// Spotify answered, whatever it was, and not with 429.
    pub(crate) fn welcome(mut self) {
        if std::mem::take(&mut self.probe) {
            self.throttle.gate.send_if_modified(|gate| {
                let probing = matches!(gate, Gate::Probing { .. });
                if probing {
                    *gate = Gate::Open;
                }
                probing
            });
        }
    }

    /// Spotify answered 429.
    pub(crate) fn refused(mut self, wait: Option<Duration>, quota: bool) -> Duration {
        self.probe = false;
        self.throttle.close(wait, quota)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe {
            self.throttle.gate.send_if_modified(|gate| match *gate {
                Gate::Probing { strikes } => {
                    *gate = Gate::Untested { strikes };
                    true
                }
                _ => false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn throttle() -> Arc<Throttle> {
        let backoff =
            Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(20), attempts: 5 };
        Arc::new(Throttle::new(2, Duration::from_secs(30), backoff))
    }

    fn meter() -> Meter {
        Meter::new(Duration::from_secs(540))
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_call_goes_alone_then_as_many_as_are_allowed() {
        let (throttle, meter) = (throttle(), meter());
        let probe = throttle.enter(&meter).await.unwrap();
        assert!(throttle.enter(&meter).now_or_never().is_none());
        drop(probe);
        let probe = throttle.enter(&meter).await.unwrap();
        probe.welcome();
        let _one = throttle.enter(&meter).await.unwrap();
        let _two = throttle.enter(&meter).await.unwrap();
        assert!(throttle.enter(&meter).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_cooldown_is_waited_for_and_then_probed() {
        let (throttle, meter) = (throttle(), meter());
        throttle.enter(&meter).await.unwrap().refused(Some(Duration::from_secs(7)), false);
        let start = Instant::now();
        let probe = throttle.enter(&meter).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 7);
        assert_eq!(meter.throttled_ms.get() / 1000, 7);
        assert!(probe.probe && throttle.enter(&meter).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_one_or_one_past_the_deadline_is_not() {
        let (throttle, meter) = (throttle(), meter());
        throttle.enter(&meter).await.unwrap().refused(Some(Duration::from_secs(86_400)), true);
        let failure = throttle.enter(&meter).await.err().unwrap();
        assert!(
            matches!(failure, Failure::Throttled { quota: true, wait } if wait.as_secs() == 86_400)
        );
        // A shorter one does not open the gate sooner.
        throttle.close(Some(Duration::from_secs(1)), false);
        assert!(throttle.enter(&meter).await.is_err());

        let throttle = self::throttle();
        throttle.close(Some(Duration::from_secs(20)), false);
        assert!(throttle.enter(&Meter::new(Duration::from_secs(10))).await.is_err());
        assert!(throttle.enter(&meter).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_word_from_spotify_cooldowns_grow() {
        let (throttle, meter) = (throttle(), meter());
        let mut waits = Vec::new();
        for _ in 0..4 {
            let pass = throttle.enter(&meter).await.unwrap();
            waits.push(pass.refused(None, false).as_millis());
            // Another call of the same burst is no further strike.
            throttle.close(None, false);
        }
        assert_eq!(waits, [500, 1000, 2000, 4000]);
        throttle.enter(&meter).await.unwrap().welcome();
        assert_eq!(throttle.close(None, false).as_millis(), 500);
    }
}
