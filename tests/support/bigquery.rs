//! A simulated BigQuery, stricter than the emulator: it knows the dispositions, rejects unknown fields
//! and wrong types, rejects a job ID that exists, and can let jobs run for a while or fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};

use super::wire::Stub;

pub const LOCATION: &str = "southamerica-east1";

#[derive(Clone)]
pub struct BigQuery {
    pub stub: Stub,
    pub state: Arc<Mutex<ProjectState>>,
}

/// How a job ends.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// The reason of its failure, or `reason: message`.
    pub fails: Option<&'static str>,
    /// The number of lookups before it ends: PENDING at first, RUNNING at last.
    pub polls: u32,
}

type Fates = Box<dyn FnMut(&str) -> Fate + Send>;

pub struct ProjectState {
    pub dataset: bool,
    pub tables: BTreeMap<String, Table>,
    pub jobs: BTreeMap<String, Job>,
    /// Ids of the jobs in the order of their inserts.
    pub accepted: Vec<String>,
    pub fate: Fates,
    /// Jobs of other services as `jobs.list` returns them, newer than all others.
    pub others: Vec<Value>,
    /// The show for the labels of jobs that have none.
    pub show: Option<String>,
    /// Each load that replaced a table, if a test records them.
    pub history: Option<Vec<Loaded>>,
    sessions: Vec<Value>,
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub schema: Value,
    pub description: Value,
    pub rows: Vec<Value>,
    /// How many times its rows were replaced.
    pub loads: u32,
    /// The type, if it is not a table: `VIEW`, for example.
    pub r#type: Option<&'static str>,
    /// The message with which BigQuery rejects every load of it.
    pub refuses: Option<&'static str>,
}

/// A load that replaced a table.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub job: String,
    pub table: String,
    pub rows: Vec<Value>,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub configuration: Value,
    pub error: Option<Value>,
    /// The number of rows in the upload.
    rows: usize,
    polls: u32,
}

impl BigQuery {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(ProjectState {
            dataset: true,
            tables: BTreeMap::new(),
            jobs: BTreeMap::new(),
            accepted: Vec::new(),
            fate: Box::new(|_| Fate::default()),
            others: Vec::new(),
            show: None,
            history: None,
            sessions: Vec::new(),
        }));
        let base = "/bigquery/v2/projects/p1";
        let table = format!("{base}/datasets/spotify_podcasts/tables");
        let router = Router::new()
            .route(&format!("{base}/datasets/spotify_podcasts"), get(dataset))
            .route(&table, post(create_table).get(list_tables))
            .route(&format!("{table}/{{table}}"), get(get_table))
            .route(&format!("{base}/jobs"), get(list_jobs))
            .route(&format!("{base}/jobs/{{job}}"), get(get_job))
            .route("/upload/bigquery/v2/projects/p1/jobs", post(upload).put(session))
            .with_state(Arc::clone(&state));
        Self { stub: Stub::start(router).await, state }
    }

    pub fn table(&self, name: &str) -> Option<Table> {
        self.state.lock().unwrap().tables.get(name).cloned()
    }

    /// Returns the rows of a table. Panics if it does not exist.
    pub fn rows(&self, name: &str) -> Vec<Value> {
        self.table(name).unwrap_or_else(|| panic!("no table {name}")).rows
    }

    pub fn accepted(&self) -> Vec<String> {
        self.state.lock().unwrap().accepted.clone()
    }

    pub fn job(&self, id: &str) -> Job {
        self.state.lock().unwrap().jobs[id].clone()
    }

    pub fn is_done(&self, id: &str) -> bool {
        self.job(id).polls == 0
    }

    /// Lets `fate` decide how each job ends from now on.
    pub fn fate(&self, fate: impl FnMut(&str) -> Fate + Send + 'static) {
        self.state.lock().unwrap().fate = Box::new(fate);
    }
}

type Shared = State<Arc<Mutex<ProjectState>>>;

async fn dataset(State(state): Shared) -> Response {
    if !state.lock().unwrap().dataset {
        return error(404, "notFound", "Not found: Dataset p1:spotify_podcasts");
    }
    let reference = json!({"projectId": "p1", "datasetId": "spotify_podcasts"});
    axum::Json(json!({"datasetReference": reference, "location": LOCATION})).into_response()
}

