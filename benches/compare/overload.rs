//! More messages than the service can process: how many loads per second it completes, and what it spends
//! on messages that it does not load. Pauses are scaled with the deadline, which is short.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hyper::StatusCode;
use serde_json::Value;
use tokio::time::{sleep, sleep_until};

use crate::client::{Client, new_id};
use crate::program::{Process, Program};
use crate::stubs::{Stubs, term};
use crate::{EPISODES, three_digits};

/// The duration of a call to Spotify or BigQuery.
const LATENCY: Duration = Duration::from_millis(400);

/// The deadline of a message, and the default that the subscription's pauses are scaled from.
const DEADLINE: Duration = Duration::from_secs(10);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(540);

/// The number of concurrent requests that Cloud Run accepts. It answers others with 429.
const MAX_REQUESTS: usize = 80;

/// The offered loads, as multiples of the maximum.
const LOADS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// How long each load is offered, in deadlines.
const DEADLINES: u32 = 10;

/// What happened to the messages of one load.
#[derive(Default)]
struct Counts {
    loaded_in_time: usize,
    /// The number of deliveries by reason or `loaded`.
    deliveries: BTreeMap<String, usize>,
    /// Deliveries that ran out of time after a call to Spotify.
    wasted: usize,
    max_attempt: u32,
}

pub async fn run(service: &Program, stubs: &Stubs) -> Result<(), String> {
    stubs.prepare(EPISODES);
    stubs.set_latency(LATENCY);
    let max_rate = max_rate(service, stubs).await?;
    println!("At most {} loads per second\n", three_digits(max_rate));
    println!(
        "| offered load | messages | loads per second | loaded in the end | `overloaded` | `deadline_passed` | out of time after a call | highest delivery attempt |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut rates = Vec::new();
    for load in LOADS {
        let messages = (load * max_rate * (DEADLINE * DEADLINES).as_secs_f64()) as usize;
        let counts = offer(service, stubs, messages).await?;
        let rate = counts.loaded_in_time as f64 / (DEADLINE * DEADLINES).as_secs_f64();
        let count = |reason: &str| counts.deliveries.get(reason).copied().unwrap_or_default();
        println!(
            "| {load} | {messages} | {} | {} | {} | {} | {} | {} |",
            three_digits(rate),
            count("loaded"),
            count("overloaded"),
            count("deadline_passed"),
            counts.wasted,
            counts.max_attempt
        );
        rates.push(rate);
    }
    let best = rates.iter().copied().fold(0.0, f64::max);
    let least = rates[1..].iter().copied().fold(f64::INFINITY, f64::min);
    println!("\nFrom load 1 on, at least {:.0}% of the best.", least / best * 100.0);
    Ok(())
}

fn start(service: &Program, stubs: &Stubs) -> Result<(Process, Client), String> {
    let deadline = [("MESSAGE_DEADLINE_SECONDS", DEADLINE.as_secs().to_string())];
    let (process, _) = Process::start(service, &stubs.url, &deadline)?;
    let client = Client::new(process.address);
    Ok((process, client))
}

/// Returns the loads per second of eight senders that wait for each response.
async fn max_rate(service: &Program, stubs: &Stubs) -> Result<f64, String> {
    let (_process, client) = start(service, stubs)?;
    client.push("podcasts", &term(EPISODES, 0)).await?;
    let message = |sender, n| ("podcasts", term(EPISODES, 1_000_000 + n * 8 + sender));
    Ok(80.0 / client.push_all(8, 10, message).await?.as_secs_f64())
}

/// Publishes messages at a constant rate, each for its own table, and delivers each until it is loaded, or
/// until two deadlines after the end.
async fn offer(service: &Program, stubs: &Stubs, messages: usize) -> Result<Counts, String> {
    let (_process, client) = start(service, stubs)?;
    let (start, duration) = (Instant::now(), DEADLINE * DEADLINES);
    let offer = Offer {
        stubs,
        client,
        end: start + duration,
        requests: AtomicUsize::new(0),
        counts: Mutex::default(),
    };
    let deliver = async |n| {
        sleep_until((start + duration * n as u32 / messages as u32).into()).await;
        offer.deliver_until_loaded().await
    };
    try_join_all((0..messages).map(deliver)).await?;
    Ok(offer.counts.into_inner().expect("no panic"))
}

/// What the messages of one load share.
struct Offer<'a> {
    stubs: &'a Stubs,
    client: Client,
    end: Instant,
    requests: AtomicUsize,
    counts: Mutex<Counts>,
}

impl Offer<'_> {
    /// Delivers one message as a push subscription does.
    async fn deliver_until_loaded(&self) -> Result<(), String> {
        let id = new_id();
        let term = term(EPISODES, id.parse().unwrap_or_default());
        for attempt in 1.. {
            let reason = if self.requests.fetch_add(1, Relaxed) < MAX_REQUESTS {
                self.deliver(&term, &id, attempt).await?
            } else {
                "429".to_owned()
            };
            self.requests.fetch_sub(1, Relaxed);
            let is_loaded = reason == "loaded";
            let now = Instant::now();
            {
                let mut counts = self.counts.lock().expect("no panic");
                counts.loaded_in_time += usize::from(is_loaded && now < self.end);
                *counts.deliveries.entry(reason).or_default() += 1;
                counts.max_attempt = counts.max_attempt.max(attempt);
            }
            if is_loaded || now > self.end + DEADLINE * 2 {
                break;
            }
            let backoff = (10.0 * 2_f64.powi(attempt.min(10) as i32 - 1)).min(600.0);
            sleep(DEADLINE.mul_f64(backoff / DEFAULT_DEADLINE.as_secs_f64())).await;
        }
        Ok(())
    }

    /// Delivers a message once. Returns `loaded`, or why it was not loaded.
    async fn deliver(&self, term: &str, id: &str, attempt: u32) -> Result<String, String> {
        let searches = self.stubs.searches(term);
        let (status, body) = self.client.deliver("podcasts", term, id, attempt).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok("loaded".to_owned());
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let reason = body["reason"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        let is_out_of_time = ["overloaded", "deadline_passed"].contains(&reason.as_str());
        if is_out_of_time && self.stubs.searches(term) > searches {
            self.counts.lock().expect("no panic").wasted += 1;
        }
        Ok(reason)
    }
}
