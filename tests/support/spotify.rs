//! A simulated Spotify: the demo's, with a catalogue of the test's own.

use std::sync::Arc;

use serde_json::{Value, json};
use spotify_bq::demo::{Catalog, id, router};

use super::wire::{Act, Stub, answer};

pub struct Spotify {
    pub stub: Stub,
    pub catalog: Catalog,
}

impl Spotify {
    pub async fn start(catalog: Catalog) -> Self {
        Self { stub: Stub::start(router(Arc::new(catalog.clone()))).await, catalog }
    }

    /// A search that finds `shows` shows, the first of which has `episodes` episodes.
    pub async fn showing(shows: usize, episodes: usize) -> Self {
        Self::start(catalog(shows, episodes)).await
    }

    /// The episodes of the first show.
    pub fn episodes(&self) -> &[Value] {
        &self.catalog.episodes[self.catalog.shows[0]["id"].as_str().unwrap()]
    }

    /// The calls to the Web API, in the order in which they came.
    pub fn api_calls(&self) -> Vec<super::wire::Call> {
        self.stub.calls_to("GET", "/v1/")
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

pub fn show(n: usize) -> Value {
    json!({
        "id": id(&format!("show {n}")), "name": format!("Programa {n}"),
        "description": format!("Descrição\u{a0}{n} \"com aspas\"\ne emoji 🎧"),
        "total_episodes": n, "type": "show", "languages": ["pt-BR"], "explicit": false,
    })
}

/// Every third episode mentions the sponsor, in one of three spellings.
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

/// The answer to a search: a page of these shows.
pub fn search_page(shows: &[Value], total: usize) -> Act {
    answer(200, &json!({ "shows": page(shows, total) }).to_string())
}

/// The answer to a listing of episodes: a page of these.
pub fn episode_page(episodes: &[Value], total: usize) -> Act {
    answer(200, &page(episodes, total).to_string())
}

fn page(items: &[Value], total: usize) -> Value {
    json!({"items": items, "total": total, "limit": 50, "offset": 0, "next": null})
}

/// The piece of a listing from `offset` on, at most `limit` long.
pub fn piece(all: &[Value], offset: usize, limit: usize) -> &[Value] {
    let from = offset.min(all.len());
    &all[from..(from + limit).min(all.len())]
}

/// What the table must hold of these shows.
pub fn podcast_rows(shows: &[Value]) -> Vec<Value> {
    pick(shows, &["name", "description", "id", "total_episodes"])
}

/// What the table must hold of these episodes.
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