async fn get_table(State(state): Shared, Path(name): Path<String>) -> Response {
    let state = state.lock().unwrap();
    if !state.dataset {
        return error(404, "notFound", "Not found: Dataset p1:spotify_podcasts");
    }
    match state.tables.get(&name) {
        None => error(404, "notFound", "Not found: Table"),
        Some(table) => axum::Json(json!({
            "tableReference": {"projectId": "p1", "datasetId": "spotify_podcasts", "tableId": name},
            "schema": table.schema, "description": table.description,
            "type": table.r#type.unwrap_or("TABLE"), "numRows": table.rows.len().to_string(),
            "lastModifiedTime": "1764061200000",
        }))
        .into_response(),
    }
}

async fn create_table(State(state): Shared, axum::Json(table): axum::Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    if !state.dataset {
        return error(404, "notFound", "Not found: Dataset");
    }
    let name = table["tableReference"]["tableId"].as_str().unwrap().to_owned();
    if state.tables.contains_key(&name) {
        return error(409, "duplicate", "Already Exists: Table");
    }
    let created = Table {
        schema: table["schema"].clone(),
        description: table["description"].clone(),
        ..Table::default()
    };
    state.tables.insert(name, created);
    axum::Json(table).into_response()
}

/// Returns two tables per page, so that there is more than one page.
async fn list_tables(
    State(state): Shared,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let state = state.lock().unwrap();
    let reference = |name: &String| json!({"tableReference": {"tableId": name}});
    let tables: Vec<Value> = state.tables.keys().map(reference).collect();
    page("tables", &tables, &query, 2)
}

/// Returns jobs newest first. Ignores `minCreationTime`, since all creation times are the same here.
async fn list_jobs(
    State(state): Shared,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let state = state.lock().unwrap();
    let own = state.accepted.iter().rev().map(|id| {
        let mut job = job_response(id, &state.jobs[id]);
        let table = job["configuration"]["load"]["destinationTable"]["tableId"].as_str().unwrap();
        let rows = state.tables.get(table).map_or(0, |table| table.rows.len());
        job["statistics"]["load"] = json!({"outputRows": rows.to_string()});
        let labels = job["configuration"]["labels"].as_object_mut().unwrap();
        if let Some(show) = &state.show {
            let hex: String = show.bytes().map(|byte| format!("{byte:02x}")).collect();
            labels.entry("show").or_insert(json!(hex));
        }
        job
    });
    let jobs: Vec<Value> = state.others.iter().cloned().chain(own).collect();
    page("jobs", &jobs, &query, 3)
}

fn page(
    key: &str,
    items: &[Value],
    query: &BTreeMap<String, String>,
    max_items: usize,
) -> Response {
    let from = query.get("pageToken").map_or(0, |token| token.parse().unwrap());
    let end = (from + max_items).min(items.len());
    let mut page = json!({ key: items[from..end] });
    if end < items.len() {
        page["nextPageToken"] = json!(end.to_string());
    }
    axum::Json(page).into_response()
}

async fn get_job(
    State(state): Shared,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    // BigQuery does not find a job of a single region without its location.
    if query.get("location").map(String::as_str) != Some(LOCATION) {
        return error(404, "notFound", "Not found: Job (no location)");
    }
    let mut state = state.lock().unwrap();
    let Some(job) = state.jobs.get_mut(&id) else {
        return error(404, "notFound", "Not found: Job");
    };
    let response = job_response(&id, job);
    job.polls = job.polls.saturating_sub(1);
    axum::Json(response).into_response()
}

async fn upload(
    State(state): Shared,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    match query.get("uploadType").map(String::as_str) {
        Some("multipart") => {
            let kind = headers[header::CONTENT_TYPE].to_str().unwrap();
            let boundary = kind.strip_prefix("multipart/related; boundary=").unwrap();
            let (job, rows) = parts(&body, boundary);
            insert(&mut state.lock().unwrap(), serde_json::from_slice(&job).unwrap(), &rows)
        }
        Some("resumable") => {
            let mut state = state.lock().unwrap();
            state.sessions.push(serde_json::from_slice(&body).unwrap());
            let location = format!(
                "/upload/bigquery/v2/projects/p1/jobs?uploadType=resumable&upload_id={}",
                state.sessions.len() - 1
            );
            ([(header::LOCATION, location)], "").into_response()
        }
        _ => error(400, "invalid", "uploadType"),
    }
}

