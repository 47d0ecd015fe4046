//! The load job as sent: an emulator accepts nearly anything, BigQuery does not.

use serde_json::{Value, json};

use crate::support::bigquery::{Fate, LOCATION, error_body, schema};
use crate::support::spotify::{
    Spotify, catalog_with, episode_rows, podcast_rows, show as show_value,
};
use crate::support::wire::{Act, Call, answer};
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, message, table};

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn header<'a>(call: &'a Call, name: &str) -> &'a str {
    call.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn uploads(world: &World, method: &str) -> Vec<Call> {
    world.bigquery.stub.calls_to(method, "/upload/bigquery/v2/projects/p1/jobs")
}

/// Returns the expected load job, without the job's ID.
fn job(table: &str, kind: &str, term: &str) -> Value {
    json!({
        "jobReference": {"projectId": "p1", "location": LOCATION},
        "configuration": {
            "labels": {"service": "spotify-bq", "kind": kind, "term": term},
            "load": {
                "destinationTable": {
                    "projectId": "p1", "datasetId": "spotify_podcasts", "tableId": table,
                },
                "sourceFormat": "NEWLINE_DELIMITED_JSON",
                "writeDisposition": "WRITE_TRUNCATE_DATA",
                "createDisposition": "CREATE_IF_NEEDED",
                "maxBadRecords": 0,
                "schema": schema(kind),
            },
        },
    })
}

/// Checks the labels that differ from load to load, and removes them from a job's configuration.
fn without_own_labels(mut configuration: Value, push: &crate::support::Push) -> Value {
    let labels = configuration["labels"].as_object_mut().unwrap();
    assert_eq!(labels.remove("message").unwrap(), json!(push.id));
    let read_at: u128 = labels.remove("read_at").unwrap().as_str().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((0..60_000).contains(&(now.as_millis() - read_at)), "{read_at}");
    let shared = labels.remove("shared_reading").unwrap();
    assert!(shared == "true" || shared == "false", "{shared}");
    let matched_by = labels.remove("show_match");
    assert_eq!(matched_by, (labels["kind"] != "podcasts").then_some(json!("first")));
    let show = labels.remove("show").map(|label| label.as_str().unwrap().to_owned());
    let first = show_value(0)["id"].as_str().unwrap().to_owned();
    let hex: String = first.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(show, (labels["kind"] != "podcasts").then_some(hex));
    configuration
}

#[tokio::test]
async fn a_load_is_one_multipart_request() {
    let world = World::new(Spotify::showing(2, 1).await).await;
    let app = world.app().await;
    let push = table("podcasts");
    app.push(&push).await;
    let [call] = &uploads(&world, "POST")[..] else { panic!("one upload") };
    assert_eq!(call.query, [("uploadType".to_owned(), "multipart".to_owned())].into());
    let content = header(call, "content-type");
    let boundary = content.strip_prefix("multipart/related; boundary=").unwrap();
    assert_eq!(header(call, "content-length"), call.body.len().to_string());

    let body = std::str::from_utf8(&call.body).unwrap();
    let (before, after) = (
        format!("--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"),
        format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"),
    );
    let (sent_job, rest) = body.strip_prefix(&before).unwrap().split_once(&after).unwrap();
    let rows = rest.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();

    let mut expected = job(PODCASTS, "podcasts", "data_hackers");
    expected["jobReference"]["jobId"] = json!(world.bigquery.accepted()[0]);
    let mut sent_job = parsed(sent_job);
    sent_job["configuration"] = without_own_labels(sent_job["configuration"].take(), &push);
    assert_eq!(sent_job, expected);
    let sent: Vec<Value> = rows.lines().map(parsed).collect();
    assert_eq!(sent, podcast_rows(&world.spotify.catalog.shows));
    assert!(rows.ends_with("}\n"));
}

#[tokio::test]
async fn each_kind_is_sent_with_its_columns_and_valid_labels() {
    let world = World::new(Spotify::showing(2, 4).await).await;
    let app = world.app().await;
    let long = "ação ".repeat(19);
    let slug = ["acao"; 19].join("_");
    for (push, expected) in [
        (table("episodes"), job(EPISODES, "episodes", "data_hackers")),
        (table("mentions"), job(MENTIONS, "mentions", "data_hackers")),
        (
            message(&json!({"table": "mentions", "search_term": long})),
            job(&format!("mentions_{slug}"), "mentions", &slug[..63]),
        ),
    ] {
        assert_eq!(app.push(&push).await.result(), (204, "loaded"));
        let accepted = world.bigquery.accepted();
        let sent = world.bigquery.job(accepted.last().unwrap()).configuration;
        assert_eq!(without_own_labels(sent.clone(), &push), expected["configuration"]);
        for label in sent["labels"].as_object().unwrap().values() {
            let label = label.as_str().unwrap();
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            assert!(label.len() <= 63 && label.chars().all(allowed), "{label}");
        }
    }
}

