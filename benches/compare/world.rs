//! Spotify and BigQuery as both subjects meet them: every page is made once and then sent as bytes,
//! in a runtime of its own, so that what is measured is not this.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use spotify_bq::{names, warehouse};

use crate::sample;

/// The world, and what it saw.
#[derive(Default)]
pub struct World {
    pub url: String,
    latency_ms: AtomicU64,
    pages: Mutex<HashMap<(usize, usize, usize, bool), Bytes>>,
    /// Rows of the last load of each table.
    loaded: Mutex<BTreeMap<String, usize>>,
    /// Jobs of resumable uploads, and the rows that came for them so far.
    sessions: Mutex<Vec<(Value, usize)>>,
    /// Searches for each term.
    searches: Mutex<HashMap<String, usize>>,
}

impl World {
    pub fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let world = Arc::new(Self { url, ..Self::default() });
        let served = Arc::clone(&world);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, served));
        });
        world
    }

    /// From now on each call is answered after this long.
    pub fn set_latency(&self, latency: Duration) {
        self.latency_ms.store(latency.as_millis() as u64, Relaxed);
    }

    /// Makes the pages of a show and of its search, so that nobody waits for them.
    pub fn prepare(&self, episodes: usize) {
        for offset in (0..episodes).step_by(50) {
            self.page((episodes, offset, 50, false));
        }
        for offset in (0..50).step_by(10) {
            self.page((episodes, offset, 10, true));
        }
    }

    /// Forgets the loads so far and answers them.
    pub fn take_loaded(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.loaded.lock().expect("no panic"))
    }

    /// How often a term was searched for.
    pub fn searches(&self, term: &str) -> usize {
        self.searches.lock().expect("no panic").get(term).copied().unwrap_or_default()
    }

    /// The search term whose show has so many episodes.
    pub fn term(episodes: usize, n: usize) -> String {
        format!("{episodes} episodios {n}")
    }

    fn page(&self, key: (usize, usize, usize, bool)) -> Bytes {
        let mut pages = self.pages.lock().expect("no panic");
        let (episodes, offset, limit, search) = key;
        let make = || {
            let page = if search {
                let show = |n: usize| sample::show(&sample::id(episodes + n), n);
                json!({ "shows": sample::page(sample::SHOWS, offset, limit, show) })
            } else {
                sample::page(episodes, offset, limit, sample::episode)
            };
            Bytes::from(page.to_string())
        };
        pages.entry(key).or_insert_with(make).clone()
    }
}

/// What the ids of two terms' shows differ by: no term shares a reading with another one.
const SHOW: usize = 1_000_000_000;

