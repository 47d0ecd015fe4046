//! The command line: arguments, and one exit code for each kind of result.

mod age;
mod check;
#[cfg(feature = "local")]
mod demo;
mod error;
mod publish;
mod redrive;
mod serve;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Purpose};
use crate::google;
use crate::telemetry;
use error::Error;

/// Returns the version, with the commit if the build set it.
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
    ///
    /// The file is spotify-bq-demo.sqlite in the current folder, unless WAREHOUSE=sqlite:FILE is set.
    #[cfg(feature = "local")]
    Demo(demo::Args),
    /// Publishes messages to the trigger topic, or pushes them to a running service
    ///
    /// A message with --search-term and without --table loads all three tables of the term.
    Publish(publish::Args),
    /// Republishes dead letters to the trigger topic, after you fix the cause
    ///
    /// Pulls from DEAD_LETTER_SUBSCRIPTION, and publishes each message with its original data and
    /// attributes before it is acknowledged. The exit code is 1 if a selected message is not both
    /// published and acknowledged.
    Redrive(redrive::Args),
    /// Checks settings, credentials, show, dataset, tables and topics, and says how to fix what is wrong
    ///
    /// The exit code is 1 if there is a problem.
    Check(check::Args),
}

impl Cli {
    /// Runs the command, and prints an error to stderr if it fails.
    pub async fn run(self) -> ExitCode {
        let command = self.command.unwrap_or(Command::Serve);
        match run(command).await {
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

/// Returns whether the command did all that was asked for.
async fn run(command: Command) -> Result<bool, Error> {
    let (purpose, overrides) = match &command {
        Command::Serve => (Purpose::Serve, Vec::new()),
        #[cfg(feature = "local")]
        Command::Demo(args) => (Purpose::Demo, args.settings()),
        _ => (Purpose::Tool, Vec::new()),
    };
    let config =
        configure(&overrides, purpose).await.map_err(|error| Error::Usage(error.to_string()))?;
    match command {
        Command::Serve => {
            telemetry::init(&config.log);
            serve::run(config).await?;
            Ok(true)
        }
        #[cfg(feature = "local")]
        Command::Demo(args) => Ok(demo::run(config, args).await?),
        Command::Publish(args) => publish::run(&config, &args).await,
        Command::Redrive(args) => redrive::run(&config, &args).await,
        Command::Check(args) => Ok(check::run(&config, &args).await?),
    }
}

async fn configure(overrides: &[(&str, String)], purpose: Purpose) -> Result<Config, ConfigError> {
    let mut project = None;
    if Config::needs_project_lookup() {
        match google::project_from_metadata(&Config::metadata_host()).await {
            Ok(found) => project = Some(found),
            // Not an error yet: the settings may be complete without a project.
            Err(why) => eprintln!("spotify-bq: GOOGLE_CLOUD_PROJECT is not set, and {why}"),
        }
    }
    Config::from_env(overrides, project, purpose)
}
