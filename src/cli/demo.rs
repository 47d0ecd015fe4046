//! `demo`: its options, which replace settings.

use super::serve::shutdown_signal;
use crate::config::{Config, Phrases};
use crate::demo;
use crate::names::{ShowId, Term};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Search term, instead of SEARCH_TERM
    #[arg(long, value_name = "TERM", value_parser = valid_term)]
    search_term: Option<String>,
    /// Phrases that make an episode a mention, separated by `|`, instead of MENTION
    #[arg(long, value_name = "PHRASES", value_parser = valid_phrases)]
    mention: Option<String>,
    /// Show, instead of the one that the search finds: the 22 characters in its link
    #[arg(long, value_name = "ID", value_parser = parse_show_id)]
    show_id: Option<ShowId>,
    /// Only serve the simulated Spotify on this port, until interrupted
    #[arg(long, value_name = "PORT", conflicts_with_all = ["search_term", "mention", "show_id"])]
    serve_spotify: Option<u16>,
}

impl Args {
    /// Returns the settings that the options replace.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let options = [("SEARCH_TERM", &self.search_term), ("MENTION", &self.mention)];
        options.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

pub(super) async fn run(config: Config, args: Args) -> Result<bool, String> {
    match args.serve_spotify {
        Some(port) => serve_spotify(port).await.map(|()| true),
        None => demo::run(config, args.show_id).await,
    }
}

async fn serve_spotify(port: u16) -> Result<(), String> {
    let shutdown = shutdown_signal()?;
    let url = demo::serve_spotify(port).await?;
    say!("The simulated Spotify listens at {url}");
    say!("Set SPOTIFY_API_URL and SPOTIFY_ACCOUNTS_URL to this URL; Ctrl-C ends it.");
    shutdown.await;
    Ok(())
}

fn valid_term(text: &str) -> Result<String, String> {
    Term::parse(text).map(|_| text.to_owned())
}

fn valid_phrases(text: &str) -> Result<String, String> {
    Phrases::parse(text).map(|_| text.to_owned())
}

fn parse_show_id(text: &str) -> Result<ShowId, String> {
    ShowId::parse(text).ok_or_else(|| {
        "expected the 22 letters and digits after /show/ in the show's link".to_owned()
    })
}
