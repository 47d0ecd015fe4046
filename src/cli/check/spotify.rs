//! Spotify: whether it answers the app, and which show the configured term stands for.

use super::Finding;
use crate::config::Config;
use crate::context::Context;
use crate::extraction::Extractor;
use crate::failure::Failure;
use crate::names::{ChosenShow, ShowMatch};
use crate::spotify::{CallError, Spotify};

pub(super) async fn findings(config: &Config) -> Result<Vec<Finding>, String> {
    let client = || Spotify::new(config).map_err(|error| error.to_string());
    let context = Context::new(config.timing.message_deadline);
    let term = &config.naming.term;
    let what = "Spotify";
    let taken = match Extractor::new(config, client()?).show(term, &context).await {
        Ok(taken) => taken,
        Err(failure) => return Ok(vec![Finding::failure(what, &failure)]),
    };
    let mode = match client()?.search(term, 0, 50, &context).await {
        Ok(_) => "Extended Quota Mode: SPOTIFY_SEARCH_PAGE_SIZE may be 50",
        Err(CallError::Failed(Failure::SpotifyRefused { .. })) => {
            "Development Mode: search pages have at most 10 items"
        }
        Err(_) => "unknown: Spotify did not answer",
    };
    let answers = format!("answers a search for {:?}", term.text());
    Ok(vec![Finding::ok(what, answers), of_show(taken), Finding::ok("Spotify app", mode)])
}

fn of_show(taken: ChosenShow) -> Finding {
    let ChosenShow { id, name, matched_by } = taken;
    let shown =
        name.as_ref().map_or("a show without a name".to_owned(), |name| format!("{name:?}"));
    let detail = match matched_by {
        Some(ShowMatch::First) => format!(
            "{shown} ({id}), the first result: no show has the term's name, and another day another show may be first; to choose one, put its show_id into the messages"
        ),
        _ => format!("{shown} ({id}), which has the term's name"),
    };
    Finding::ok("show", detail)
        .with("showId", id.as_str())
        .with("show", name)
        .with("showMatch", matched_by.map(ShowMatch::name))
}
