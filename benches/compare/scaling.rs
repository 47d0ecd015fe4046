//! What does not compare: cost by rows, memory by messages handled, and the bounds of memory.

use std::time::Instant;

use crate::Options;
use crate::load::{self, Sender};
use crate::measure::{mb, ms};
use crate::report::three;
use crate::subject::{Kind, Subject};
use crate::world::World;

/// Sizes of shows.
const SHOWS: [usize; 3] = [320, 2_000, 20_000];

/// The bounds of resident memory, in MiB: one show of 20,000 episodes, and eight of them at once.
const ONE: f64 = 128.0;
const EIGHT: f64 = 384.0;

pub async fn run(options: &Options, world: &World) -> Result<(), String> {
    let kind = Kind::Service { binary: options.binary.clone() };
    rows(options, world, &kind).await?;
    bounds(options, world, &kind).await?;
    growth(options, world, &kind).await
}

/// Time and processor by the number of rows.
async fn rows(options: &Options, world: &World, kind: &Kind) -> Result<(), String> {
    println!("| episodes | time a message | processor | processor a row | most memory |");
    println!("|---|---|---|---|---|");
    for episodes in SHOWS {
        world.prepare(episodes);
        let (subject, _) = kind.start(world)?;
        let term = World::term(episodes, 0);
        let mut sender = Sender::new(subject.address);
        sender.push("episodes", &term).await?;
        let before = subject.processor();
        // As many rows for each size.
        let messages = (options.rounds * 20_000 / episodes).max(5);
        let mut times = Vec::new();
        for _ in 0..messages {
            times.push(ms(sender.push("episodes", &term).await?));
        }
        let processor = ms(subject.processor().saturating_sub(before)) / messages as f64;
        times.sort_by(f64::total_cmp);
        println!(
            "| {episodes} | {} ms | {} ms | {} µs | {} MB |",
            three(times[times.len() / 2]),
            three(processor),
            three(processor * 1000.0 / episodes as f64),
            three(mb(subject.peak()))
        );
    }
    println!();
    Ok(())
}

/// The most memory for one large show, and for eight at once.
async fn bounds(options: &Options, world: &World, kind: &Kind) -> Result<(), String> {
    world.prepare(options.large);
    println!("| shows of {} episodes at once | most memory | at most |", options.large);
    println!("|---|---|---|");
    for (at_once, bound) in [(1, ONE), (8, EIGHT)] {
        let mut peaks = Vec::new();
        for _ in 0..options.rounds {
            let (subject, _) = kind.start(world)?;
            push_at_once(&subject, at_once, options.large).await?;
            peaks.push(subject.peak() as f64 / f64::from(1024 * 1024));
        }
        peaks.sort_by(f64::total_cmp);
        let most = peaks.last().copied().unwrap_or_default();
        println!("| {at_once} | {} MiB (most of {}) | {bound} MiB |", three(most), options.rounds);
    }
    println!();
    Ok(())
}

async fn push_at_once(subject: &Subject, at_once: usize, episodes: usize) -> Result<(), String> {
    let address = subject.address;
    let pushes: Vec<_> = (0..at_once)
        .map(|n| {
            tokio::spawn(async move {
                Sender::new(address).push("episodes", &World::term(episodes, n)).await
            })
        })
        .collect();
    for push in pushes {
        push.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Resident memory by the number of messages handled, each with a term of its own.
async fn growth(options: &Options, world: &World, kind: &Kind) -> Result<(), String> {
    world.prepare(options.episodes);
    let (subject, _) = kind.start(world)?;
    println!("| messages handled | resident memory | messages a second |\n|---|---|---|");
    let mut handled = 0;
    let steps = 10;
    for _ in 0..steps {
        let start = Instant::now();
        let messages = options.messages / steps;
        load::distinct(subject.address, 8, handled, messages, options.episodes).await?;
        handled += messages;
        let rate = messages as f64 / start.elapsed().as_secs_f64();
        println!("| {handled} | {} MB | {} |", three(mb(subject.resident())), three(rate));
    }
    Ok(())
}