async fn session(
    State(state): Shared,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let mut state = state.lock().unwrap();
    let job = state.sessions[query["upload_id"].parse::<usize>().unwrap()].clone();
    insert(&mut state, job, &body)
}

/// Returns the two parts of a multipart/related body, strictly by RFC 2387.
fn parts(body: &Bytes, boundary: &str) -> (Bytes, Bytes) {
    let find = |from: usize, what: &str| {
        from + body[from..].windows(what.len()).position(|at| at == what.as_bytes()).unwrap()
    };
    let next = format!("\r\n--{boundary}");
    let first = find(0, "\r\n\r\n") + 4;
    let first_end = find(first, &next);
    let second = find(first_end, "\r\n\r\n") + 4;
    let second_end = find(second, &format!("{next}--"));
    assert!(body.starts_with(&next.as_bytes()[2..]), "the first boundary opens the body");
    (body.slice(first..first_end), body.slice(second..second_end))
}

fn insert(state: &mut ProjectState, job: Value, rows: &[u8]) -> Response {
    let id = job["jobReference"]["jobId"].as_str().unwrap().to_owned();
    assert_eq!(job["jobReference"]["location"], LOCATION, "the job is in the dataset's location");
    if !state.dataset {
        return error(404, "notFound", "Not found: Dataset");
    }
    if state.jobs.contains_key(&id) {
        return error(409, "duplicate", &format!("Already Exists: Job {id}"));
    }
    let fate = (state.fate)(&id);
    let failed = match fate.fails {
        Some(fails) => {
            let (reason, words) = fails.split_once(": ").unwrap_or((fails, "simulated"));
            Some((reason, words.to_owned()))
        }
        None => {
            load(state, &id, &job["configuration"]["load"], rows).err().map(|why| ("invalid", why))
        }
    };
    let error = failed.map(|(reason, message)| json!({"reason": reason, "message": message}));
    let rows = rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let job = Job { configuration: job["configuration"].clone(), error, rows, polls: fate.polls };
    let response = job_response(&id, &job);
    state.accepted.push(id.clone());
    state.jobs.insert(id, job);
    axum::Json(response).into_response()
}

fn load(state: &mut ProjectState, job: &str, load: &Value, rows: &[u8]) -> Result<(), String> {
    assert_eq!(load["sourceFormat"], "NEWLINE_DELIMITED_JSON");
    assert_eq!(load["maxBadRecords"], 0);
    let name = load["destinationTable"]["tableId"].as_str().unwrap();
    let fields = load["schema"]["fields"].as_array().unwrap();
    let rows: Vec<Value> = rows
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()
        .map_err(row_error)?;
    rows.iter().try_for_each(|row| check_row(row, fields)).map_err(row_error)?;
    if !state.tables.contains_key(name) && load["createDisposition"] != "CREATE_IF_NEEDED" {
        return Err("Not found: Table".to_owned());
    }
    let table = state
        .tables
        .entry(name.to_owned())
        .or_insert_with(|| Table { schema: load["schema"].clone(), ..Table::default() });
    if let Some(what) = table.r#type {
        return Err(format!("{name} is not allowed for this operation because it is a {what}"));
    }
    if let Some(words) = table.refuses {
        return Err(words.to_owned());
    }
    if table.schema["fields"].as_array().is_none_or(Vec::is_empty) {
        table.schema = load["schema"].clone();
    }
    check_schema(&table.schema, &load["schema"])?;
    match load["writeDisposition"].as_str().unwrap() {
        "WRITE_TRUNCATE_DATA" => table.rows = rows,
        "WRITE_TRUNCATE" => {
            table.rows = rows;
            table.schema = load["schema"].clone();
        }
        "WRITE_APPEND" => table.rows.extend(rows),
        other => panic!("unknown write disposition: {other}"),
    }
    table.loads += 1;
    if let Some(history) = &mut state.history {
        let (job, table, rows) = (job.to_owned(), name.to_owned(), table.rows.clone());
        history.push(Loaded { job, table, rows });
    }
    Ok(())
}

