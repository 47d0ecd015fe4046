//! A panic in the handler is answered 500, and the service continues. Every panic is one log line.

use std::process::Command;

use serde_json::Value;
use spotify_bq::config::Log as Settings;
use spotify_bq::telemetry;

use crate::support::log::{Line, Log};
use crate::support::spotify::Spotify;
use crate::support::{EPISODES, World, table};

#[tokio::test]
async fn a_panic_is_answered_500_and_the_service_continues() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    let push = table("episodes");
    // The handler runs one piece of code that a test provides: the log's writer.
    let id = push.id.clone();
    let log = Log::start_with(move |line: &Line| {
        assert!(line.get("message_id") != Some(&id), "a panic for the test");
    });
    let answer = app.push(&push).await;
    assert_eq!((answer.status, answer.outcome.as_str()), (500, ""));
    drop(log);

    // The table's lock and the slot are released, and the table is not loaded again.
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "already_loaded"));
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 2);
}

/// Not a test: runs in another process, because the panic hook is global.
#[test]
#[ignore = "panics; the tests below run it"]
fn in_another_process() {
    #[expect(clippy::disallowed_methods, reason = "set by the parent process")]
    let filter = std::env::var("FILTER").unwrap_or_else(|_| "info".to_owned());
    telemetry::init(&Settings { json: true, filter });
    let panicked = std::panic::catch_unwind(|| panic!("a \"defect\"\nin two lines"));
    assert!(panicked.is_err());
    tracing::error!("an error after it");
}

/// Returns the log lines of a process that panics, and its standard error.
pub fn lines() -> (Vec<Value>, String) {
    lines_with("info")
}

fn lines_with(filter: &str) -> (Vec<Value>, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["panics::in_another_process", "--exact", "--ignored", "--nocapture"])
        .env("K_SERVICE", "my-service")
        .env("FILTER", filter)
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let printed = String::from_utf8(child.stdout).unwrap();
    let lines = printed.lines().filter_map(|line| serde_json::from_str(line).ok());
    (lines.filter(Value::is_object).collect(), String::from_utf8(child.stderr).unwrap())
}

#[test]
fn a_panic_is_one_line_that_error_reporting_accepts() {
    let (lines, errors) = lines();
    assert!(!errors.contains("defect"), "{errors}");
    let [panic, after] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(
        (panic["event"].as_str(), panic["severity"].as_str()),
        (Some("panic"), Some("ERROR"))
    );
    assert!(panic["message"].as_str().unwrap().contains("a \"defect\"\nin two lines"), "{panic}");
    for line in [panic, after] {
        assert!(line["@type"].as_str().unwrap().ends_with(".ReportedErrorEvent"));
        assert_eq!(line["serviceContext"]["service"], "my-service");
        assert_eq!(line["serviceContext"]["version"], env!("CARGO_PKG_VERSION"));
        let place = &line["context"]["reportLocation"];
        assert!(place["filePath"].as_str().unwrap().ends_with("tests/panics.rs"), "{line}");
        assert!(place["lineNumber"].as_u64().unwrap() > 1, "{line}");
        assert!(!place["functionName"].as_str().unwrap().is_empty(), "{line}");
    }
    let line = |line: &Value| line["context"]["reportLocation"]["lineNumber"].as_u64();
    assert_ne!(line(panic), line(after));
}

#[test]
fn a_panic_is_printed_even_if_logging_is_off() {
    let (lines, errors) = lines_with("off");
    assert!(lines.is_empty(), "{lines:#?}");
    assert!(errors.contains("panic at ") && errors.contains("defect"), "{errors}");
}
