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

/// Loads Spotify podcast data into BigQuery. Each Pub/Sub message replaces one table completely, or
/// leaves it unchanged.
#[derive(Debug, Parser)]
#[command(name = "spotify-bq", version = version(), after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  spotify-bq demo                          try it on this machine, without any account
  spotify-bq demo --search-term mamilos --mention natura
                                           try it with another podcast
  spotify-bq check                         check settings, credentials, tables and topics
  spotify-bq check --max-age 26h           also report tables not loaded in the last 26 hours
  spotify-bq publish --table episodes      publish one message to TRIGGER_TOPIC
  spotify-bq publish --all --wait          load all three tables and print their row counts
  spotify-bq publish --all --url http://localhost:8080/
                                           push to a running service instead
  spotify-bq redrive --dry-run             list the dead letters with their reasons

Settings are environment variables; docs/settings.md lists them.
Exit codes: 0 success, 1 failure, 2 invalid arguments or settings.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service (the default): POST / receives Pub/Sub pushes, GET /health returns 200
    Serve,
    /// Fills the three tables in a SQLite file on this machine, from a simulated Spotify unless
    /// credentials are set
    #[cfg(feature = "local")]
    Demo(demo::Args),
    /// Publishes messages to the trigger topic, or pushes them to a running service
    ///
    /// A message without --table loads all three tables of its search term.
    Publish(publish::Args),
    /// Republishes dead letters to the trigger topic, after you fix the cause
    ///
    /// Reads DEAD_LETTER_SUBSCRIPTION and publishes each message with its original data and
    /// attributes. A message is acknowledged after it is published, so none is lost. The exit code
    /// is 1 if a selected message is not both published and acknowledged.
    Redrive(redrive::Args),
    /// Checks settings, credentials, show, dataset, tables and topics, and says how to fix what is wrong
    ///
    /// The exit code is 1 if there is a problem.
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
    if Config::project_must_be_asked() {
        match google::project_from_metadata(&Config::metadata_host()).await {
            Ok(found) => project = Some(found),
            // The settings may be enough without it; if not, this is why.
            Err(why) => eprintln!("spotify-bq: GOOGLE_CLOUD_PROJECT is not set, and {why}"),
        }
    }
    Config::from_env_but(given, project, purpose)
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
