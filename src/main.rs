//! The process's edge: the command line, the runtime, the exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use spotify_bq::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    spotify_bq::install_tls_provider();
    // One thread: the service is deployed on one processor, and on two the waking of each other took a
    // tenth more processor for a message (docs/performance.md).
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("spotify-bq: the system gives no event loop: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli.run());
    // Whatever is still at work was told to stop; its messages come again.
    runtime.shutdown_background();
    code
}