async fn serve(listener: TcpListener, world: Arc<World>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let world = Arc::clone(&world);
        let service = service_fn(move |request| {
            let world = Arc::clone(&world);
            async move { Ok::<_, Infallible>(answer(&world, request).await) }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        // One write for a whole page.
        builder.max_buf_size(2 * 1024 * 1024);
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(world: &World, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    if let Some(term) = query.get("q") {
        *world.searches.lock().expect("no panic").entry(term.clone()).or_default() += 1;
    }
    let latency = world.latency_ms.load(Relaxed);
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let path = parts.uri.path();
    let number = |name: &str| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["api", "token"] => {
            ok(json!({"access_token": "t", "token_type": "Bearer", "expires_in": 3600}).to_string())
        }
        ["v1", "search"] => {
            let term = query.get("q").map_or("", String::as_str);
            let mut numbers = term.split(' ').filter_map(|word| word.parse::<usize>().ok());
            let (episodes, n) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            ok(world.page((n * SHOW + episodes, number("offset"), number("limit"), true)))
        }
        ["v1", "shows", show, "episodes"] => {
            let episodes = show.parse().unwrap_or(0) % SHOW;
            ok(world.page((episodes, number("offset"), number("limit"), false)))
        }
        ["upload", ..] if parts.method == Method::PUT => {
            resumed(world, &parts.headers, number("session"), &body)
        }
        ["upload", ..] if query.get("uploadType").is_some_and(|kind| kind == "resumable") => {
            let job = serde_json::from_slice(&body).unwrap_or_default();
            let mut sessions = world.sessions.lock().expect("no panic");
            sessions.push((job, 0));
            let session = format!("{}{path}?session={}", world.url, sessions.len() - 1);
            let mut response = ok("");
            response.headers_mut().insert("location", session.parse().expect("a header"));
            response
        }
        ["upload", ..] => multipart(world, &body),
        [.., "datasets", dataset] => {
            let reference = json!({"projectId": "p", "datasetId": dataset});
            ok(json!({"datasetReference": reference, "location": "US"}).to_string())
        }
        [.., "tables", table] => ok(json!({
            "tableReference": {"projectId": "p", "datasetId": "d", "tableId": table},
            "schema": {"fields": columns(table)},
        })
        .to_string()),
        _ => respond(StatusCode::NOT_FOUND, not_found()),
    }
}

/// The columns of a table, by the start of its name.
fn columns(table: &str) -> Vec<Value> {
    let mut kinds = names::Kind::ALL.into_iter();
    let kind = kinds.find(|kind| table.starts_with(kind.name()));
    let columns = warehouse::schema(kind.unwrap_or(names::Kind::Episodes)).into_iter();
    columns.map(|column| json!({"name": column.name, "type": column.r#type})).collect()
}

/// A multipart/related body: the job, then the rows.
fn multipart(world: &World, body: &[u8]) -> Response<Full<Bytes>> {
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|at| at == what);
    let parsed = find(body, b"{").and_then(|start| {
        let mut values = serde_json::Deserializer::from_slice(&body[start..]).into_iter::<Value>();
        let job = values.next()?.ok()?;
        let rest = &body[start + values.byte_offset()..];
        let rows = &rest[find(rest, b"\r\n\r\n")? + 4..];
        let end = rows.len() - rows.windows(4).rev().position(|at| at == b"\r\n--")? - 4;
        Some((job, lines(&rows[..end])))
    });
    match parsed {
        Some((job, lines)) => loaded(world, job, lines),
        None => respond(StatusCode::BAD_REQUEST, ""),
    }
}

/// One part of a resumable upload.
fn resumed(
    world: &World,
    headers: &hyper::HeaderMap,
    session: usize,
    body: &[u8],
) -> Response<Full<Bytes>> {
    let mut sessions = world.sessions.lock().expect("no panic");
    let Some((job, rows)) = sessions.get_mut(session) else {
        return respond(StatusCode::NOT_FOUND, "");
    };
    *rows += lines(body);
    // "bytes 0-99/200": the last part ends at the total.
    let range = headers.get("content-range").and_then(|value| value.to_str().ok()).unwrap_or("");
    let range = range.trim_start_matches("bytes ");
    if let Some((_, end, total)) =
        range.split_once('-').and_then(|(a, b)| b.split_once('/').map(|(b, c)| (a, b, c)))
        && end.parse::<usize>().map(|end| end + 1).ok() != total.parse().ok()
    {
        let mut response = respond(StatusCode::PERMANENT_REDIRECT, "");
        let so_far = format!("bytes=0-{end}").parse().expect("a header");
        response.headers_mut().insert("range", so_far);
        return response;
    }
    let (job, rows) = (job.take(), *rows);
    drop(sessions);
    loaded(world, job, rows)
}

/// Rows are lines; the last may lack its end. (Written so that the compiler counts many at once.)
fn lines(text: &[u8]) -> usize {
    let text = text.trim_ascii_end();
    usize::from(!text.is_empty()) + text.iter().filter(|byte| **byte == b'\n').count()
}

fn loaded(world: &World, job: Value, rows: usize) -> Response<Full<Bytes>> {
    let table = &job["configuration"]["load"]["destinationTable"]["tableId"];
    let table = table.as_str().unwrap_or_default().to_owned();
    world.loaded.lock().expect("no panic").insert(table, rows);
    let answer = json!({
        "jobReference": job["jobReference"], "configuration": job["configuration"],
        "status": {"state": "DONE"}, "statistics": {"load": {"outputRows": rows.to_string()}},
    });
    ok(answer.to_string())
}

fn not_found() -> String {
    let error = json!({"reason": "notFound", "message": "Not found", "domain": "global"});
    json!({"error": {"code": 404, "message": "Not found", "status": "X", "errors": [error]}})
        .to_string()
}

fn ok(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, body)
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}
