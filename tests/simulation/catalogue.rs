//! What Spotify shows, version by version: each change adds an episode to every show and marks all
//! texts, so that a table tells which moment it shows, and whether it is one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::dice::Dice;
use super::faults::Weather;
use super::lies::{self, Lies};
use super::plan::Plan;
use crate::support::spotify::{episode, episode_rows, podcast_rows, show};

pub struct Term {
    pub text: &'static str,
    /// Its tables, in the order podcasts, episodes, mentions.
    pub tables: [&'static str; 3],
}

/// The terms of the simulation; the first is the configured one.
pub const TERMS: [Term; 3] = [
    Term {
        text: "data hackers",
        tables: [
            "tb_datahackers_limitada",
            "tb_datahackers_episodios_total",
            "tb_datahackers_episodios_boticario",
        ],
    },
    Term {
        text: "Café da Manhã",
        tables: ["podcasts_cafe_da_manha", "episodes_cafe_da_manha", "mentions_cafe_da_manha"],
    },
    Term {
        text: "c++",
        tables: ["podcasts_c_cedb1bac", "episodes_c_cedb1bac", "mentions_c_cedb1bac"],
    },
];
pub const UNKNOWN_TERM: &str = "nada";
pub const UNKNOWN_SHOW: &str = "0000000000000000000000";

pub type Shared = Arc<Mutex<Catalogue>>;

pub struct Catalogue {
    pub version: u64,
    /// When each version but the first came.
    changed: Vec<SystemTime>,
    /// What is said of it while things go wrong.
    lies: Lies,
    weather: Weather,
    /// For each term: how many shows it finds, which of them has its name, and how many episodes
    /// that one has at first.
    sizes: [(usize, usize, usize); 3],
    /// Tokens that are welcome, by the process that asked for them.
    tokens: BTreeSet<String>,
    issued: u64,
    /// Listings that were made once: of a term's shows or episodes, at a version.
    made: BTreeMap<(bool, usize, u64), Arc<Vec<Value>>>,
}

impl Catalogue {
    pub fn new(plan: &Plan, weather: Weather) -> Self {
        Self {
            version: 0,
            changed: Vec::new(),
            lies: Lies::new(plan),
            weather,
            sizes: sizes(plan.seed),
            tokens: BTreeSet::new(),
            issued: 0,
            made: BTreeMap::new(),
        }
    }

    /// Each show gets an episode, and all texts change.
    pub fn change(&mut self) {
        self.version += 1;
        self.changed.push(SystemTime::now());
    }

    /// The version that was shown then.
    pub fn version_at(&self, moment: SystemTime) -> u64 {
        self.changed.iter().filter(|changed| **changed <= moment).count() as u64
    }

    /// How many items a term's listing has, nulls included, and how many of them are null.
    pub fn places(&mut self, is_search: bool, term: usize, version: u64) -> (usize, usize) {
        let all = if is_search { self.shows(term, version) } else { self.episodes(term, version) };
        (all.len(), all.iter().filter(|item| item.is_null()).count())
    }

    fn now<T>(&mut self, show: impl FnOnce(&mut Self, u64) -> T) -> T {
        let version = self.version;
        show(self, version)
    }

    /// Every token is refused from now on.
    pub fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// What a table must hold that shows the catalogue as it was at `version`.
    pub fn rows(&mut self, kind: &str, term: usize, version: u64) -> Vec<Value> {
        let mentions = |episode: &&Value| {
            episode["description"].as_str().is_some_and(|text| text.starts_with("Apoio"))
        };
        match kind {
            "podcasts" => {
                let mut rows = podcast_rows(&self.shows(term, version));
                rows.truncate(50);
                rows
            }
            "episodes" => episode_rows(&self.episodes(term, version)),
            _ => {
                let episodes = self.episodes(term, version);
                let mentions: Vec<Value> = episodes.iter().filter(mentions).cloned().collect();
                episode_rows(&mentions)
            }
        }
    }

    /// All rows that a search could come to.
    pub fn all_shows(&mut self, term: usize, version: u64) -> Vec<Value> {
        podcast_rows(&self.shows(term, version))
    }

    fn shows(&mut self, term: usize, version: u64) -> Arc<Vec<Value>> {
        let (many, named, _) = self.sizes[term];
        let listing = self.made.entry((false, term, version));
        let show_of = |n: usize| {
            let mut show = show(n);
            show["id"] = json!(show_id(term, n));
            show["total_episodes"] = json!(version);
            if n == named {
                show["name"] = json!(TERMS[term].text.to_uppercase());
            } else if n % 10 == 8 {
                return Value::Null;
            }
            show
        };
        Arc::clone(listing.or_insert_with(|| Arc::new((0..many).map(show_of).collect())))
    }

