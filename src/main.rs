//! The process's edge: the command line, the runtime, the exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use spotify_bq::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    spotify_bq::install_tls_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("spotify-bq: the system gives no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli.run());
    // Whatever is still at work was told to stop; its messages come again.
    runtime.shutdown_background();
    code
}
