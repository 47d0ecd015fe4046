//! Spotify: whether its API responds, and which show the service chooses for the configured term.

use super::finding::Finding;
use crate::config::Config;
use crate::context::Context;
use crate::extraction::Extractor;
use crate::failure::Failure;
use crate::names::{ChosenShow, ShowMatch};
use crate::spotify::{CallError, Spotify};

/// The largest search page, which only an app in Extended Quota Mode may request.
const MAX_PAGE_SIZE: u32 = 50;

pub(super) async fn findings(config: &Config) -> Result<Vec<Finding>, String> {
    let client = || Spotify::new(config).map_err(|error| error.to_string());
    let context = Context::new(config.timing.message_deadline);
    let term = &config.naming.term;
    let what = "Spotify";
    let show = match Extractor::new(config, client()?).show(term, &context).await {
        Ok(show) => show,
        Err(failure) => return Ok(vec![Finding::failure(what, &failure)]),
    };
    let mode = match client()?.search(term, 0, MAX_PAGE_SIZE, &context).await {
        Ok(_) => "Extended Quota Mode: SPOTIFY_SEARCH_PAGE_SIZE can be up to 50",
        Err(CallError::Failed(Failure::SpotifyRefused { .. })) => {
            "Development Mode: search pages have at most 10 items"
        }
        Err(_) => "mode unknown: Spotify did not respond; run `spotify-bq check` again",
    };
    let search = format!("responds to a search for {:?}", term.text());
    Ok(vec![Finding::ok(what, search), show_finding(show), Finding::ok("Spotify app", mode)])
}

fn show_finding(show: ChosenShow) -> Finding {
    let ChosenShow { id, name, matched_by } = show;
    let title =
        name.as_ref().map_or("a show without a name".to_owned(), |name| format!("{name:?}"));
    let detail = match matched_by {
        Some(ShowMatch::First) => format!(
            "{title} ({id}), the first result, because no show's name equals the term. The first result can change: to load a fixed show, set show_id in the messages"
        ),
        _ => format!("{title} ({id}), whose name equals the term"),
    };
    Finding::ok("show", detail)
        .with("showId", id.as_str())
        .with("show", name)
        .with("showMatch", matched_by.map(ShowMatch::name))
}
