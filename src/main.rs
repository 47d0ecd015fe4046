//! The entry point: command line, runtime, exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use spotify_bq::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    spotify_bq::install_tls_provider();
    // One thread, because the service is deployed with one CPU. On two CPUs, two threads used a tenth more CPU
    // time for each message (docs/performance.md).
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("spotify-bq: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli.run());
    // Pub/Sub redelivers the messages of what is still running.
    runtime.shutdown_background();
    code
}
