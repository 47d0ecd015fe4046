//! A sample Spotify: the calls that the service makes, answered from a catalogue as Spotify
//! answers an app in Development Mode. The tests serve catalogues of their own with it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalog::Catalog;

/// Items of a search page in Development Mode, at most.
pub const SEARCH_LIMIT: usize = 10;
const EPISODES_LIMIT: usize = 50;
const TOKEN: &str = "sample-token";

#[derive(Deserialize)]
struct Listing {
    q: Option<String>,
    market: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// The routes of Web API and token endpoint alike.
pub fn router(catalog: Arc<Catalog>) -> Router {
    Router::new()
        .route("/api/token", post(token))
        .route("/v1/search", get(search))
        .route("/v1/shows/{id}", get(show))
        .route("/v1/shows/{id}/episodes", get(episodes))
        .with_state(catalog)
}

async fn token(headers: HeaderMap) -> Response {
    match headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        Some(basic) if basic.starts_with("Basic ") => {
            let token = json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600});
            axum::Json(token).into_response()
        }
        _ => {
            let error = json!({"error": "invalid_client", "error_description": "Invalid client"});
            (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
        }
    }
}

async fn search(
    State(catalog): State<Arc<Catalog>>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let limit = listing.limit.unwrap_or(5);
    let query = listing.q.unwrap_or_default();
    if query.is_empty() {
        return error(StatusCode::BAD_REQUEST, "No search query");
    }
    if !(1..=SEARCH_LIMIT).contains(&limit) {
        return error(StatusCode::BAD_REQUEST, "Invalid limit");
    }
    let offset = listing.offset.unwrap_or(0);
    if offset + limit > 1000 {
        return error(StatusCode::NOT_FOUND, "Not found.");
    }
    let mut page = page(&catalog.found(&query), offset, limit);
    if listing.market.is_none() {
        // Spotify's own trap: the total is true, and the items are nulls.
        let nulls = page["items"].as_array().map_or(0, Vec::len);
        page["items"] = Value::from(vec![Value::Null; nulls]);
    }
    axum::Json(json!({ "shows": page })).into_response()
}

async fn episodes(
    State(catalog): State<Arc<Catalog>>,
    Path(id): Path<String>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let limit = listing.limit.unwrap_or(20);
    if !(1..=EPISODES_LIMIT).contains(&limit) {
        return error(StatusCode::BAD_REQUEST, "Invalid limit");
    }
    match (catalog.episodes.get(&id), listing.market) {
        (Some(all), Some(_)) => {
            let all: Vec<&Value> = all.iter().collect();
            axum::Json(page(&all, listing.offset.unwrap_or(0), limit)).into_response()
        }
        _ => error(StatusCode::NOT_FOUND, "non existing id"),
    }
}

async fn show(
    State(catalog): State<Arc<Catalog>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let is_it = |show: &&Value| show["id"] == id;
    match catalog.shows.iter().chain(&catalog.more).find(is_it) {
        Some(show) => axum::Json(show).into_response(),
        None => error(StatusCode::NOT_FOUND, "non existing id"),
    }
}

fn page(all: &[&Value], offset: usize, limit: usize) -> Value {
    let items: Vec<&Value> = all.iter().copied().skip(offset).take(limit).collect();
    let more = offset + items.len() < all.len();
    json!({
        "href": "", "items": items, "limit": limit, "offset": offset, "total": all.len(),
        "next": more.then(|| format!("?offset={}&limit={limit}", offset + limit)),
        "previous": null,
    })
}

fn refused(headers: &HeaderMap) -> Option<Response> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known = bearer.and_then(|value| value.strip_prefix("Bearer ")) == Some(TOKEN);
    (!known).then(|| error(StatusCode::UNAUTHORIZED, "Invalid access token"))
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"status": status.as_u16(), "message": message}});
    (status, axum::Json(body)).into_response()
}
