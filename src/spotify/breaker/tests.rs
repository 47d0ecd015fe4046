use super::*;

const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff {
    base_delay: Duration::from_millis(500),
    max_delay: Duration::from_secs(20),
    attempts: 5,
    max_retry_after: MAX_RETRY_AFTER,
};

struct Run {
    breaker: Breaker,
    now: Instant,
}

impl Run {
    fn new() -> Self {
        Self { breaker: Breaker::new(BACKOFF), now: Instant::now() }
    }

    fn closed() -> Self {
        let mut run = Self::new();
        let call = run.breaker.begin_call();
        assert_eq!(run.admit(call).unwrap(), Admission::Allowed { is_probe: true });
        run.breaker.record_success(true);
        run
    }

    fn admit(&mut self, call: CallStart) -> Result<Admission, Failure> {
        self.breaker.admit(call, true, self.now, self.now + Duration::from_secs(540))
    }

    /// Waits as long as the breaker says, and becomes the probe.
    fn probe(&mut self, call: CallStart) {
        match self.admit(call).unwrap() {
            Admission::Allowed { is_probe } => assert!(is_probe),
            Admission::Wait { until, .. } => {
                self.now = until.unwrap();
                assert_eq!(self.admit(call).unwrap(), Admission::Allowed { is_probe: true });
            }
        }
    }

    fn fails(&mut self, call: CallStart, is_probe: bool) -> Option<Failure> {
        let failure = failure(&call.id.to_string());
        self.breaker.record_failure(Scope::One(call), is_probe, &failure, None, self.now)
    }
}

fn failure(detail: &str) -> Failure {
    let (call, detail) = (String::new(), detail.to_owned());
    Failure::SpotifyUnavailable { call, status: None, detail, after: None }
}

#[test]
fn five_failed_probes_of_several_calls_fail_all_that_wait() {
    let mut run = Run::new();
    let calls: Vec<CallStart> = (0..8).map(|_| run.breaker.begin_call()).collect();
    for call in &calls[..4] {
        run.probe(*call);
        assert!(matches!(run.admit(calls[7]), Ok(Admission::Wait { until: None, .. })));
        assert!(run.fails(*call, true).is_none());
    }
    run.probe(calls[4]);
    assert!(run.fails(calls[4], true).is_some());
    for call in calls {
        assert!(run.admit(call).unwrap_err().to_string().ends_with(": 5"));
    }
    // After that, one failure is enough for all calls that began meanwhile.
    let (late, later) = (run.breaker.begin_call(), run.breaker.begin_call());
    run.probe(late);
    assert!(run.fails(late, true).is_some() && run.admit(later).is_err());
    let next = run.breaker.begin_call();
    run.probe(next);
    run.breaker.record_success(true);
    assert!(run.breaker.is_closed());
}

#[test]
fn failures_before_a_call_began_do_not_count_for_it() {
    let mut run = Run::new();
    let early = run.breaker.begin_call();
    for _ in 0..3 {
        run.probe(early);
        run.fails(early, true);
    }
    // This call is cancelled. The next one has all attempts.
    let late = run.breaker.begin_call();
    for n in 1..=5 {
        run.probe(late);
        assert_eq!(run.fails(late, true).is_some(), n == 5);
    }
}

#[test]
fn a_call_that_keeps_failing_fails_no_other() {
    let mut run = Run::closed();
    let bad = run.breaker.begin_call();
    for _ in 0..9 {
        assert!(run.fails(bad, false).is_none() && run.breaker.is_closed());
    }
    // The same if it is the probe.
    let mut run = Run::new();
    let (bad, other) = (run.breaker.begin_call(), run.breaker.begin_call());
    for _ in 0..9 {
        run.probe(bad);
        assert!(run.fails(bad, true).is_none());
    }
    run.probe(other);
    run.breaker.record_success(true);
    assert!(run.breaker.is_closed());
}

#[test]
fn a_second_failing_call_opens_the_breaker_and_any_success_closes_it() {
    let mut run = Run::closed();
    let (one, two, three) =
        (run.breaker.begin_call(), run.breaker.begin_call(), run.breaker.begin_call());
    assert!(run.fails(one, false).is_none());
    assert!(run.breaker.record_success(false));
    assert!(run.fails(two, false).is_none() && run.breaker.is_closed());
    assert!(run.fails(one, false).is_none() && !run.breaker.is_closed());
    // Failures of calls that were in flight do not count.
    for _ in 0..9 {
        assert!(run.fails(three, false).is_none());
    }
    assert!(run.breaker.record_success(false) && run.breaker.is_closed());
}

