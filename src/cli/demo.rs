//! `demo`: the main job here and now, for the term and mention that the options name.

use super::serve;
use crate::config::{Config, Phrases};
use crate::demo;
use crate::names::{ShowId, Term};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Search term, instead of SEARCH_TERM
    #[arg(long, value_name = "TERM", value_parser = term)]
    search_term: Option<String>,
    /// Phrases that make an episode a mention, separated by `|`, instead of MENTION
    #[arg(long, value_name = "PHRASES", value_parser = phrases)]
    mention: Option<String>,
    /// Show, instead of the one that the search finds: the 22 characters in its link
    #[arg(long, value_name = "ID", value_parser = show)]
    show_id: Option<ShowId>,
    /// Only serve the simulated Spotify on this port, until interrupted
    #[arg(long, value_name = "PORT", conflicts_with_all = ["search_term", "mention", "show_id"])]
    serve_spotify: Option<u16>,
}

impl Args {
    /// The settings that the options replace.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let given = [("SEARCH_TERM", &self.search_term), ("MENTION", &self.mention)];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

pub(super) async fn run(config: Config, args: Args) -> Result<bool, String> {
    match args.serve_spotify {
        Some(port) => serve::sample(port).await.map(|()| true),
        None => demo::run(config, args.show_id).await,
    }
}

fn term(text: &str) -> Result<String, String> {
    Term::parse(text).map(|_| text.to_owned())
}

fn phrases(text: &str) -> Result<String, String> {
    Phrases::parse(text).map(|_| text.to_owned())
}

fn show(text: &str) -> Result<ShowId, String> {
    ShowId::parse(text).ok_or_else(|| {
        "expected the 22 letters and digits after /show/ in the show's link".to_owned()
    })
}
