//! The simulated Spotify's catalog. Each change creates a version: it adds an episode to every show and
//! changes all texts, so that a table's rows show which version was read, and whether it was only one.

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

use super::faults::FaultPhase;
use super::page_faults::{self, PageFaults};
use super::plan::Plan;
use super::random::SeededRandom;
use crate::support::spotify::{episode, episode_rows, podcast_rows, show};

pub struct Term {
    pub text: &'static str,
    /// The tables for podcasts, episodes and mentions.
    pub tables: [&'static str; 3],
}

/// The terms of the simulation. The first is the configured one.
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

pub type Shared = Arc<Mutex<Catalog>>;

pub struct Catalog {
    pub version: u64,
    /// When each version began, except the first.
    changed: Vec<SystemTime>,
    page_faults: PageFaults,
    phase: FaultPhase,
    sizes: [Size; 3],
    /// Valid tokens, which start with the process that requested them.
    tokens: BTreeSet<String>,
    issued: u64,
    /// Listings by whether they are of episodes, term and version.
    listings: BTreeMap<(bool, usize, u64), Arc<Vec<Value>>>,
}

impl Catalog {
    pub fn new(plan: &Plan, phase: FaultPhase) -> Self {
        Self {
            version: 0,
            changed: Vec::new(),
            page_faults: PageFaults::new(plan),
            phase,
            sizes: sizes(plan.seed),
            tokens: BTreeSet::new(),
            issued: 0,
            listings: BTreeMap::new(),
        }
    }

    /// Adds an episode to each show and changes all texts.
    pub fn change(&mut self) {
        self.version += 1;
        self.changed.push(SystemTime::now());
    }

    /// Returns the version at a time.
    pub fn version_at(&self, moment: SystemTime) -> u64 {
        self.changed.iter().filter(|changed| **changed <= moment).count() as u64
    }

    /// Returns how many items a term's listing has, including nulls, and how many are null.
    pub fn item_counts(&mut self, is_search: bool, term: usize, version: u64) -> (usize, usize) {
        let all = if is_search { self.shows(term, version) } else { self.episodes(term, version) };
        (all.len(), all.iter().filter(|item| item.is_null()).count())
    }

    /// Revokes all tokens.
    pub fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// Returns the rows of a table for a version.
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

    /// Returns rows for all results of a search.
    pub fn all_shows(&mut self, term: usize, version: u64) -> Vec<Value> {
        podcast_rows(&self.shows(term, version))
    }

    fn shows(&mut self, term: usize, version: u64) -> Arc<Vec<Value>> {
        let Size { shows, named, .. } = self.sizes[term];
        let listing = self.listings.entry((false, term, version));
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
        Arc::clone(listing.or_insert_with(|| Arc::new((0..shows).map(show_of).collect())))
    }

    fn episodes(&mut self, term: usize, version: u64) -> Arc<Vec<Value>> {
        let count = self.sizes[term].episodes + version as usize;
        // If totals are wrong, a null at the end of a page would hide that a new episode moved the others.
        let with_nulls = !self.page_faults.are_in_totals((false, term));
        let listing = self.listings.entry((true, term, version));
        let episode_of = |n: usize| {
            let mut episode = episode(n);
            let description = episode["description"].as_str().unwrap();
            episode["description"] = json!(format!("{description} ({version})"));
            episode["id"] = json!(format!("{term}e{n:020}"));
            if with_nulls && n % 40 == 39 { Value::Null } else { episode }
        };
        // Newest first, so that a new one moves all others to later pages.
        Arc::clone(listing.or_insert_with(|| Arc::new((0..count).rev().map(episode_of).collect())))
    }

    fn page(&mut self, key: page_faults::Key, all: &[Value], query: &Listing) -> Option<Value> {
        match self.phase.is_active() {
            true => self.page_faults.page(key, all, query.offset, query.limit),
            false => Some(page_faults::correct_page(all, query.offset, query.limit)),
        }
    }

