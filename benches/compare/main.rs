//! The service compared with a Python function for the same task, in one run with the same stubs:
//! `cargo bench --bench compare -- --peer VENV/bin/functions-framework`. docs/performance.md explains the
//! figures.
#![allow(clippy::expect_used, reason = "a benchmark may panic")]
#![allow(unreachable_pub, reason = "a benchmark exports nothing")]

mod client;
mod measure;
mod overload;
mod program;
mod sample;
mod scaling;
mod stubs;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use program::Program;
use stubs::Stubs;

/// Episodes of a show, and of the large show.
const EPISODES: usize = 320;
const LARGE: usize = 20_000;

/// Compares time, CPU time and memory of the service with a Python function for the same messages.
#[derive(Debug, Parser)]
pub struct Options {
    /// Path of functions-framework in a virtual environment with peer/requirements.txt. Without it, only
    /// the service is measured
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// Number of rounds; the table has their medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Duration of each call in the row with latency
    #[arg(long, default_value_t = 100)]
    latency_ms: u64,
    /// Measure cost per row, peak memory, and memory by number of messages instead
    #[arg(long)]
    scaling: bool,
    /// Measure loads from half to four times the maximum instead. Takes eight minutes
    #[arg(long)]
    overload: bool,
    /// Passed by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    spotify_bq::install_tls_provider();
    let stubs = Stubs::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!("{}\n", machine());
    let service = Program::service();
    let result = if options.overload {
        runtime.block_on(overload::run(&service, &stubs))
    } else if options.scaling {
        runtime.block_on(scaling::run(&service, &stubs, options.rounds))
    } else {
        runtime.block_on(measure::run(&service, &stubs, &options))
    };
    match result {
        Ok(()) => {
            println!("\n{}", machine());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of cores and how busy they are.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{cores} cores, load average {}", load.split(' ').next().unwrap_or("unknown"))
}

/// Formats a figure with three significant digits.
pub fn three_digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
