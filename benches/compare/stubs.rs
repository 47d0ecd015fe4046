//! Spotify and BigQuery for both programs. Each page is created once and then sent as bytes, in a thread of
//! its own, so that the stubs cost little of what is measured.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use spotify_bq::{names, warehouse};

use crate::sample;

/// Separates the number of a term from its episodes in the ID of its show, so that no terms share a show.
const TERM_FACTOR: usize = 1_000_000_000;

#[derive(Default)]
pub struct Stubs {
    pub url: String,
    latency_ms: AtomicU64,
    pages: Mutex<HashMap<Page, Bytes>>,
    /// The number of rows of the last load of each table.
    loaded: Mutex<BTreeMap<String, usize>>,
    /// The jobs of resumable uploads with the rows that were uploaded.
    sessions: Mutex<Vec<(Value, Vec<u8>)>>,
    /// The number of searches by term.
    searches: Mutex<HashMap<String, usize>>,
}

/// A page of the shows or the episodes of a term.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Page {
    is_search: bool,
    /// The number of episodes, plus [`TERM_FACTOR`] times the number of the term for a search.
    listing: usize,
    offset: usize,
    limit: usize,
}

/// Returns search term `n` whose show has this number of episodes.
pub fn term(episodes: usize, n: usize) -> String {
    format!("{episodes} episodios {n}")
}

impl Stubs {
    pub fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stubs = Arc::new(Self { url, ..Self::default() });
        let served = Arc::clone(&stubs);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, served));
        });
        stubs
    }

    /// Sets the duration of all later calls.
    pub fn set_latency(&self, latency: Duration) {
        self.latency_ms.store(latency.as_millis() as u64, Relaxed);
    }

    /// Creates the pages of a show and of its search.
    pub fn prepare(&self, episodes: usize) {
        for offset in (0..episodes).step_by(50) {
            self.page(Page { is_search: false, listing: episodes, offset, limit: 50 });
        }
        for offset in (0..50).step_by(10) {
            self.page(Page { is_search: true, listing: episodes, offset, limit: 10 });
        }
    }

    /// Returns and resets the number of loaded rows by table.
    pub fn take_loaded(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.loaded.lock().expect("no panic"))
    }

    /// Returns the number of searches for a term.
    pub fn searches(&self, term: &str) -> usize {
        self.searches.lock().expect("no panic").get(term).copied().unwrap_or_default()
    }

    fn page(&self, page: Page) -> Bytes {
        let Page { is_search, listing, offset, limit } = page;
        let create = || {
            let show = |n: usize| sample::show(&sample::id(listing + n), n);
            let body = match is_search {
                true => json!({ "shows": sample::page(sample::SHOWS, offset, limit, show) }),
                false => sample::page(listing, offset, limit, sample::episode),
            };
            Bytes::from(body.to_string())
        };
        self.pages.lock().expect("no panic").entry(page).or_insert_with(create).clone()
    }

    /// Stores the number of rows of a load. Returns its job, which is done.
    fn load(&self, job: &Value, rows: usize) -> Response<Full<Bytes>> {
        let table = &job["configuration"]["load"]["destinationTable"]["tableId"];
        let table = table.as_str().unwrap_or_default().to_owned();
        self.loaded.lock().expect("no panic").insert(table, rows);
        respond(&json!({
            "jobReference": job["jobReference"], "configuration": job["configuration"],
            "status": {"state": "DONE"}, "statistics": {"load": {"outputRows": rows.to_string()}},
        }))
    }
}

