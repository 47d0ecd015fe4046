//! The command line: what each command is told, and its exit code: 0 when all went well, 1 when
//! something did not, 2 when arguments or settings are wrong.

mod check;
#[cfg(feature = "local")]
mod demo;
mod publish;
mod redrive;
mod serve;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Purpose};
use crate::google;
use crate::telemetry;

/// The version, with the commit where the build knows it.
fn version() -> String {
    match option_env!("SPOTIFY_BQ_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        _ => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Keeps Spotify podcast data in BigQuery: one Pub/Sub message replaces one table, whole or not at
/// all.
#[derive(Debug, Parser)]
#[command(name = "spotify-bq", version = version(), after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  spotify-bq demo                                   the main job on this machine, no account needed
  spotify-bq demo --search-term mamilos --mention natura
                                                    the same for another podcast
  spotify-bq check                                  are credentials, dataset, tables and topics in order?
  spotify-bq publish --table episodes               one message to TRIGGER_TOPIC
  spotify-bq publish --all --url http://localhost:8080/
  spotify-bq publish --all --wait                   three messages, and the rows of each load
  spotify-bq check --max-age 26h                    is every table younger than that?
  spotify-bq redrive --dry-run                      the dead letters in DEAD_LETTER_SUBSCRIPTION, with reasons

Settings are environment variables; README.md lists them. Exit codes: 0 all went well, 1 something
did not, 2 arguments or settings are wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Handles pushes: POST / takes them, GET /health answers 200 (what is done without a command)
    Serve,
    /// Fills the three tables in a SQLite file here and now, from a sample Spotify unless credentials
    /// are set
    #[cfg(feature = "local")]
    Demo(demo::Args),
    /// Publishes messages to the trigger topic, or pushes them to a running service
    Publish(publish::Args),
    /// Republishes dead letters after you fix the cause
    Redrive(redrive::Args),
    /// Checks settings, credentials, show, dataset, tables and topics, and says how to fix what is wrong
    Check(check::Args),
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> ExitCode {
        let command = self.command.unwrap_or(Command::Serve);
        let purpose = match &command {
            Command::Serve => Purpose::Serve,
            #[cfg(feature = "local")]
            Command::Demo(_) => Purpose::Demo,
            _ => Purpose::Tool,
        };
        let given = match &command {
            #[cfg(feature = "local")]
            Command::Demo(args) => args.settings(),
            _ => Vec::new(),
        };
        let config = match configure(&given, purpose).await {
            Ok(config) => config,
            Err(error) => {
                eprintln!("spotify-bq: {error}");
                return ExitCode::from(2);
            }
        };
        let done = match command {
            Command::Serve => {
                telemetry::init(&config.log);
                serve::run(config).await.map(|()| true).map_err(Error::from)
            }
            #[cfg(feature = "local")]
            Command::Demo(args) => demo::run(config, args).await.map_err(Error::from),
            Command::Publish(args) => publish::run(&config, &args).await,
            Command::Redrive(args) => redrive::run(&config, &args).await,
            Command::Check(args) => check::run(&config, &args).await.map_err(Error::from),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(Error::Failed(error)) => {
                eprintln!("spotify-bq: {error}");
                ExitCode::FAILURE
            }
            Err(Error::Usage(error)) => {
                eprintln!("spotify-bq: {error}");
                ExitCode::from(2)
            }
        }
    }
}

/// Why a command ended before its work was done.
enum Error {
    /// It was told something wrong, or too little.
    Usage(String),
    Failed(String),
}

impl Error {
    fn usage(what: &str) -> Self {
        Self::Usage(what.to_owned())
    }
}

impl From<String> for Error {
    fn from(what: String) -> Self {
        Self::Failed(what)
    }
}

async fn configure(given: &[(&str, String)], purpose: Purpose) -> Result<Config, ConfigError> {
    let mut project = None;
    if Config::needs_project_lookup() {
        match google::project_from_metadata(&Config::metadata_host()).await {
            Ok(found) => project = Some(found),
            // The settings may be enough without it; if not, this is why.
            Err(why) => eprintln!("spotify-bq: GOOGLE_CLOUD_PROJECT is not set, and {why}"),
        }
    }
    Config::from_env(given, project, purpose)
}

/// An age for the eye: what depends on it must not trust this machine's clock.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
