//! Backoff arithmetic. It knows no service: what may be tried again is the caller's to say.

use std::time::Duration;

use rand::RngExt;

/// Exponential backoff with full jitter: each wait is drawn from zero to a bound that doubles from
/// `base` to `cap`, so that clients that failed together do not come back together
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// No bound is larger.
    pub cap: Duration,
    /// How often a call is made in all, the first time included.
    pub attempts: u32,
}

impl Backoff {
    /// The wait before attempt number `next` (the first retry is attempt 2), or nothing when all
    /// attempts are used up.
    pub fn before(&self, next: u32) -> Option<Duration> {
        (next <= self.attempts).then(|| self.wait(next))
    }

    /// A wait before attempt number `next`, however many attempts there are.
    pub fn wait(&self, next: u32) -> Duration {
        rand::rng().random_range(Duration::ZERO..=self.bound(next))
    }

    /// The bound of the wait before attempt number `next`.
    pub fn bound(&self, next: u32) -> Duration {
        self.base.saturating_mul(1 << next.saturating_sub(2).min(20)).min(self.cap)
    }
}

/// Makes a call until it succeeds, `again` says that its error is not worth a retry, or all attempts
/// are used up. Passes the number of the attempt, starting with 1.
pub(crate) async fn run<T, E, F: Future<Output = Result<T, E>>>(
    backoff: &Backoff,
    call: impl Fn(u32) -> F,
    again: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut attempt = 1;
    loop {
        let error = match call(attempt).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        attempt += 1;
        match backoff.before(attempt).filter(|_| again(&error)) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(error),
        }
    }
}

/// Counts the attempts at one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    made: u32,
    backoff: Backoff,
    patience: Duration,
}

impl Attempts {
    /// Counts from the first attempt on. A pause longer than `patience` is not waited for.
    pub(crate) fn new(backoff: Backoff, patience: Duration) -> Self {
        Self { made: 1, backoff, patience }
    }

    /// Returns how long to wait before the next attempt: at least what the service asks for. Returns
    /// `None` if no attempt is left or the service asks for too long a pause.
    pub(crate) fn next(&mut self, after: Option<Duration>) -> Option<Duration> {
        self.made += 1;
        let after = after.unwrap_or_default();
        self.backoff
            .before(self.made)
            .filter(|_| after <= self.patience)
            .map(|wait| wait.max(after))
    }
}

/// Parses the value of a `Retry-After` header: seconds or a date (RFC 9110, section 10.2.3). Fractions
/// are rounded up, and of several values the longest counts. Returns `None` if the value asks for no
/// pause (zero, a date in the past) or cannot be read; the caller's own backoff applies then. A week is
/// the most: a longer pause is no different.
pub fn retry_after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    const MAX_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);
    let value = value.trim();
    let pause = match httpdate::parse_http_date(value) {
        Ok(date) => date.duration_since(now).ok(),
        Err(_) => value.split(',').filter_map(seconds).max(),
    };
    pause.filter(|pause| !pause.is_zero()).map(|pause| pause.min(MAX_PAUSE))
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
    use std::time::SystemTime;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(20), attempts: 5 };

    #[test]
    fn bounds_double_up_to_the_cap_and_attempts_end() {
        let bounds: Vec<u128> =
            [2, 3, 4, 7, 8, 60].map(|next| BACKOFF.bound(next).as_millis()).to_vec();
        assert_eq!(bounds, [500, 1000, 2000, 16_000, 20_000, 20_000]);
        assert!(BACKOFF.before(5).is_some_and(|wait| wait <= Duration::from_secs(4)));
        assert_eq!(BACKOFF.before(6), None);
    }

    #[test]
    fn attempts_wait_as_long_as_asked_and_end() {
        let patience = Duration::from_secs(30);
        let mut attempts = Attempts::new(BACKOFF, patience);
        assert_eq!(attempts.next(Some(patience)), Some(patience));
        assert!(attempts.next(None).is_some_and(|wait| wait <= Duration::from_secs(1)));
        assert_eq!(attempts.next(Some(Duration::from_secs(31))), None);
        assert!(attempts.next(None).is_some() && attempts.next(None).is_none());
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
