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
        (next <= self.attempts).then(|| rand::rng().random_range(Duration::ZERO..=self.bound(next)))
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

/// The seconds of a `Retry-After` header: a number, or a date that lies `now` or later
/// (RFC 9110, section 10.2.3). A week is the most: more is no better than "not for a long time".
pub fn retry_after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(7 * 24 * 3600);
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().map_or(MOST, Duration::from_secs).min(MOST));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(MOST))
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
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:20 GMT", now), Some(Duration::ZERO));
        let week = Some(Duration::from_secs(604_800));
        assert_eq!(retry_after("99999999999999999999999", now), week);
        for none in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(none, now), None, "{none:?}");
        }
    }
}
