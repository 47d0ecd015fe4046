//! The demo: starts the service and, unless credentials are set, a simulated Spotify; pushes one message
//! for each table as Pub/Sub would; and prints the tables.

mod catalog;
mod spotify;
mod tables;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

use crate::config::{Config, Credentials, Warehouse};
use crate::job::TriggerMessage;
use crate::names::{ChosenShow, Kind, Naming, ShowId, ShowMatch, Term};
use crate::push::{self, PushResponse};
use crate::server;
use crate::service::Service;
pub use catalog::{Catalog, id, sample};
pub use spotify::{MAX_SEARCH_LIMIT, router};

/// Runs the demo and prints the results. Reads `show_id` instead of the show that the search finds.
/// Returns whether all three tables were filled.
pub async fn run(mut config: Config, show_id: Option<ShowId>) -> Result<bool, String> {
    let is_simulated = config.spotify.credentials.is_none();
    if is_simulated {
        simulate_spotify(&mut config).await?;
        say!("No Spotify credentials are set: using a simulated Spotify with fictitious data.");
    }
    let (timing, naming, warehouse) =
        (config.timing.clone(), config.naming.clone(), config.warehouse.clone());
    let service = Arc::new(Service::new(config)?);
    let listener = listen(0).await?;
    let url = format!("http://{}/", local_address(&listener)?);
    say!("Sending one message for each table to the service at {url}.\n");
    let router = server::router(Arc::clone(&service), None, None);
    let never = std::future::pending();
    tokio::spawn(server::serve(
        listener,
        router,
        Arc::clone(&service),
        timing.drain_timeout,
        never,
    ));

    let started_at = OffsetDateTime::now_utc().unix_timestamp_nanos();
    let mut loaded = 0;
    for kind in Kind::ALL {
        let data = message(kind, &naming, show_id.as_ref()).to_data();
        let envelope = push::envelope(&data, &format!("demo-{started_at}-{kind}"), "");
        let spinner = spinner(&String::from_utf8_lossy(&data));
        let start = Instant::now();
        let response = push::push(&url, &envelope, &timing).await?;
        spinner.finish_and_clear();
        loaded += usize::from(response.is_acknowledged() && response.outcome == "loaded");
        let table = naming.configured_table(kind);
        say!("{}", describe_response(kind, &response, start.elapsed(), table));
    }
    say!("");
    let show = match show_id {
        Some(id) => Some(ChosenShow {
            name: tables::show_name(&warehouse, naming.configured_table(Kind::Podcasts), &id),
            id,
            matched_by: Some(ShowMatch::ShowId),
        }),
        // The service remembers the show of a search. Without a load, Spotify may be unavailable.
        None if loaded > 0 => service.show(&naming.term).await,
        None => None,
    };
    if let Some(show) = show {
        say!("{}\n", describe_show(&show, &naming.term, is_simulated));
    }
    match warehouse {
        Warehouse::Sqlite(file) => tables::print(&file, &naming)?,
        Warehouse::BigQuery(bigquery) => {
            say!("To look at the tables:");
            for kind in Kind::ALL {
                say!(
                    "  bq head --max_rows 5 {}:{}.{}",
                    bigquery.project,
                    bigquery.dataset,
                    naming.configured_table(kind)
                );
            }
        }
    }
    Ok(loaded == Kind::ALL.len())
}

async fn simulate_spotify(config: &mut Config) -> Result<(), String> {
    let url = serve_spotify(0).await?;
    config.spotify.api_url = url.clone();
    config.spotify.accounts_url = url;
    config.spotify.credentials = Some(Credentials::Json(SecretString::from(
        r#"{"client_id":"demo","client_secret":"demo"}"#,
    )));
    Ok(())
}

/// Serves the simulated Spotify on a local port until the process ends; port 0 chooses a free one.
pub async fn serve_spotify(port: u16) -> Result<Url, String> {
    let listener = listen(port).await?;
    let url = format!("http://{}", local_address(&listener)?);
    let router = spotify::router(Arc::new(sample()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Url::parse(&url).map_err(|error| error.to_string())
}

async fn listen(port: u16) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(("127.0.0.1", port)).await;
    bound.map_err(|error| format!("cannot listen on port {port}: {error}; choose a free port"))
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

fn spinner(message: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(message.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn describe_response(
    kind: Kind,
    response: &PushResponse,
    elapsed: Duration,
    table: &str,
) -> String {
    let seconds = elapsed.as_secs_f64();
    let PushResponse { status, outcome, detail } = response;
    if response.is_acknowledged() && detail.is_empty() {
        format!("{kind:<9} {outcome} {table} ({seconds:.1} s)")
    } else {
        format!("{kind:<9} {status} {outcome}: {detail} ({seconds:.1} s)")
    }
}

/// Returns the message that loads a table.
fn message(kind: Kind, naming: &Naming, show_id: Option<&ShowId>) -> TriggerMessage {
    let table = Some(kind.name().to_owned());
    match show_id.filter(|_| kind != Kind::Podcasts) {
        None => TriggerMessage { table, ..TriggerMessage::default() },
        Some(id) => TriggerMessage {
            table,
            search_term: Some(naming.term.text().to_owned()),
            show_id: Some(id.as_str().to_owned()),
            ..TriggerMessage::default()
        },
    }
}

/// Describes the show of the tables, why it was chosen, and how to choose another.
fn describe_show(show: &ChosenShow, term: &Term, is_simulated: bool) -> String {
    let title = show.name.as_ref().map_or_else(|| show.id.to_string(), |name| format!("{name:?}"));
    let why = match show.matched_by {
        Some(ShowMatch::Name) => "its name equals the search term".to_owned(),
        Some(ShowMatch::First) => {
            format!("the first result, because no show is named {:?}", term.text())
        }
        Some(ShowMatch::ShowId) | None => "chosen with --show-id".to_owned(),
    };
    let link = show.id.link();
    let (fictitious, hint) = if is_simulated {
        (" (fictitious)", "\nTo read the real Spotify, set SPOTIFY_CREDENTIALS (docs/settings.md).")
    } else {
        ("", "")
    };
    format!(
        "The show: {title}, {why}\n  {link}{fictitious}\n\
         To read another show, pass --show-id with the ID in its link.\n\
         To search for another term, pass --search-term.{hint}"
    )
}