#[tokio::test]
async fn each_message_has_its_own_valid_job_id() {
    let world = World::new(Spotify::showing(2, 1).await).await;
    let app = world.app().await;
    let push = table("podcasts");
    app.push(&push).await;
    // Another message; the same ID, published at another time; the same ID for another table.
    app.push(&table("podcasts")).await;
    app.push(&crate::support::Push { publish_time: "2026-11-25T09:00:00Z".into(), ..push.clone() })
        .await;
    app.push(&crate::support::Push { data: r#"{"table":"episodes"}"#.into(), ..push.clone() })
        .await;
    let ids = world.bigquery.accepted();
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4, "{ids:?}");
    for (id, kind) in ids.iter().zip(["podcasts", "podcasts", "podcasts", "episodes"]) {
        let hash = id.strip_prefix(&format!("spotify-bq_{kind}_")).unwrap();
        let hash = hash.strip_suffix("_0").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}

/// Returns a world whose show is too large for a multipart upload.
async fn large() -> World {
    let description = format!("ação {}", "x".repeat(60_000));
    World::new(Spotify::start(catalog_with(120, &description)).await).await
}

#[tokio::test]
async fn a_lost_session_is_replaced_and_one_job_results() {
    let html = "<html>Not Found</html>";
    // Whether the rows arrived before the session was lost.
    for (arrived, lost) in [
        (false, (410, "")),
        (false, (499, html)),
        (false, (404, html)),
        (true, (404, "")),
        (true, (410, html)),
    ] {
        let world = large().await;
        let app = world.app().await;
        let mut left = 2;
        world.bigquery.stub.on(move |call| {
            if call.method != "PUT" || left == 0 {
                return Act::Pass;
            }
            left -= 1;
            let response = answer(lost.0, lost.1);
            if arrived { response.after_router() } else { response }
        });
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{lost:?}");
        let sessions: Vec<String> =
            uploads(&world, "PUT").iter().map(|call| call.query("upload_id").to_owned()).collect();
        assert_eq!(sessions, ["0", "1", "2"], "{lost:?}");
        assert_eq!(world.bigquery.accepted().len(), 1, "{lost:?}");
        assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    }
}

#[tokio::test]
async fn the_number_of_sessions_is_bounded() {
    let world = large().await;
    let app = world.app().await;
    world.bigquery.stub.on(|call| if call.method == "PUT" { answer(410, "") } else { Act::Pass });
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry warehouse_unavailable"));
    assert!(response.detail().contains("410"), "{}", response.detail());
    assert_eq!(uploads(&world, "POST").len(), 5);
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.accepted().len(), 1);
}

#[tokio::test]
async fn a_404_with_bigquerys_json_is_about_the_dataset() {
    let world = large().await;
    let app = world.app().await;
    let words = "Not found: Dataset p1:spotify_podcasts was not found in location US";
    world.bigquery.stub.on(move |call| match call.method.as_str() {
        "PUT" => answer(404, &error_body(404, "notFound", words)),
        _ => Act::Pass,
    });
    let push = table("episodes");
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry dataset_missing"));
    assert!(response.detail().contains(words), "{}", response.detail());
    assert_eq!(uploads(&world, "PUT").len(), 1);
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn above_five_mebibytes_the_rows_are_a_second_request() {
    let world = large().await;
    let app = world.app().await;
    let push = table("episodes");
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));

    let rows = episode_rows(world.spotify.episodes());
    let length = lines(&rows).len().to_string();
    let [start] = &uploads(&world, "POST")[..] else { panic!("one session") };
    assert_eq!(start.query, [("uploadType".to_owned(), "resumable".to_owned())].into());
    assert_eq!(header(start, "content-type"), "application/json; charset=UTF-8");
    assert_eq!(header(start, "x-upload-content-type"), "application/octet-stream");
    assert_eq!(header(start, "x-upload-content-length"), length);
    let mut expected = job(EPISODES, "episodes", "data_hackers");
    expected["jobReference"]["jobId"] = json!(world.bigquery.accepted()[0]);
    let mut sent: Value = serde_json::from_slice(&start.body).unwrap();
    sent["configuration"] = without_own_labels(sent["configuration"].take(), &push);
    assert_eq!(sent, expected);

    let [put] = &uploads(&world, "PUT")[..] else { panic!("one upload") };
    assert_eq!((put.query("upload_id"), header(put, "content-length")), ("0", length.as_str()));
    assert_eq!(header(put, "content-type"), "application/octet-stream");
    assert_eq!(world.bigquery.rows(EPISODES), rows);
}

#[tokio::test]
async fn a_table_without_rows_is_an_upload_with_an_empty_part() {
    let world = World::new(Spotify::showing(1, 4).await).await.set("MENTION", "ninguém");
    let app = world.app().await;
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
    let body = uploads(&world, "POST")[0].body.clone();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        body.ends_with("application/octet-stream\r\n\r\n\r\n--spotify-bq-part--\r\n"),
        "{body}"
    );
    assert_eq!(world.bigquery.rows(MENTIONS), [Value::Null; 0]);
}

#[tokio::test]
async fn the_datasets_location_is_looked_up_once_and_sent_with_every_call_about_a_job() {
    let world = World::new(Spotify::showing(2, 9).await).await;
    world.bigquery.fate(|_| Fate { polls: 3, ..Fate::default() });
    let app = world.app().await;
    for name in ["podcasts", "episodes", "mentions"] {
        assert_eq!(app.push(&table(name)).await.result(), (204, "loaded"));
    }
    let lookups = world.bigquery.stub.calls_to("GET", "/datasets/spotify_podcasts");
    let lookups = lookups.iter().filter(|call| call.path.ends_with("/spotify_podcasts")).count();
    let polls = world.bigquery.stub.calls_to("GET", "/projects/p1/jobs/");
    assert_eq!((lookups, polls.len()), (1, 12));
    assert!(polls.iter().all(|call| call.query("location") == LOCATION));
}

#[tokio::test]
async fn a_configured_location_is_not_looked_up() {
    let world = World::new(Spotify::showing(2, 9).await).await.set("BIGQUERY_LOCATION", LOCATION);
    let app = world.app().await;
    app.push(&table("podcasts")).await;
    let calls = world.bigquery.stub.calls_to("GET", "/datasets/spotify_podcasts");
    assert!(calls.iter().all(|call| call.path.contains("/tables/")), "{calls:?}");
}
