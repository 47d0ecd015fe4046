//! Spotify: whether it answers the app, and which show the configured term stands for.

use super::Finding;
use crate::config::Config;
use crate::extraction::{Extractor, ShowMatch, TakenShow};
use crate::failure::Failure;
use crate::meter::Meter;
use crate::spotify::{CallError, Spotify};

pub(super) async fn findings(config: &Config) -> Result<Vec<Finding>, String> {
    let client =
        || Spotify::new(&config.spotify, &config.timing).map_err(|error| error.to_string());
    let meter = Meter::new(config.timing.message_deadline, config.timing.message_deadline);
    let term = &config.naming.term;
    let what = "Spotify";
    let taken = match Extractor::new(config, client()?).show(term, &meter).await {
        Ok(taken) => taken,
        Err(failure) => return Ok(vec![Finding::failure(what, &failure)]),
    };
    let mode = match client()?.search(term, 0, 50, &meter, |_| ()).await {
        Ok(()) => "Extended Quota Mode: SPOTIFY_SEARCH_PAGE_SIZE can be up to 50",
        Err(CallError::Failed(Failure::SpotifyRefused { .. })) => {
            "Development Mode: search pages have at most 10 items"
        }
        Err(_) => "mode unknown: Spotify did not respond; run `spotify-bq check` again",
    };
    let answers = format!("responds to a search for {:?}", term.text());
    Ok(vec![Finding::ok(what, answers), of_show(taken), Finding::ok("Spotify app", mode)])
}

fn of_show(taken: TakenShow) -> Finding {
    let TakenShow { id, name, r#match } = taken;
    let shown =
        name.as_ref().map_or("a show without a name".to_owned(), |name| format!("{name:?}"));
    let detail = match r#match {
        ShowMatch::First => format!(
            "{shown} ({id}), the first result, because no show's name equals the term. The first result can change: to load a fixed show, set show_id in the messages"
        ),
        _ => format!("{shown} ({id}), whose name equals the term"),
    };
    Finding::ok("show", detail)
        .with("showId", id.as_str())
        .with("show", name)
        .with("showMatch", r#match.name())
}
