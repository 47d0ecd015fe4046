//! A simulated Spotify: the endpoints that the service calls, with the limits of an app in Development
//! Mode. The tests use it with other catalogs.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalog::Catalog;

/// The largest search page in Development Mode.
pub const MAX_SEARCH_LIMIT: usize = 10;
const MAX_EPISODES_LIMIT: usize = 50;
const TOKEN: &str = "sample-token";

#[derive(Deserialize)]
struct PageQuery {
    q: Option<String>,
    market: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Returns the routes of both the Web API and the token endpoint.
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
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = unauthorized(&headers) {
        return response;
    }
    let limit = query.limit.unwrap_or(5);
    let term = query.q.unwrap_or_default();
    if term.is_empty() {
        return error(StatusCode::BAD_REQUEST, "No search query");
    }
    if !(1..=MAX_SEARCH_LIMIT).contains(&limit) {
        return error(StatusCode::BAD_REQUEST, "Invalid limit");
    }
    let offset = query.offset.unwrap_or(0);
    if offset + limit > 1000 {
        return error(StatusCode::NOT_FOUND, "Not found.");
    }
    let mut page = page(&catalog.search(&term), offset, limit);
    if query.market.is_none() {
        // Without a market, Spotify returns the true total with nulls as items.
        let nulls = page["items"].as_array().map_or(0, Vec::len);
        page["items"] = Value::from(vec![Value::Null; nulls]);
    }
    axum::Json(json!({ "shows": page })).into_response()
}

async fn episodes(
    State(catalog): State<Arc<Catalog>>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = unauthorized(&headers) {
        return response;
    }
    let limit = query.limit.unwrap_or(20);
    if !(1..=MAX_EPISODES_LIMIT).contains(&limit) {
        return error(StatusCode::BAD_REQUEST, "Invalid limit");
    }
    match (catalog.episodes.get(&id), query.market) {
        (Some(episodes), Some(_)) => {
            let episodes: Vec<&Value> = episodes.iter().collect();
            axum::Json(page(&episodes, query.offset.unwrap_or(0), limit)).into_response()
        }
        _ => error(StatusCode::NOT_FOUND, "non existing id"),
    }
}

async fn show(
    State(catalog): State<Arc<Catalog>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = unauthorized(&headers) {
        return response;
    }
    let has_id = |show: &&Value| show["id"] == id;
    match catalog.shows.iter().chain(&catalog.hidden_shows).find(has_id) {
        Some(show) => axum::Json(show).into_response(),
        None => error(StatusCode::NOT_FOUND, "non existing id"),
    }
}

fn page(items: &[&Value], offset: usize, limit: usize) -> Value {
    let page: Vec<&Value> = items.iter().copied().skip(offset).take(limit).collect();
    let has_next = offset + page.len() < items.len();
    json!({
        "href": "", "items": page, "limit": limit, "offset": offset, "total": items.len(),
        "next": has_next.then(|| format!("?offset={}&limit={limit}", offset + limit)),
        "previous": null,
    })
}

fn unauthorized(headers: &HeaderMap) -> Option<Response> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_valid = bearer.and_then(|value| value.strip_prefix("Bearer ")) == Some(TOKEN);
    (!is_valid).then(|| error(StatusCode::UNAUTHORIZED, "Invalid access token"))
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"status": status.as_u16(), "message": message}});
    (status, axum::Json(body)).into_response()
}
