//! How many times a message is delivered if many are published at once. A model of the subscription, Cloud Run
//! and admission, without real time. docs/performance.md has its figures.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use spotify_bq::context::max_wait;

use crate::documents::read;

/// What a fan-out of 300 terms publishes.
const MESSAGES: usize = 900;

/// Terraform's defaults: concurrent requests of Cloud Run, `MAX_CONCURRENT_MESSAGES`, and delivery attempts
/// before a dead letter.
const MAX_REQUESTS: usize = 80;
const MAX_IN_PROGRESS: usize = 8;
const MAX_ATTEMPTS: u32 = 100;

/// The deadline of a message.
const DEADLINE_S: f64 = 540.0;

/// The subscription's backoff: it doubles from 10 s to 600 s. `jitter` shortens each pause by up to a tenth.
fn backoff(attempt: u32, jitter: f64) -> f64 {
    (10.0 * 2_f64.powi(attempt.min(20) as i32 - 1)).min(600.0) * (1.0 - jitter / 10.0)
}

/// A time in milliseconds, what happens then, and to which message.
type Event = Reverse<(u64, What, usize)>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Done,
    TimedOut,
    Delivered,
}

/// What became of a backlog.
struct Backlog {
    /// The highest `deliveryAttempt`.
    attempts: u32,
    /// Deliveries answered `overloaded`.
    overloaded: usize,
    hours: f64,
}

/// Publishes all messages at once to a service whose messages each take `work_s`.
fn backlog(work_s: f64) -> Backlog {
    let wait_s = max_wait(std::time::Duration::from_secs_f64(DEADLINE_S)).as_secs_f64();
    let ms = |seconds: f64| (seconds * 1000.0).round() as u64;
    let mut events: BinaryHeap<Event> =
        (0..MESSAGES).map(|message| Reverse((0, What::Delivered, message))).collect();
    let mut attempts = vec![0; MESSAGES];
    // Waiting messages, and when each is answered 503.
    let mut waiting: VecDeque<(usize, u64)> = VecDeque::new();
    let (mut in_progress, mut overloaded, mut end) = (0, 0, 0);
    // A fixed pseudo-random sequence (the multiplier and increment of Numerical Recipes).
    let mut seed = 1_u32;
    let mut jitter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed) / f64::from(u32::MAX)
    };
    while let Some(Reverse((now, what, message))) = events.pop() {
        end = end.max(now);
        match what {
            What::Done => in_progress -= 1,
            What::TimedOut => {
                let before = waiting.len();
                waiting.retain(|(other, until)| (*other, *until) != (message, now));
                if waiting.len() < before {
                    overloaded += 1;
                    let pause = ms(backoff(attempts[message], jitter()));
                    events.push(Reverse((now + pause, What::Delivered, message)));
                }
            }
            What::Delivered => {
                attempts[message] += 1;
                if in_progress + waiting.len() < MAX_REQUESTS {
                    let until = now + ms(wait_s);
                    waiting.push_back((message, until));
                    events.push(Reverse((until, What::TimedOut, message)));
                } else {
                    // Cloud Run answers 429.
                    let pause = ms(backoff(attempts[message], jitter()));
                    events.push(Reverse((now + pause, What::Delivered, message)));
                }
            }
        }
        while in_progress < MAX_IN_PROGRESS
            && let Some((message, _)) = waiting.pop_front()
        {
            in_progress += 1;
            events.push(Reverse((now + ms(work_s), What::Done, message)));
        }
    }
    let attempts = attempts.into_iter().max().unwrap_or_default();
    Backlog { attempts, overloaded, hours: end as f64 / 3_600_000.0 }
}

#[test]
fn overload_alone_never_dead_letters_a_message() {
    let mut rows = Vec::new();
    for work_s in [1.0, 3.0, 10.0, 30.0, 100.0, 405.0] {
        let Backlog { attempts, overloaded, hours } = backlog(work_s);
        assert!(attempts < MAX_ATTEMPTS, "{work_s} s: {attempts}");
        rows.push(format!("| {work_s} s | {attempts} | {overloaded} | {hours:.2} h |"));
    }
    let page = read("docs/performance.md");
    let rows = rows.join("\n");
    assert!(page.contains(&rows), "docs/performance.md lacks\n{rows}");
}
