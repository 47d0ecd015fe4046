use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

fn throttle(calls: usize) -> Arc<Throttle> {
    let backoff = Backoff {
        base_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(20),
        attempts: 5,
        max_retry_after: Duration::from_secs(30),
    };
    Arc::new(Throttle::new(calls, backoff))
}

fn context() -> Context {
    Context::new(Duration::from_secs(540))
}

async fn acquire(throttle: &Arc<Throttle>, context: &Context) -> Result<Permit, Failure> {
    throttle.acquire(throttle.begin_call(), context).await
}

fn failure() -> Failure {
    let (call, detail) = ("x".to_owned(), "500".to_owned());
    Failure::SpotifyUnavailable { call, status: Some(500), detail, after: None }
}

#[tokio::test(start_paused = true)]
async fn the_first_call_is_the_only_one_and_then_as_many_as_are_allowed() {
    let (throttle, context) = (throttle(2), context());
    let probe = acquire(&throttle, &context).await.unwrap();
    assert!(acquire(&throttle, &context).now_or_never().is_none());
    drop(probe);
    let mut probe = acquire(&throttle, &context).await.unwrap();
    probe.record_response();
    drop(probe);
    let _one = acquire(&throttle, &context).await.unwrap();
    let _two = acquire(&throttle, &context).await.unwrap();
    assert!(acquire(&throttle, &context).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_short_cooldown_is_waited_for_and_then_probed() {
    let (throttle, context) = (throttle(2), context());
    acquire(&throttle, &context).await.unwrap().record_429(Some(Duration::from_secs(7)), false);
    let start = Instant::now();
    let probe = acquire(&throttle, &context).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(context.meter.throttled_ms.get() / 1000, 7);
    assert!(probe.is_probe && acquire(&throttle, &context).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_long_cooldown_or_one_past_the_deadline_is_not_waited_for() {
    let (throttle, context) = (self::throttle(2), context());
    acquire(&throttle, &context).await.unwrap().record_429(Some(Duration::from_secs(86_400)), true);
    let failure = acquire(&throttle, &context).await.err().unwrap();
    assert!(
        matches!(failure, Failure::Throttled { quota: true, wait } if wait.as_secs() == 86_400)
    );
    // A shorter one does not end it earlier.
    throttle.cool_down(Some(Duration::from_secs(1)), false);
    assert!(acquire(&throttle, &context).await.is_err());

    let throttle = self::throttle(2);
    throttle.cool_down(Some(Duration::from_secs(20)), false);
    let short = Context::new(Duration::from_secs(10));
    assert!(acquire(&throttle, &short).await.is_err());
    assert!(throttle.wait_for_cooldown(&short).await.is_err());
    assert!(acquire(&throttle, &context).await.is_ok());
}

/// Makes a call whose attempts all fail after 20 s.
async fn hang(throttle: &Arc<Throttle>, context: &Context, calls: &mut usize) -> Failure {
    let call = throttle.begin_call();
    loop {
        let permit = match throttle.acquire(call, context).await {
            Ok(permit) => permit,
            Err(shared) => return shared,
        };
        *calls += 1;
        tokio::time::sleep(Duration::from_secs(20)).await;
        if let Some(shared) = permit.record_failure(Scope::One(call), &failure(), None) {
            return shared;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_share_the_attempts_of_a_hang() {
    for permits in [1, 2, 8] {
        let (throttle, context) = (throttle(permits), context());
        let start = Instant::now();
        let mut calls = [0; 8];
        let all = calls.iter_mut().map(|calls| hang(&throttle, &context, calls));
        join_all(all).await;
        // Five attempts with pauses of at most 0.5, 1, 2 and 4 s, each by another message.
        assert!(start.elapsed() < Duration::from_secs(108), "{:?}", start.elapsed());
        assert_eq!(calls, [1, 1, 1, 1, 1, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_releases_calls_that_wait_for_a_hanging_probe() {
    let (throttle, context) = (throttle(8), context());
    let mut probe = acquire(&throttle, &context).await.unwrap();
    probe.record_response();
    drop(probe);
    let (mut early, one, two) = (
        acquire(&throttle, &context).await.unwrap(),
        acquire(&throttle, &context).await.unwrap(),
        acquire(&throttle, &context).await.unwrap(),
    );
    for permit in [one, two] {
        permit.record_failure(Scope::One(throttle.begin_call()), &failure(), None);
    }
    let _hanging = acquire(&throttle, &context).await.unwrap();
    assert!(!throttle.is_closed());
    let mut waiting = Box::pin(acquire(&throttle, &context));
    assert!(waiting.as_mut().now_or_never().is_none());
    early.record_response();
    drop(early);
    assert!(throttle.is_closed() && waiting.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_holds_up_no_other() {
    let (throttle, context) = (throttle(8), context());
    let mut probe = acquire(&throttle, &context).await.unwrap();
    let mut cancelled = Box::pin(acquire(&throttle, &context));
    assert!(cancelled.as_mut().now_or_never().is_none());
    let mut waiting = Box::pin(acquire(&throttle, &context));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(cancelled);
    probe.record_response();
    drop(probe);
    assert!(waiting.now_or_never().is_some());
}
