//! Retries: the number of attempts at a call and the delays between them. Contains no service logic:
//! callers decide which errors are worth a retry.

use std::time::{Duration, SystemTime};

use rand::RngExt;
use tokio::time::sleep;

/// The longest pause that [`retry_after`] returns.
const MAX_PARSED_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Exponential backoff with full jitter: each delay is drawn at random from zero to a bound that doubles
/// with each failure, so that clients do not retry in lockstep
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest delay after the first failure.
    pub base_delay: Duration,
    /// The longest delay after any failure.
    pub max_delay: Duration,
    /// The number of attempts, including the first.
    pub attempts: u32,
    /// The longest pause that a service may ask for. If it asks for more, the call fails.
    pub max_retry_after: Duration,
}

impl Backoff {
    /// Returns a random delay after this many failures.
    pub(crate) fn jittered_delay(&self, failures: u32) -> Duration {
        rand::rng().random_range(Duration::ZERO..=self.delay_bound(failures))
    }

    /// Returns the longest delay after this many failures.
    pub(crate) fn delay_bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.base_delay.saturating_mul(1 << doublings).min(self.max_delay)
    }
}

/// Why an attempt failed, and whether to make another. `?` turns a caller's own error into a permanent
/// one.
#[derive(Debug)]
pub(crate) enum Error<E> {
    /// Another attempt would fail, too.
    Permanent(E),
    /// Another attempt may succeed after a delay. The service asks for at least `retry_after`.
    Transient { error: E, retry_after: Option<Duration> },
    /// Another attempt may succeed at once. This one does not count.
    Again,
}

impl<E> Error<E> {
    pub(crate) fn transient(error: E) -> Self {
        Self::Transient { error, retry_after: None }
    }

    pub(crate) fn transient_if(is_transient: bool, error: E) -> Self {
        if is_transient { Self::transient(error) } else { Self::Permanent(error) }
    }
}

impl<E> From<E> for Error<E> {
    fn from(error: E) -> Self {
        Self::Permanent(error)
    }
}

/// Makes attempts at a call until one succeeds or fails permanently, or no attempt is left. `attempt` gets the
/// number of the attempt, starting with 1.
pub(crate) async fn run<T, E, F: Future<Output = Result<T, Error<E>>>>(
    backoff: &Backoff,
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T, E> {
    let mut failures = 0;
    loop {
        let (error, retry_after) = match attempt(failures + 1).await {
            Ok(value) => return Ok(value),
            Err(Error::Again) => continue,
            Err(Error::Permanent(error)) => return Err(error),
            Err(Error::Transient { error, retry_after }) => {
                (error, retry_after.unwrap_or_default())
            }
        };
        failures += 1;
        if failures >= backoff.attempts || retry_after > backoff.max_retry_after {
            return Err(error);
        }
        sleep(backoff.jittered_delay(failures).max(retry_after)).await;
    }
}

/// The growing delays of a loop that polls for a state.
#[derive(Debug)]
pub(crate) struct PollInterval {
    delay: Duration,
    max_delay: Duration,
}

impl PollInterval {
    pub(crate) fn new(first_delay: Duration, max_delay: Duration) -> Self {
        Self { delay: first_delay, max_delay }
    }

    /// Waits for the current delay, and then multiplies it by 1.5.
    pub(crate) async fn tick(&mut self) {
        sleep(self.delay).await;
        self.delay = self.delay.mul_f64(1.5).min(self.max_delay);
    }
}

/// Parses the value of a `Retry-After` header: seconds or a date (RFC 9110, section 10.2.3). Rounds
/// fractions up, and uses the longest of several values, but at most `MAX_PARSED_RETRY_AFTER`. Returns `None`
/// if the value asks for no pause (zero, or a date in the past) or is invalid.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let pause = match httpdate::parse_http_date(value) {
        Ok(date) => date.duration_since(now).ok(),
        Err(_) => value.split(',').filter_map(seconds).max(),
    };
    pause.filter(|pause| !pause.is_zero()).map(|pause| pause.min(MAX_PARSED_RETRY_AFTER))
}

fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_number =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| is_number)?;
    Some(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        base_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(20),
        attempts: 5,
        max_retry_after: Duration::from_secs(30),
    };

    #[test]
    fn delays_double_up_to_the_maximum() {
        let bounds = [1, 2, 3, 6, 7, 60].map(|failures| BACKOFF.delay_bound(failures).as_millis());
        assert_eq!(bounds, [500, 1000, 2000, 16_000, 20_000, 20_000]);
        assert!(
            (1..9)
                .all(|failures| BACKOFF.jittered_delay(failures) <= BACKOFF.delay_bound(failures))
        );
    }

    /// Makes a call whose attempts end with these errors, and returns the number of attempts and how
    /// long they took in all.
    async fn attempts(mut errors: Vec<Error<()>>) -> (u32, Duration) {
        let start = Instant::now();
        errors.reverse();
        let mut made = 0;
        let _ = run(&BACKOFF, |attempt| {
            made = attempt;
            std::future::ready(errors.pop().map_or(Ok(()), Err))
        })
        .await;
        (made, start.elapsed())
    }

    fn transient(seconds: u64) -> Error<()> {
        let retry_after = Some(Duration::from_secs(seconds));
        Error::Transient { error: (), retry_after }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_retried_until_no_attempt_is_left() {
        for (failures, expected) in [(0, 1), (1, 2), (4, 5), (5, 5), (9, 5)] {
            let errors = (0..failures).map(|_| Error::transient(())).collect();
            let (made, elapsed) = attempts(errors).await;
            assert_eq!(made, expected);
            // Delays of at most 0.5, 1, 2 and 4 s.
            assert!(elapsed < Duration::from_millis(7600), "{elapsed:?}");
        }
        let (made, _) = attempts(vec![Error::transient(()), Error::Permanent(())]).await;
        assert_eq!(made, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_the_shortest_delay_unless_it_is_too_long() {
        let (made, elapsed) = attempts(vec![transient(30), transient(7)]).await;
        assert_eq!((made, elapsed.as_secs()), (3, 37));
        let (made, elapsed) = attempts(vec![transient(31), transient(7)]).await;
        assert_eq!((made, elapsed.as_secs()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_repeated_at_once_does_not_count() {
        let (made, elapsed) = attempts((0..9).map(|_| Error::Again).collect()).await;
        assert_eq!((made, elapsed), (1, Duration::ZERO));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (value, seconds) in [
            (" 7 ", 7),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 7),
            ("0.2", 1),
            ("1.5", 2),
            ("3, 7", 7),
            ("7, soon", 7),
            ("99999999999999999999999", 604_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 604_800),
        ] {
            assert_eq!(retry_after(value, now), Some(Duration::from_secs(seconds)), "{value:?}");
        }
        assert!(retry_after(&"9".repeat(400), now).is_some());
        for none in [
            "",
            "soon",
            "-1",
            "0",
            "0.0",
            "0, 0",
            "1e9",
            "inf",
            "NaN",
            ".",
            "1.2.3",
            "7s",
            "Sun, 06 Nov 1994 08:49:20 GMT",
        ] {
            assert_eq!(retry_after(none, now), None, "{none:?}");
        }
    }
}