#[test]
fn an_old_failure_does_not_count() {
    let mut run = Run::closed();
    let (bad, other) = (run.breaker.begin_call(), run.breaker.begin_call());
    for _ in 0..5 {
        run.fails(bad, false);
    }
    run.now += MAX_RETRY_AFTER + Duration::from_secs(1);
    assert!(run.fails(other, false).is_none() && run.breaker.is_closed());
}

#[test]
fn a_refusal_of_all_calls_fails_those_that_wait_and_is_then_probed() {
    let mut run = Run::closed();
    let waiting = run.breaker.begin_call();
    run.breaker.record_refusal(Failure::Premium("x".to_owned()));
    assert!(matches!(run.admit(waiting), Err(Failure::Premium(_))));
    let next = run.breaker.begin_call();
    run.probe(next);
}

#[test]
fn a_failure_of_all_calls_needs_no_second_call() {
    let mut run = Run::new();
    let call = run.breaker.begin_call();
    for n in 1..=5 {
        run.probe(call);
        let all = Scope::All(call);
        let shared = run.breaker.record_failure(all, true, &failure("x"), None, run.now);
        assert_eq!(shared.is_some(), n == 5);
    }
}

#[test]
fn a_long_pause_fails_all_that_wait_and_the_next_call_probes() {
    let mut run = Run::new();
    let (one, two) = (run.breaker.begin_call(), run.breaker.begin_call());
    run.probe(one);
    let hour = Some(Duration::from_secs(3600));
    let shared = run.breaker.record_failure(Scope::One(one), true, &failure("x"), hour, run.now);
    assert!(shared.is_some() && run.admit(two).is_err());
    let three = run.breaker.begin_call();
    run.probe(three);
    // A short pause is waited for.
    let short = Duration::from_secs(25);
    run.breaker.record_failure(Scope::One(three), true, &failure("x"), Some(short), run.now);
    let now = run.now;
    let admission = run.admit(three).unwrap();
    assert_eq!(admission, Admission::Wait { until: Some(now + short), is_cooldown: false });
    // Unless it ends after the deadline.
    let deadline = now + Duration::from_secs(20);
    assert!(run.breaker.admit(three, true, now, deadline).is_err());
}

#[test]
fn cooldowns_grow_and_are_never_shorter_than_spotify_says() {
    let mut run = Run::new();
    let call = run.breaker.begin_call();
    let (zero, seven) = (Some(Duration::ZERO), Some(Duration::from_secs(7)));
    for (wait, millis) in [(None, 500), (zero, 1000), (zero, 2000), (seven, 7000), (None, 8000)] {
        run.probe(call);
        assert_eq!(run.breaker.record_429(wait, false, run.now).remaining.as_millis(), millis);
        // A 429 of a call that was in flight begins no further cooldown.
        run.breaker.record_429(None, false, run.now);
    }
    // A call that was sent before the cooldown does not close the breaker.
    assert!(!run.breaker.record_success(false));
    run.probe(call);
    assert!(!run.breaker.record_success(false));
    assert!(run.breaker.record_success(true));
    assert_eq!(run.breaker.record_429(None, false, run.now).remaining.as_millis(), 500);
}

#[test]
fn ten_cooldowns_in_a_row_fail_all_that_wait() {
    let mut run = Run::new();
    let waiting = run.breaker.begin_call();
    for _ in 0..MAX_COOLDOWNS {
        let call = run.breaker.begin_call();
        run.probe(call);
        run.breaker.record_429(None, false, run.now);
    }
    assert!(matches!(run.admit(waiting), Err(Failure::Throttled { .. })));
}

#[test]
fn a_ban_is_new_once() {
    let mut run = Run::new();
    let day = Some(Duration::from_secs(86_400));
    assert!(run.breaker.record_429(day, true, run.now).has_become_long);
    let second = run.breaker.record_429(Some(Duration::from_secs(1)), true, run.now);
    assert!(!second.has_become_long && Some(second.remaining) == day);
    let call = run.breaker.begin_call();
    assert!(matches!(run.admit(call), Err(Failure::Throttled { quota: true, .. })));
}

#[test]
fn after_a_probe_without_a_result_the_next_call_probes() {
    let mut run = Run::new();
    let call = run.breaker.begin_call();
    run.probe(call);
    assert!(run.breaker.record_no_result(true) && !run.breaker.record_no_result(false));
    run.probe(call);
}