    fn term_of_show(&self, show: &str) -> Option<usize> {
        (0..TERMS.len()).find(|term| show == show_id(*term, self.sizes[*term].named))
    }
}

#[derive(Clone, Copy)]
struct Size {
    /// The number of results of the search.
    shows: usize,
    /// The result that has the term as its name.
    named: usize,
    /// The number of episodes of that show in the first version.
    episodes: usize,
}

fn sizes(seed: u64) -> [Size; 3] {
    let mut random = SeededRandom::new(seed, "catalog");
    let mut size = || {
        let shows = *random.pick(&[1, 7, 10, 34, 57]);
        let named = random.number(0..10).min(shows as u64 - 1) as usize;
        Size { shows, named, episodes: *random.pick(&[1, 9, 50, 73, 120]) }
    };
    [size(), size(), size()]
}

/// Returns the ID of the show of a term.
pub fn show_of(seed: u64, term: usize) -> String {
    show_id(term, sizes(seed)[term].named)
}

fn show_id(term: usize, n: usize) -> String {
    format!("{term}s{n:020}")
}

/// Returns the process whose token a call has.
pub fn process_of(headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    bearer.split('/').next().map(str::to_owned)
}

pub fn router(catalog: Shared) -> Router {
    Router::new()
        .route("/api/token", post(token))
        .route("/v1/search", get(search))
        .route("/v1/shows/{id}", get(one_show))
        .route("/v1/shows/{id}/episodes", get(episodes))
        .with_state(catalog)
}

#[derive(Deserialize)]
struct Listing {
    q: Option<String>,
    limit: usize,
    offset: usize,
}

async fn token(State(catalog): State<Shared>, headers: HeaderMap) -> Response {
    let basic = headers[header::AUTHORIZATION].to_str().unwrap();
    let basic = STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap();
    let process = String::from_utf8(basic).unwrap().split(':').next().unwrap().to_owned();
    let mut catalog = catalog.lock().unwrap();
    catalog.issued += 1;
    let token = format!("{process}/{}", catalog.issued);
    catalog.tokens.insert(token.clone());
    // Some tokens expire at once, so that each call needs a new one.
    let expires_in = if catalog.issued.is_multiple_of(5) { 1 } else { 3600 };
    axum::Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": expires_in}))
        .into_response()
}

async fn search(
    State(catalog): State<Shared>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    let mut catalog = catalog.lock().unwrap();
    if !catalog.is_authorized(&headers) {
        return error(StatusCode::UNAUTHORIZED, "Invalid access token");
    }
    let term = TERMS.iter().position(|term| listing.q.as_deref() == Some(term.text));
    let page = match term {
        Some(term) => {
            let version = catalog.version;
            let shows = catalog.shows(term, version);
            catalog.page((true, term), &shows, &listing)
        }
        None => Some(page_faults::correct_page(&[], listing.offset, listing.limit)),
    };
    match page {
        Some(page) => axum::Json(json!({ "shows": page })).into_response(),
        None => error(StatusCode::NOT_FOUND, "Not found."),
    }
}

/// A show. The service only checks that it exists.
async fn one_show(
    State(catalog): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let catalog = catalog.lock().unwrap();
    if !catalog.is_authorized(&headers) {
        return error(StatusCode::UNAUTHORIZED, "Invalid access token");
    }
    match catalog.term_of_show(&id) {
        None => error(StatusCode::NOT_FOUND, "non existing id"),
        Some(_) => axum::Json(json!({"id": id, "type": "show"})).into_response(),
    }
}

async fn episodes(
    State(catalog): State<Shared>,
    Path(id): Path<String>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    let mut catalog = catalog.lock().unwrap();
    if !catalog.is_authorized(&headers) {
        return error(StatusCode::UNAUTHORIZED, "The access token expired");
    }
    match catalog.term_of_show(&id) {
        None => error(StatusCode::NOT_FOUND, "non existing id"),
        Some(term) => {
            let version = catalog.version;
            let episodes = catalog.episodes(term, version);
            match catalog.page((false, term), &episodes, &listing) {
                Some(page) => axum::Json(page).into_response(),
                None => error(StatusCode::NOT_FOUND, "non existing id"),
            }
        }
    }
}

impl Catalog {
    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|bearer| bearer.strip_prefix("Bearer "));
        token.is_some_and(|token| self.tokens.contains(token))
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"status": status.as_u16(), "message": message}});
    (status, axum::Json(body)).into_response()
}