async fn serve(listener: TcpListener, stubs: Arc<Stubs>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let stubs = Arc::clone(&stubs);
        let service = service_fn(move |request| {
            let stubs = Arc::clone(&stubs);
            async move { Ok::<_, Infallible>(route(&stubs, request).await) }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        // A page is sent with one write.
        builder.max_buf_size(2 * 1024 * 1024);
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
    }
}

async fn route(stubs: &Stubs, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    if let Some(term) = query.get("q") {
        *stubs.searches.lock().expect("no panic").entry(term.clone()).or_default() += 1;
    }
    let latency = stubs.latency_ms.load(Relaxed);
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let path = parts.uri.path();
    let number = |name: &str| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let page = |is_search, listing| {
        let (offset, limit) = (number("offset"), number("limit"));
        respond_with(StatusCode::OK, stubs.page(Page { is_search, listing, offset, limit }))
    };
    match path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
        ["api", "token"] => {
            respond(&json!({"access_token": "t", "token_type": "Bearer", "expires_in": 3600}))
        }
        ["v1", "search"] => {
            let term = query.get("q").map_or("", String::as_str);
            let mut numbers = term.split(' ').filter_map(|word| word.parse::<usize>().ok());
            let (episodes, n) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            page(true, n * TERM_FACTOR + episodes)
        }
        ["v1", "shows", show, "episodes"] => page(false, show.parse().unwrap_or(0) % TERM_FACTOR),
        ["upload", ..] if parts.method == Method::PUT => {
            let range = parts.headers.get("content-range").and_then(|range| range.to_str().ok());
            upload_part(stubs, number("session"), range, &body)
        }
        ["upload", ..] if query.get("uploadType").is_some_and(|kind| kind == "resumable") => {
            let job = serde_json::from_slice(&body).unwrap_or_default();
            let mut sessions = stubs.sessions.lock().expect("no panic");
            sessions.push((job, Vec::new()));
            let session = format!("{}{path}?session={}", stubs.url, sessions.len() - 1);
            let mut response = respond_with(StatusCode::OK, "");
            response.headers_mut().insert("location", session.parse().expect("a header"));
            response
        }
        ["upload", ..] => multipart_upload(stubs, &body)
            .unwrap_or_else(|| respond_with(StatusCode::BAD_REQUEST, "")),
        [.., "datasets", dataset] => {
            let reference = json!({"projectId": "p", "datasetId": dataset});
            respond(&json!({"datasetReference": reference, "location": "US"}))
        }
        [.., "tables", table] => respond(&json!({
            "tableReference": {"projectId": "p", "datasetId": "d", "tableId": table},
            "schema": {"fields": columns(table)},
        })),
        _ => {
            let error = json!({"reason": "notFound", "message": "Not found", "domain": "global"});
            let error = json!({"code": 404, "message": "Not found", "errors": [error]});
            respond_with(StatusCode::NOT_FOUND, json!({ "error": error }).to_string())
        }
    }
}

/// Returns the columns of a table by the start of its name.
fn columns(table: &str) -> Vec<Value> {
    let mut kinds = names::Kind::ALL.into_iter();
    let kind = kinds.find(|kind| table.starts_with(kind.name()));
    let columns = warehouse::schema(kind.unwrap_or(names::Kind::Episodes)).into_iter();
    columns.map(|column| json!({"name": column.name, "type": column.r#type})).collect()
}

/// Loads a multipart/related body: headers, the job, headers, the rows.
fn multipart_upload(stubs: &Stubs, body: &[u8]) -> Option<Response<Full<Bytes>>> {
    let mut parts = std::str::from_utf8(body).ok()?.splitn(3, "\r\n\r\n").skip(1);
    let (job, rows) = (parts.next()?, parts.next()?);
    let job = serde_json::from_str(job.split("\r\n--").next()?).ok()?;
    let (rows, _) = rows.rsplit_once("\r\n--")?;
    Some(stubs.load(&job, rows.lines().count()))
}

/// Appends a part to a resumable upload. `range` is `bytes FIRST-LAST/TOTAL` if there are several parts.
fn upload_part(
    stubs: &Stubs,
    session: usize,
    range: Option<&str>,
    body: &[u8],
) -> Response<Full<Bytes>> {
    let mut sessions = stubs.sessions.lock().expect("no panic");
    let Some((job, rows)) = sessions.get_mut(session) else {
        return respond_with(StatusCode::NOT_FOUND, "");
    };
    rows.extend_from_slice(body);
    let total = range.and_then(|range| range.rsplit('/').next()?.parse::<usize>().ok());
    if total.is_some_and(|total| rows.len() < total) {
        let received = format!("bytes=0-{}", rows.len() - 1);
        let mut response = respond_with(StatusCode::PERMANENT_REDIRECT, "");
        response.headers_mut().insert("range", received.parse().expect("a header"));
        return response;
    }
    let (job, rows) = (job.take(), std::mem::take(rows));
    drop(sessions);
    stubs.load(&job, rows.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()).count())
}

fn respond(body: &Value) -> Response<Full<Bytes>> {
    respond_with(StatusCode::OK, body.to_string())
}

fn respond_with(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
