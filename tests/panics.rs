//! A panic in the handler: 500, and the service goes on. A panic anywhere is one line of the log.

use std::process::Command;

use serde_json::Value;
use spotify_bq::config::Log as Settings;
use spotify_bq::telemetry;

use crate::support::log::{Line, Log};
use crate::support::spotify::Spotify;
use crate::support::{EPISODES, World, table};

#[tokio::test]
async fn a_panic_is_answered_500_and_the_service_goes_on() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    let push = table("episodes");
    // The one thing that the handler runs and a test can give it: where its log lines go.
    let id = push.id.clone();
    let log = Log::start_with(move |line: &Line| {
        assert!(line.get("message_id") != Some(&id), "a defect, for the test's sake");
    });
    let answer = app.push(&push).await;
    assert_eq!((answer.status, answer.outcome.as_str()), (500, ""));
    drop(log);

    // Neither the table's turn nor its place at work is lost, and the load is not done again.
    assert_eq!(app.push(&push.again(2)).await.told(), (204, "already_loaded"));
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 2);
}

/// Not a test: what another process does, since a panic's line belongs to the whole process.
#[test]
#[ignore = "panics; the test below runs it"]
fn in_another_process() {
    #[expect(clippy::disallowed_methods, reason = "what its parent says")]
    let filter = std::env::var("FILTER").unwrap_or_else(|_| "info".to_owned());
    telemetry::init(&Settings { json: true, filter });
    let panicked = std::panic::catch_unwind(|| panic!("a \"defect\"\nin two lines"));
    assert!(panicked.is_err());
    tracing::error!("an error after it");
}

/// The log lines of a process that panics, and what else it writes.
pub fn provoked() -> (Vec<Value>, String) {
    provoked_with("info")
}

fn provoked_with(filter: &str) -> (Vec<Value>, String) {
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
fn a_panic_is_one_line_that_error_reporting_takes() {
    let (lines, errors) = provoked();
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
fn a_panic_is_told_though_nothing_is_logged() {
    let (lines, errors) = provoked_with("off");
    assert!(lines.is_empty(), "{lines:#?}");
    assert!(errors.contains("panic at ") && errors.contains("defect"), "{errors}");
}
