//! The service beside a Python function for the same job, in one run against the same world:
//! `cargo bench --bench compare -- --peer VENV/bin/functions-framework`. What the figures mean and
//! what they were is in docs/performance.md.
#![allow(clippy::expect_used, reason = "a benchmark may give up where it stands")]
#![allow(unreachable_pub, reason = "a benchmark has no outside")]

mod load;
mod measure;
mod overload;
mod report;
mod sample;
mod scaling;
mod subject;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use measure::Figures;
use subject::Kind;
use world::World;

/// The service beside a Python peer: start, time, processor and memory of the same messages.
#[derive(Debug, Parser)]
pub struct Options {
    /// The peer's functions-framework, in a virtual environment with its requirements; without it
    /// only the service is measured
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// The folder of the peer's main.py
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/peer"))]
    peer_source: PathBuf,
    /// The service
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_spotify-bq"))]
    binary: PathBuf,
    /// How often everything is measured; the median is told
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each call takes in the row that is about waiting
    #[arg(long, default_value_t = 100)]
    latency_ms: u64,
    /// Episodes of the show
    #[arg(long, default_value_t = 320)]
    episodes: usize,
    /// Episodes of the large show
    #[arg(long, default_value_t = 20_000)]
    large: usize,
    /// In place of the comparison: cost by rows, memory by messages handled, the bounds of memory
    #[arg(long)]
    scaling: bool,
    /// In place of the comparison: loads at half, once, twice and four times what can be done. With the
    /// default deadline it takes eight minutes
    #[arg(long)]
    overload: bool,
    /// The deadline of a message in that measurement, in seconds
    #[arg(long, default_value_t = 10)]
    deadline: u64,
    /// Messages handled for the question whether memory grows
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let world = World::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!("{}\n", report::machine());
    let done = if options.overload {
        runtime.block_on(overload::run(&options, &world))
    } else if options.scaling {
        runtime.block_on(scaling::run(&options, &world))
    } else {
        runtime.block_on(compare(&options, &world))
    };
    match done {
        Ok(()) => {
            println!("\n{}", report::load_average());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(options: &Options, world: &World) -> Result<(), String> {
    world.prepare(options.episodes);
    world.prepare(options.large);
    let service = Kind::Service { binary: options.binary.clone() };
    let peer = options
        .peer
        .clone()
        .map(|framework| Kind::Peer { framework, source: options.peer_source.clone() });
    let mut figures: Vec<(Kind, Vec<Figures>)> =
        [Some(service), peer].into_iter().flatten().map(|kind| (kind, Vec::new())).collect();
    for round in 1..=options.rounds {
        for (kind, rounds) in &mut figures {
            let found = measure::round(kind, world, options).await?;
            eprintln!("round {round}, {}: {found:?}", kind.name());
            rounds.push(found);
        }
    }
    let medians: Vec<Figures> = figures.iter().map(|(_, rounds)| Figures::median(rounds)).collect();
    print!("{}", report::table(&medians, options));
    Ok(())
}
