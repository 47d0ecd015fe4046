//! The main job here and now: a sample Spotify (or the real one, where credentials are set), the
//! real service on a free port, the three messages pushed as Pub/Sub would push them, and what the
//! tables hold then.

mod catalog;
mod spotify;
mod tables;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
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
pub use spotify::{SEARCH_LIMIT, router};

/// Runs the demo and prints what came of it. Returns whether all three tables were filled. `show` is
/// read instead of the one that the search finds.
pub async fn run(mut config: Config, show: Option<ShowId>) -> Result<bool, String> {
    let sampled = config.spotify.credentials.is_none();
    if sampled {
        let spotify = serve_sample(0).await?;
        config.spotify.api_url = spotify.clone();
        config.spotify.accounts_url = spotify;
        config.spotify.credentials = Some(Credentials::Json(SecretString::from(
            r#"{"client_id":"demo","client_secret":"demo"}"#,
        )));
        say!("No Spotify credentials are set: a sample one with invented podcasts stands in.");
    }
    let (timing, naming, warehouse) =
        (config.timing.clone(), config.naming.clone(), config.warehouse.clone());
    let service = Arc::new(Service::new(config)?);
    let listener = listen(0).await?;
    let url = format!("http://{}/", address(&listener)?);
    say!("The service is at {url} and gets one message for each table.\n");
    let router = server::router(Arc::clone(&service), None, None);
    let served = Arc::clone(&service);
    tokio::spawn(server::serve(
        listener,
        router,
        served,
        timing.drain_timeout,
        std::future::pending(),
    ));

    let now = time::OffsetDateTime::now_utc();
    let (mut filled, mut any) = (true, false);
    for kind in Kind::ALL {
        let order = order(kind, &naming, show.as_ref());
        let data = order.to_data();
        let id = format!("demo-{}-{kind}", now.unix_timestamp_nanos());
        let envelope = push::envelope(&data, &id, "");
        let spinner = spinner(&String::from_utf8_lossy(&data));
        let start = Instant::now();
        let answer = push::push(&url, &envelope, &timing).await?;
        spinner.finish_and_clear();
        let is_loaded = answer.is_acknowledged() && answer.outcome == "loaded";
        filled &= is_loaded;
        any |= is_loaded;
        say!("{}", line(kind, &answer, start.elapsed(), naming.configured_table(kind)));
    }
    say!("");
    let taken = match show {
        Some(id) => Some(ChosenShow {
            name: tables::name_of(&warehouse, naming.configured_table(Kind::Podcasts), &id),
            id,
            matched_by: Some(ShowMatch::ShowId),
        }),
        // The service remembers it, unless it answered nothing.
        None if any => service.show(&naming.term).await,
        None => None,
    };
    if let Some(taken) = taken {
        say!("{}\n", about(&taken, &naming.term, sampled));
    }
    match warehouse {
        Warehouse::Sqlite(file) => tables::print(&file, &naming)?,
        Warehouse::BigQuery(bigquery) => {
            for kind in Kind::ALL {
                say!(
                    "bq head --max_rows 5 {}:{}.{}",
                    bigquery.project,
                    bigquery.dataset,
                    naming.configured_table(kind)
                );
            }
        }
    }
    Ok(filled)
}

/// Serves the sample Spotify on a port of this machine, a free one for 0, until the process ends.
pub async fn serve_sample(port: u16) -> Result<Url, String> {
    let listener = listen(port).await?;
    let url = format!("http://{}", address(&listener)?);
    let router = spotify::router(Arc::new(sample()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Url::parse(&url).map_err(|error| error.to_string())
}

async fn listen(port: u16) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(("127.0.0.1", port)).await;
    bound.map_err(|error| format!("port {port} of this machine can't be listened on: {error}"))
}

fn address(listener: &TcpListener) -> Result<std::net::SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

fn spinner(data: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(data.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn line(kind: Kind, answer: &PushResponse, took: Duration, table: &str) -> String {
    let took = format!("{:.1} s", took.as_secs_f64());
    if answer.is_acknowledged() && answer.detail.is_empty() {
        format!("{kind:<9} {} {table} ({took})", answer.outcome)
    } else {
        format!("{kind:<9} {} {}: {} ({took})", answer.status, answer.outcome, answer.detail)
    }
}

/// The message for a table.
fn order(kind: Kind, naming: &Naming, show: Option<&ShowId>) -> TriggerMessage {
    let table = Some(kind.name().to_owned());
    match show.filter(|_| kind != Kind::Podcasts) {
        None => TriggerMessage { table, ..TriggerMessage::default() },
        Some(show) => TriggerMessage {
            table,
            search_term: Some(naming.term.text().to_owned()),
            show_id: Some(show.as_str().to_owned()),
            ..TriggerMessage::default()
        },
    }
}

/// Which show the tables hold and why, and how to choose another.
fn about(taken: &ChosenShow, term: &Term, sampled: bool) -> String {
    let name = taken.name.as_ref().map_or_else(|| taken.id.to_string(), |name| format!("{name:?}"));
    let why = match taken.matched_by {
        Some(ShowMatch::Name) => "its name is the search term".to_owned(),
        Some(ShowMatch::First) => {
            format!("the first result, since no show is named {:?}", term.text())
        }
        Some(ShowMatch::ShowId) | None => "named by --show-id".to_owned(),
    };
    let link = taken.id.link();
    let invented = if sampled { " (invented)" } else { "" };
    format!(
        "The show: {name}, {why}\n  {link}{invented}\n\
         Another show: --show-id with the ID in its link. Another term: --search-term."
    )
}

/// Where the demo's file is, as a path that can be copied.
fn full(file: &Path) -> String {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}
