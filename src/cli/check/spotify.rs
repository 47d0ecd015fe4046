//! Spotify: whether it answers the app, and which show the configured term stands for.

use std::borrow::Cow;

use super::Finding;
use crate::config::Config;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::names::{ShowId, Term};
use crate::spotify::wire::{Paging, Show};
use crate::spotify::{CallError, Spotify};
use crate::text::fold;

/// The show of a term.
struct TermShow {
    id: ShowId,
    name: Option<String>,
    /// `name`, or `first` if no show on the page has the term's name.
    r#match: &'static str,
}

pub(super) async fn findings(config: &Config) -> Result<Vec<Finding>, String> {
    let client =
        Spotify::new(&config.spotify, &config.timing).map_err(|error| error.to_string())?;
    let term = &config.naming.term;
    let search = async |limit: u32| {
        let meter = Meter::new(config.timing.message_deadline);
        let read = |paging: Paging<Show<'_>>| (paging.total, show_of(&paging, term));
        client.search(term, 0, limit, &meter, read).await
    };
    let what = "Spotify";
    Ok(match search(config.spotify.search_page_size).await {
        Ok((total, show)) => {
            let mode = match search(50).await {
                Ok(_) => "Extended Quota Mode: SPOTIFY_SEARCH_PAGE_SIZE may be 50",
                Err(CallError::Failed(Failure::SpotifyRefused { .. })) => {
                    "Development Mode: search pages have at most 10 items"
                }
                Err(_) => "unknown: Spotify did not answer",
            };
            let found = format!("a search for {:?} finds {total} shows", term.text());
            vec![Finding::ok(what, found), of_show(term, show), Finding::ok("Spotify app", mode)]
        }
        Err(CallError::Failed(failure)) => vec![Finding::failure(what, &failure)],
        Err(CallError::NotFound) => {
            vec![Finding::problem(what, "404 to a search", "check SPOTIFY_API_URL")]
        }
    })
}

/// The show that the term's tables hold, by the rule of the extraction: the first one on the page that
/// has the term's name, else the first.
fn show_of(paging: &Paging<Show<'_>>, term: &Term) -> Option<TermShow> {
    let shows = || {
        paging.items.iter().flatten().filter_map(|show| {
            let id = show.id.as_deref().and_then(ShowId::from_spotify)?;
            Some((id, show.name.as_ref().and_then(|name| name.read().ok()).map(Cow::into_owned)))
        })
    };
    let has_the_name = |(_, name): &(ShowId, Option<String>)| {
        name.as_ref().is_some_and(|name| fold(name) == term.folded())
    };
    let named = shows().find(has_the_name).map(|found| (found, "name"));
    let ((id, name), r#match) = named.or_else(|| shows().next().map(|found| (found, "first")))?;
    Some(TermShow { id, name, r#match })
}

fn of_show(term: &Term, show: Option<TermShow>) -> Finding {
    let what = "show";
    let Some(TermShow { id, name, r#match }) = show else {
        return Finding::problem(
            what,
            format!("the first page of the search for {:?} has none", term.text()),
            "run the command again; if it stays so, check SEARCH_TERM's spelling and SPOTIFY_MARKET",
        );
    };
    let shown =
        name.as_ref().map_or("a show without a name".to_owned(), |name| format!("{name:?}"));
    let detail = match r#match {
        "name" => format!("{shown} ({id}), which has the term's name"),
        _ => format!(
            "{shown} ({id}), the first that the search finds: none has the term's name, and another day another may be first; messages with show_id name one"
        ),
    };
    Finding::ok(what, detail)
        .with("showId", id.as_str())
        .with("show", name)
        .with("showMatch", r#match)
}
