//! More messages than can be done: how many loads a second the service still does, and what it spends on
//! messages that it gives up. Time is scaled: the deadline is short, and pauses shrink with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::Value;
use tokio::time::{sleep, sleep_until};

use crate::Options;
use crate::load::{self, Sender};
use crate::report::three;
use crate::subject::Kind;
use crate::world::World;

/// How long a call to Spotify or BigQuery takes.
const LATENCY: Duration = Duration::from_millis(400);

/// Requests that Cloud Run lets in; the others it answers 429.
const LET_IN: usize = 80;

/// The deadline that the pauses of the subscription's backoff are scaled from, in seconds.
const FULL_DEADLINE: f64 = 540.0;

/// The offered load, as a multiple of what can be done.
const LOADS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// For how many deadlines each load lasts.
const DEADLINES: u32 = 10;

/// What came of the messages under one load.
#[derive(Default)]
struct Counts {
    messages: usize,
    in_time: usize,
    /// Deliveries by their reason, `loaded` among them.
    deliveries: BTreeMap<String, usize>,
    /// Deliveries that were given up for lack of time after a call to Spotify.
    wasted: usize,
    highest_attempt: u32,
}

pub async fn run(options: &Options, world: &Arc<World>) -> Result<(), String> {
    world.prepare(options.episodes);
    world.set_latency(LATENCY);
    let possible = possible(options, world).await?;
    println!("{} loads a second with as many messages as are at work at once\n", three(possible));
    println!(
        "| offered load | messages | loads a second | loaded in the end | `overloaded` | `deadline_passed` | given up after a call | highest delivery |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut best: f64 = 0.0;
    let mut rates = Vec::new();
    for offered in LOADS {
        let counts = offer(options, world, offered * possible).await?;
        let rate = counts.in_time as f64 / (u64::from(DEADLINES) * options.deadline) as f64;
        let of = |reason: &str| counts.deliveries.get(reason).copied().unwrap_or_default();
        println!(
            "| {offered} | {} | {} | {} | {} | {} | {} | {} |",
            counts.messages,
            three(rate),
            of("loaded"),
            of("overloaded"),
            of("deadline_passed"),
            counts.wasted,
            counts.highest_attempt
        );
        best = best.max(rate);
        rates.push(rate);
    }
    let least = rates[1..].iter().copied().fold(f64::INFINITY, f64::min);
    println!("\nFrom once the load on, at least {:.0} % of the best.", least / best * 100.0);
    Ok(())
}

fn settings(deadline: &str) -> [(&'static str, &str); 1] {
    [("MESSAGE_DEADLINE_SECONDS", deadline)]
}

/// Loads a second with eight senders that wait for each answer.
async fn possible(options: &Options, world: &World) -> Result<f64, String> {
    let (kind, deadline) = (kind(options), options.deadline.to_string());
    let (subject, _) = kind.start_with(world, &settings(&deadline))?;
    Sender::new(subject.address).push("podcasts", &World::term(options.episodes, 0)).await?;
    let (start, messages) = (Instant::now(), 80);
    let mut senders = Vec::new();
    for n in 0..8 {
        let (address, episodes) = (subject.address, options.episodes);
        senders.push(tokio::spawn(async move {
            let mut sender = Sender::new(address);
            for at in (n..messages).step_by(8) {
                sender.push("podcasts", &World::term(episodes, 1_000_000 + at)).await?;
            }
            Ok::<_, String>(())
        }));
    }
    for sender in senders {
        sender.await.map_err(|error| error.to_string())??;
    }
    Ok(messages as f64 / start.elapsed().as_secs_f64())
}

fn kind(options: &Options) -> Kind {
    Kind::Service { binary: options.binary.clone() }
}

/// Publishes `rate` messages a second, each for a table of its own, and delivers each until it is loaded or
/// two deadlines have passed since the last was published.
async fn offer(options: &Options, world: &Arc<World>, rate: f64) -> Result<Counts, String> {
    let deadline = options.deadline.to_string();
    let (subject, _) = kind(options).start_with(world, &settings(&deadline))?;
    let deadline = Duration::from_secs(options.deadline);
    let start = Instant::now();
    let end = start + deadline * DEADLINES;
    let offer = Arc::new(Offer {
        world: Arc::clone(world),
        address: subject.address,
        end,
        late: end + deadline * 2,
        scale: deadline.as_secs_f64() / FULL_DEADLINE,
        let_in: AtomicUsize::new(0),
        counts: Mutex::default(),
    });
    let messages = (rate * (end - start).as_secs_f64()) as usize;
    let mut senders = Vec::new();
    for _ in 0..messages {
        let at = start + Duration::from_secs_f64(senders.len() as f64 / rate);
        sleep_until(at.into()).await;
        senders.push(tokio::spawn(send(Arc::clone(&offer), options.episodes)));
    }
    for sender in senders {
        sender.await.map_err(|error| error.to_string())??;
    }
    let mut counts = std::mem::take(&mut *offer.counts.lock().expect("no panic"));
    counts.messages = messages;
    Ok(counts)
}

/// What the senders of one load share.
struct Offer {
    world: Arc<World>,
    address: SocketAddr,
    end: Instant,
    late: Instant,
    scale: f64,
    let_in: AtomicUsize,
    counts: Mutex<Counts>,
}

/// Delivers one message until it is loaded, as the subscription would.
async fn send(offer: Arc<Offer>, episodes: usize) -> Result<(), String> {
    let id = load::new_id();
    let term = World::term(episodes, id.parse().unwrap_or_default());
    let mut sender = Sender::new(offer.address);
    for attempt in 1.. {
        let reason = if offer.let_in.fetch_add(1, Relaxed) < LET_IN {
            let searches = offer.world.searches(&term);
            let (status, answer) = sender.deliver("podcasts", &term, &id, attempt).await?;
            let reason = match status {
                StatusCode::NO_CONTENT => "loaded".to_owned(),
                _ => serde_json::from_slice::<Value>(&answer)
                    .ok()
                    .and_then(|answer| Some(answer["reason"].as_str()?.to_owned()))
                    .unwrap_or_else(|| status.to_string()),
            };
            let is_out_of_time = ["overloaded", "deadline_passed"].contains(&reason.as_str());
            if is_out_of_time && offer.world.searches(&term) > searches {
                offer.counts.lock().expect("no panic").wasted += 1;
            }
            reason
        } else {
            "429".to_owned()
        };
        offer.let_in.fetch_sub(1, Relaxed);
        let is_loaded = reason == "loaded";
        let now = Instant::now();
        {
            let mut counts = offer.counts.lock().expect("no panic");
            counts.in_time += usize::from(is_loaded && now < offer.end);
            *counts.deliveries.entry(reason).or_default() += 1;
            counts.highest_attempt = counts.highest_attempt.max(attempt);
        }
        if is_loaded || now > offer.late {
            break;
        }
        let pause = (10.0 * 2_f64.powi(attempt.min(10) as i32 - 1)).min(600.0) * offer.scale;
        sleep(Duration::from_secs_f64(pause)).await;
    }
    Ok(())
}