    fn episodes(&mut self, term: usize, version: u64) -> Arc<Vec<Value>> {
        let many = self.sizes[term].2 + version as usize;
        // Where totals lie, a null at the end of a page would hide that a new episode moved it.
        let with_nulls = !self.lies.are_about_totals((false, term));
        let listing = self.made.entry((true, term, version));
        let episode_of = |n: usize| {
            let mut episode = episode(n);
            let description = episode["description"].as_str().unwrap();
            episode["description"] = json!(format!("{description} ({version})"));
            episode["id"] = json!(format!("{term}e{n:020}"));
            if with_nulls && n % 40 == 39 { Value::Null } else { episode }
        };
        // Newest first, so a new one moves all others to later pages.
        Arc::clone(listing.or_insert_with(|| Arc::new((0..many).rev().map(episode_of).collect())))
    }

    fn shown(&mut self, key: lies::Key, all: &[Value], listing: &Listing) -> Option<Value> {
        match self.weather.is_stormy() {
            true => self.lies.page(key, all, listing.offset, listing.limit),
            false => Some(lies::truth(all, listing.offset, listing.limit)),
        }
    }

    fn term_of_show(&self, show: &str) -> Option<usize> {
        (0..TERMS.len()).find(|term| show == show_id(*term, self.sizes[*term].1))
    }
}

/// For each term: how many shows it finds, which of them has its name, and how many episodes that one
/// has at first.
fn sizes(seed: u64) -> [(usize, usize, usize); 3] {
    let mut dice = Dice::new(seed, "catalogue");
    let mut size = || {
        let shows = *dice.pick(&[1, 7, 10, 34, 57]);
        let named = dice.number(0..10).min(shows as u64 - 1) as usize;
        (shows, named, *dice.pick(&[1, 9, 50, 73, 120]))
    };
    [size(), size(), size()]
}

/// The show of a seed's term.
pub fn show_of(seed: u64, term: usize) -> String {
    show_id(term, sizes(seed)[term].1)
}

fn show_id(term: usize, n: usize) -> String {
    format!("{term}s{n:020}")
}

/// Which process holds the token of this call.
pub fn process_of(headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    bearer.split('/').next().map(str::to_owned)
}

pub fn router(catalogue: Shared) -> Router {
    Router::new()
        .route("/api/token", post(token))
        .route("/v1/search", get(search))
        .route("/v1/shows/{id}", get(one_show))
        .route("/v1/shows/{id}/episodes", get(episodes))
        .with_state(catalogue)
}

#[derive(Deserialize)]
struct Listing {
    q: Option<String>,
    limit: usize,
    offset: usize,
}

async fn token(State(catalogue): State<Shared>, headers: HeaderMap) -> Response {
    let basic = headers[header::AUTHORIZATION].to_str().unwrap();
    let basic = STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap();
    let process = String::from_utf8(basic).unwrap().split(':').next().unwrap().to_owned();
    let mut catalogue = catalogue.lock().unwrap();
    catalogue.issued += 1;
    let token = format!("{process}/{}", catalogue.issued);
    catalogue.tokens.insert(token.clone());
    // Some end at once, and are renewed for each call.
    let expires_in = if catalogue.issued.is_multiple_of(5) { 1 } else { 3600 };
    axum::Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": expires_in}))
        .into_response()
}

async fn search(
    State(catalogue): State<Shared>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    let mut catalogue = catalogue.lock().unwrap();
    if !catalogue.welcomes(&headers) {
        return error(StatusCode::UNAUTHORIZED, "Invalid access token");
    }
    let term = TERMS.iter().position(|term| listing.q.as_deref() == Some(term.text));
    let shown = match term {
        Some(term) => {
            let shows = catalogue.now(|catalogue, version| catalogue.shows(term, version));
            catalogue.shown((true, term), &shows, &listing)
        }
        None => Some(lies::truth(&[], listing.offset, listing.limit)),
    };
    match shown {
        Some(page) => axum::Json(json!({ "shows": page })).into_response(),
        None => error(StatusCode::NOT_FOUND, "Not found."),
    }
}

/// A show itself, of which nothing is read but that it exists.
async fn one_show(
    State(catalogue): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let catalogue = catalogue.lock().unwrap();
    if !catalogue.welcomes(&headers) {
        return error(StatusCode::UNAUTHORIZED, "Invalid access token");
    }
    match catalogue.term_of_show(&id) {
        None => error(StatusCode::NOT_FOUND, "non existing id"),
        Some(_) => axum::Json(json!({"id": id, "type": "show"})).into_response(),
    }
}

async fn episodes(
    State(catalogue): State<Shared>,
    Path(id): Path<String>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    let mut catalogue = catalogue.lock().unwrap();
    if !catalogue.welcomes(&headers) {
        return error(StatusCode::UNAUTHORIZED, "The access token expired");
    }
    match catalogue.term_of_show(&id) {
        None => error(StatusCode::NOT_FOUND, "non existing id"),
        Some(term) => {
            let episodes = catalogue.now(|catalogue, version| catalogue.episodes(term, version));
            match catalogue.shown((false, term), &episodes, &listing) {
                Some(page) => axum::Json(page).into_response(),
                None => error(StatusCode::NOT_FOUND, "non existing id"),
            }
        }
    }
}

impl Catalogue {
    fn welcomes(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|bearer| bearer.strip_prefix("Bearer "));
        token.is_some_and(|token| self.tokens.contains(token))
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"status": status.as_u16(), "message": message}});
    (status, axum::Json(body)).into_response()
}