fn row_error(why: String) -> String {
    format!("Error while reading data, error message: JSON parsing error in row: {why}")
}

/// Fails if names, types or modes differ: WRITE_TRUNCATE_DATA does not change the schema.
fn check_schema(table: &Value, job: &Value) -> Result<(), String> {
    let columns = |schema: &Value| -> Vec<[String; 3]> {
        let fields = schema["fields"].as_array().unwrap().iter();
        let text = |field: &Value, key: &str| field[key].as_str().unwrap_or("NULLABLE").to_owned();
        fields.map(|field| ["name", "type", "mode"].map(|key| text(field, key))).collect()
    };
    let (table, job) = (columns(table), columns(job));
    for (found, expected) in table.iter().zip(&job) {
        let what = match (found[1] != expected[1], found[2] != expected[2]) {
            (true, _) => format!("type from {} to {}", found[1], expected[1]),
            (_, true) => format!("mode from {} to {}", found[2], expected[2]),
            _ => continue,
        };
        return Err(format!(
            "Provided Schema does not match Table. Field {} has changed {what}",
            expected[0]
        ));
    }
    if table != job {
        return Err("Provided Schema does not match Table. Cannot add fields".to_owned());
    }
    Ok(())
}

fn check_row(row: &Value, fields: &[Value]) -> Result<(), String> {
    for (name, value) in row.as_object().ok_or("the row is not an object")? {
        let field = fields.iter().find(|field| field["name"] == **name);
        let field = field.ok_or_else(|| format!("no such field: {name}"))?;
        let fits = value.is_null()
            || match field["type"].as_str().unwrap() {
                "STRING" => value.is_string(),
                "INTEGER" => value.is_i64(),
                "BOOLEAN" => value.is_boolean(),
                "DATE" => value.as_str().is_some_and(|date| {
                    let form = time::macros::format_description!("[year]-[month]-[day]");
                    time::Date::parse(date, form).is_ok()
                }),
                other => panic!("unexpected type: {other}"),
            };
        if !fits {
            return Err(format!("{name}: {value} is not a {}", field["type"]));
        }
    }
    Ok(())
}

fn job_response(id: &str, job: &Job) -> Value {
    let state = match job.polls {
        0 => "DONE",
        1 => "RUNNING",
        _ => "PENDING",
    };
    let mut status = json!({ "state": state });
    let mut statistics = json!({"creationTime": "1764061200000"});
    if state != "PENDING" {
        statistics["startTime"] = json!("1764061260000");
    }
    match (job.polls, &job.error) {
        (0, Some(error)) => {
            status["errorResult"] = error.clone();
            status["errors"] = json!([error]);
        }
        (0, None) => {
            statistics["endTime"] = json!("1764061320000");
            statistics["load"] = json!({"outputRows": job.rows.to_string()});
        }
        _ => {}
    }
    json!({
        "jobReference": {"projectId": "p1", "jobId": id, "location": LOCATION},
        "configuration": job.configuration, "status": status, "statistics": statistics,
    })
}

/// Returns the schema of a kind of table, from Terraform's files.
pub fn schema(kind: &str) -> Value {
    let fields = match kind {
        "podcasts" => include_str!("../../terraform/schemas/podcasts.json"),
        _ => include_str!("../../terraform/schemas/episodes.json"),
    };
    json!({"fields": serde_json::from_str::<Value>(fields).unwrap()})
}

/// Returns an error body as Google's APIs write it.
pub fn error_body(status: u16, reason: &str, message: &str) -> String {
    json!({"error": {
        "code": status, "message": message, "status": "X",
        "errors": [{"reason": reason, "message": message, "domain": "global"}],
    }})
    .to_string()
}

fn error(status: u16, reason: &str, message: &str) -> Response {
    let body = error_body(status, reason, message);
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/json")], body)
        .into_response()
}
