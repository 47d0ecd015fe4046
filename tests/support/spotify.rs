//! A simulated Spotify: that of the demo, with the catalog of a test.

use std::sync::Arc;

use serde_json::{Value, json};
use spotify_bq::demo::{Catalog, id, router};

use super::wire::{Act, Call, Stub, answer};

pub struct Spotify {
    pub stub: Stub,
    pub catalog: Catalog,
}

impl Spotify {
    pub async fn start(catalog: Catalog) -> Self {
        Self { stub: Stub::start(router(Arc::new(catalog.clone()))).await, catalog }
    }

    /// Starts a Spotify whose search returns `shows` shows, the first of which has `episodes` episodes.
    pub async fn showing(shows: usize, episodes: usize) -> Self {
        Self::start(catalog(shows, episodes)).await
    }

    /// Returns the episodes of the first show.
    pub fn episodes(&self) -> &[Value] {
        &self.catalog.episodes[self.catalog.shows[0]["id"].as_str().unwrap()]
    }

    /// Returns the episodes of the first show that mention the sponsor.
    pub fn mentions(&self) -> Vec<Value> {
        self.episodes().iter().step_by(3).cloned().collect()
    }

    /// Returns the calls to the Web API in their order.
    pub fn api_calls(&self) -> Vec<Call> {
        self.stub.calls_to("GET", "/v1/")
    }

    /// Adds an episode to the first show at the start of each reading, from 101 episodes on.
    pub fn grow_with_each_reading(&self) {
        let episodes: Vec<Value> = (0..120).map(episode).collect();
        let mut readings = 0;
        self.stub.on(move |call| {
            if !call.path.ends_with("/episodes") {
                return Act::Pass;
            }
            readings += usize::from(call.number("offset") == 0);
            let listed = &episodes[20 - readings..];
            episode_page(piece(listed, call.number("offset"), call.number("limit")), listed.len())
        });
    }

    /// Returns how many times the episodes were read from the start.
    pub fn readings(&self) -> usize {
        let calls = self.stub.calls_to("GET", "/episodes");
        calls.iter().filter(|call| call.number("offset") == 0).count()
    }
}

pub fn catalog(shows: usize, episodes: usize) -> Catalog {
    let shows: Vec<Value> = (0..shows).map(show).collect();
    let mut catalog = Catalog { shows, ..Catalog::default() };
    if let Some(first) = catalog.shows.first() {
        let first = first["id"].as_str().unwrap().to_owned();
        catalog.episodes.insert(first, (0..episodes).map(episode).collect());
    }
    catalog
}

/// Returns a catalog with a show whose episodes all have this description.
pub fn catalog_with(episodes: usize, description: &str) -> Catalog {
    let mut catalog = catalog(1, episodes);
    for episode in catalog.episodes.values_mut().flatten() {
        episode["description"] = json!(description);
    }
    catalog
}

pub fn show(n: usize) -> Value {
    json!({
        "id": id(&format!("show {n}")), "name": format!("Programa {n}"),
        "description": format!("Descrição\u{a0}{n} \"com aspas\"\ne emoji 🎧"),
        "total_episodes": n, "type": "show", "languages": ["pt-BR"], "explicit": false,
    })
}

/// Returns an episode. Every third one mentions the sponsor, in one of three spellings.
pub fn episode(n: usize) -> Value {
    let mention = ["Grupo Boticário", "GRUPO\u{a0}BOTICARIO", "grupo Botica\u{301}rio"][n / 3 % 3];
    let description =
        if n.is_multiple_of(3) { format!("Apoio: {mention}!") } else { format!("Só {n}") };
    json!({
        "id": id(&format!("episode {n}")), "name": format!("Episódio {n}"),
        "description": description,
        "release_date": format!("20{:02}-{:02}-{:02}", n % 26, n % 12 + 1, n % 28 + 1),
        "release_date_precision": "day", "duration_ms": 60_000 + n, "language": "pt",
        "languages": ["pt-BR"], "explicit": n.is_multiple_of(7), "type": "episode",
    })
}

/// Returns the response to a search with these shows.
pub fn search_page(shows: &[Value], total: usize) -> Act {
    answer(200, &json!({ "shows": page(shows, total) }).to_string())
}

/// Returns the response to a listing with these episodes.
pub fn episode_page(episodes: &[Value], total: usize) -> Act {
    answer(200, &page(episodes, total).to_string())
}

/// Returns an error body of the Web API.
pub fn error_body(status: u16, message: &str) -> String {
    json!({"error": {"status": status, "message": message}}).to_string()
}

fn page(items: &[Value], total: usize) -> Value {
    json!({"items": items, "total": total, "limit": 50, "offset": 0, "next": null})
}

/// Returns at most `limit` items of a listing from `offset` on.
pub fn piece(all: &[Value], offset: usize, limit: usize) -> &[Value] {
    let from = offset.min(all.len());
    &all[from..(from + limit).min(all.len())]
}

/// Returns the rows of these shows.
pub fn podcast_rows(shows: &[Value]) -> Vec<Value> {
    pick(shows, &["name", "description", "id", "total_episodes"])
}

/// Returns the rows of these episodes.
pub fn episode_rows(episodes: &[Value]) -> Vec<Value> {
    pick(
        episodes,
        &[
            "id",
            "name",
            "description",
            "release_date",
            "duration_ms",
            "language",
            "explicit",
            "type",
        ],
    )
}

fn pick(items: &[Value], columns: &[&str]) -> Vec<Value> {
    let row =
        |item: &Value| columns.iter().map(|key| ((*key).to_owned(), item[key].clone())).collect();
    items.iter().filter(|item| !item.is_null()).map(|item| Value::Object(row(item))).collect()
}
