//! The comparison: in each round, both programs are started, sent the same messages, and measured.

use std::time::Duration;

use crate::client::{Client, TABLES};
use crate::program::{Process, Program};
use crate::stubs::{Stubs, term};
use crate::{EPISODES, LARGE, Options, three_digits};

/// Messages before memory is read, and the least number that times are averaged over.
const MESSAGES: usize = 60;

/// The kernel counts CPU time in hundredths of a second, so a shorter measurement is not accurate.
const MIN_DURATION: Duration = Duration::from_secs(2);

/// What is measured, its unit, and the lowest ratio that is acceptable.
const ROWS: [(&str, &str, f64); 8] = [
    ("start to listening", "ms", 40.0),
    ("start to first message answered", "ms", 20.0),
    ("time per message, no latency (mean of three tables)", "ms", 8.0),
    ("CPU time per message", "ms", 10.0),
    ("messages per second, eight at once", "/s", 12.0),
    ("resident memory after 60 messages", "MB", 8.0),
    ("time per message with latency, warm", "ms", 2.7),
    ("peak memory, large show", "MB", 4.0),
];

/// The position in [`ROWS`] of the time per message with latency.
const WITH_LATENCY: usize = 6;

/// One figure for each of [`ROWS`].
type Figures = [f64; ROWS.len()];

pub async fn run(service: &Program, stubs: &Stubs, options: &Options) -> Result<(), String> {
    stubs.prepare(EPISODES);
    stubs.prepare(LARGE);
    let peer = options.peer.clone().map(Program::peer);
    let (mut of_service, mut of_peer) = (Vec::new(), Vec::new());
    for n in 1..=options.rounds {
        for (program, rounds) in [(Some(service), &mut of_service), (peer.as_ref(), &mut of_peer)] {
            let Some(program) = program else { continue };
            let figures = round(program, stubs, options.latency_ms).await?;
            eprintln!("round {n}, {}: {figures:?}", program.name);
            rounds.push(figures);
        }
    }
    print_table(medians(&of_service), peer.map(|_| medians(&of_peer)), options);
    Ok(())
}

fn medians(rounds: &[Figures]) -> Figures {
    std::array::from_fn(|row| {
        let mut values: Vec<f64> = rounds.iter().map(|figures| figures[row]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    })
}

async fn round(program: &Program, stubs: &Stubs, latency_ms: u64) -> Result<Figures, String> {
    stubs.set_latency(Duration::ZERO);
    let (process, listening) = Process::start(program, &stubs.url, &[])?;
    let client = Client::new(process.address);
    let one_by_one = |_, n| (TABLES[n % 3], term(EPISODES, 0));
    client.push("episodes", &term(EPISODES, 0)).await?;
    let first = process.started.elapsed();

    client.push_all(1, MESSAGES, one_by_one).await?;
    let resident = process.resident_memory();
    stubs.take_loaded();
    let cpu_before = process.cpu_time();
    let (mut messages, mut elapsed) = (0, Duration::ZERO);
    while messages < MESSAGES || elapsed < MIN_DURATION {
        elapsed += client.push_all(1, 3, one_by_one).await?;
        messages += 3;
    }
    let per_message = ms(elapsed) / messages as f64;
    let cpu = ms(process.cpu_time().saturating_sub(cpu_before)) / messages as f64;
    let mut rows: Vec<usize> = stubs.take_loaded().into_values().collect();
    rows.sort_unstable();
    let mut expected = [50, EPISODES, EPISODES.div_ceil(10)];
    expected.sort_unstable();
    if rows != expected {
        return Err(format!("{} loaded {rows:?} rows, expected {expected:?}", program.name));
    }

    // Each sender has its own term, so that no message waits for another's table.
    let concurrent = |sender, n| (TABLES[(sender + n) % 3], term(EPISODES, sender));
    client.push_all(8, 3, concurrent).await?;
    // About two seconds of messages.
    let messages_each = ((2000.0 / per_message) as usize).clamp(48, 4000) / 24 * 3;
    let elapsed = client.push_all(8, messages_each, concurrent).await?;
    let rate = (8 * messages_each) as f64 / elapsed.as_secs_f64();

    stubs.set_latency(Duration::from_millis(latency_ms));
    client.push_all(1, 3, one_by_one).await?;
    let with_latency = ms(client.push_all(1, 12, one_by_one).await?) / 12.0;
    stubs.set_latency(Duration::ZERO);
    drop(process);

    let (process, _) = Process::start(program, &stubs.url, &[])?;
    Client::new(process.address).push("episodes", &term(LARGE, 0)).await?;
    let (resident, peak) = (mb(resident), mb(process.peak_memory()));
    Ok([ms(listening), ms(first), per_message, cpu, rate, resident, with_latency, peak])
}

fn print_table(service: Figures, peer: Option<Figures>, options: &Options) {
    println!(
        "Median of {} rounds, a show of {EPISODES} episodes, a large show of {LARGE}, {} ms per call in \
         the row with latency.\n",
        options.rounds, options.latency_ms
    );
    println!("| measurement | spotify-bq | peer | ratio | at least |\n|---|---|---|---|---|");
    for (row, (name, unit, goal)) in ROWS.into_iter().enumerate() {
        let figure = three_digits(service[row]);
        let (peer, ratio) = match peer.map(|peer| peer[row]) {
            None => ("-".to_owned(), "-".to_owned()),
            Some(peer) => {
                let ratio = if unit == "/s" { service[row] / peer } else { peer / service[row] };
                let note = if ratio < goal { " (too low)" } else { "" };
                (format!("{} {unit}", three_digits(peer)), format!("{}{note}", three_digits(ratio)))
            }
        };
        println!("| {name} | {figure} {unit} | {peer} | {ratio} | {goal} |");
    }
    // Podcasts: concurrent pages, and the upload. The others: the first page, the other pages, the upload.
    let limit = options.latency_ms as f64 * (2.0 + 3.0 + 3.0) / 3.0;
    println!(
        "\nA client that reads Spotify for each table needs at least {} ms per message (warm). The service \
         takes {} times that (at most 1.2).",
        three_digits(limit),
        three_digits(service[WITH_LATENCY] / limit)
    );
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
