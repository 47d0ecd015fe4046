//! What depends on the size of shows and the number of messages: cost per row and memory.

use std::time::Duration;

use crate::client::{Client, TABLES};
use crate::measure::{mb, ms};
use crate::program::{Process, Program};
use crate::stubs::{Stubs, term};
use crate::{EPISODES, LARGE, three_digits};

/// Messages for the table of memory by number of messages.
const MESSAGES: usize = 10_000;

/// The highest acceptable peak memory in MiB, by the number of large shows that are loaded at once.
const MAX_PEAK_MIB: [(usize, f64); 2] = [(1, 128.0), (8, 384.0)];

pub async fn run(service: &Program, stubs: &Stubs, rounds: usize) -> Result<(), String> {
    by_rows(service, stubs, rounds).await?;
    peak_memory(service, stubs, rounds).await?;
    by_messages(service, stubs).await
}

async fn by_rows(service: &Program, stubs: &Stubs, rounds: usize) -> Result<(), String> {
    println!("| episodes | time per message | CPU time | CPU time per row | peak memory |");
    println!("|---|---|---|---|---|");
    for episodes in [EPISODES, 2_000, LARGE] {
        stubs.prepare(episodes);
        let (process, _) = Process::start(service, &stubs.url, &[])?;
        let client = Client::new(process.address);
        let term = term(episodes, 0);
        client.push("episodes", &term).await?;
        let before = process.cpu_time();
        // About the same number of rows for each size.
        let messages = (rounds * LARGE / episodes).max(5);
        let mut times = Vec::new();
        for _ in 0..messages {
            times.push(ms(client.push("episodes", &term).await?));
        }
        let cpu = ms(process.cpu_time().saturating_sub(before)) / messages as f64;
        times.sort_by(f64::total_cmp);
        println!(
            "| {episodes} | {} ms | {} ms | {} µs | {} MB |",
            three_digits(times[times.len() / 2]),
            three_digits(cpu),
            three_digits(cpu * 1000.0 / episodes as f64),
            three_digits(mb(process.peak_memory()))
        );
    }
    println!();
    Ok(())
}

async fn peak_memory(service: &Program, stubs: &Stubs, rounds: usize) -> Result<(), String> {
    println!("| shows of {LARGE} episodes at once | highest peak of {rounds} | at most |");
    println!("|---|---|---|");
    for (shows, max_peak) in MAX_PEAK_MIB {
        let mut peak = 0;
        for _ in 0..rounds {
            let (process, _) = Process::start(service, &stubs.url, &[])?;
            let client = Client::new(process.address);
            client.push_all(shows, 1, |n, _| ("episodes", term(LARGE, n))).await?;
            peak = peak.max(process.peak_memory());
        }
        let peak = three_digits(peak as f64 / f64::from(1024 * 1024));
        println!("| {shows} | {peak} MiB | {max_peak} MiB |");
    }
    println!();
    Ok(())
}

/// Prints resident memory by the number of messages, each with its own term.
async fn by_messages(service: &Program, stubs: &Stubs) -> Result<(), String> {
    let (process, _) = Process::start(service, &stubs.url, &[])?;
    let client = Client::new(process.address);
    println!("| messages | resident memory | messages per second |\n|---|---|---|");
    let step = MESSAGES / 10;
    for first in (0..MESSAGES).step_by(step) {
        let message = |sender, n| {
            let number = first + n * 8 + sender;
            (TABLES[number % 3], term(EPISODES, number))
        };
        let elapsed: Duration = client.push_all(8, step / 8, message).await?;
        println!(
            "| {} | {} MB | {} |",
            first + step,
            three_digits(mb(process.resident_memory())),
            three_digits(step as f64 / elapsed.as_secs_f64())
        );
    }
    Ok(())
}
