//! `check` against each broken thing in turn: the right line, and what to do.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::bigquery::error_body;
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, answer};
use crate::support::{World, client};

/// What `check` says: its lines, each problem's with the advice joined to it, and its exit code.
async fn check(world: &World, arguments: &[&str]) -> (Vec<String>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotify-bq"));
    command.arg("check").args(arguments).env_clear().envs(&world.settings);
    let checked = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
    let said = String::from_utf8(checked.stdout).unwrap().replace("\n        → ", " → ");
    (said.lines().map(str::to_owned).collect(), checked.status.code())
}

/// The one problem that `check` finds, but that the world has no topics.
async fn problem(world: &World) -> String {
    let (lines, code) = check(world, &[]).await;
    assert_eq!(code, Some(1), "{lines:#?}");
    let mut problems = lines.iter().filter(|line| {
        line.starts_with("PROBLEM")
            && !line.contains("_TOPIC: ")
            && !line.contains("_SUBSCRIPTION: ")
    });
    let problem = problems.next().unwrap_or_else(|| panic!("{lines:#?}")).clone();
    assert_eq!(problems.count(), 0, "{lines:#?}");
    problem
}

/// A world in which all is well, but that it has no topics.
async fn world() -> World {
    let world = World::new(Spotify::showing(3, 7).await).await;
    world.set("TRIGGER_TOPIC", "").set("DEAD_LETTER_TOPIC", "")
}

#[tokio::test]
async fn each_thing_has_a_line() {
    let (lines, code) = check(&world().await, &[]).await;
    let expected = [
        "ok      settings: all valid",
        "ok      Spotify: a search for \"data hackers\" finds 3 shows",
        "ok      Spotify app: Development Mode: search pages have at most 10 items",
        "ok      dataset p1.spotify_podcasts: in southamerica-east1",
        "ok      table tb_datahackers_limitada: not there yet; the first load makes it",
        "ok      table tb_datahackers_episodios_total: not there yet; the first load makes it",
        "ok      table tb_datahackers_episodios_boticario: not there yet; the first load makes it",
        "PROBLEM TRIGGER_TOPIC: not set → set it to the topic's name",
        "PROBLEM DEAD_LETTER_TOPIC: not set → set it to the topic's name",
        "PROBLEM DEAD_LETTER_SUBSCRIPTION: not set → set it to the subscription's name",
        "ok      push verification: left to the platform (as on Cloud Run)",
    ];
    assert_eq!((lines.len(), code), (expected.len(), Some(1)), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line} is not {expected}");
    }
}

#[tokio::test]
async fn for_a_script_each_line_is_an_object() {
    let (lines, _) = check(&world().await, &["--json"]).await;
    let findings: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings[0], json!({"what": "settings", "ok": true, "detail": "all valid"}));
    assert!(findings.iter().all(|finding| finding["ok"] == true || finding["advice"].is_string()));
}

#[tokio::test]
async fn what_spotify_refuses_is_told_with_what_to_do() {
    for (path, status, body, expected) in [
        (
            "token",
            400,
            r#"{"error":"invalid_client"}"#,
            ["SPOTIFY_CREDENTIALS", "set-credentials.sh"],
        ),
        ("/v1/", 403, "Active premium subscription required", ["premium", "renew the Premium"]),
        (
            "/v1/",
            400,
            r#"{"error":{"status":400,"message":"Invalid limit"}}"#,
            ["Invalid limit", "set SPOTIFY_SEARCH_PAGE_SIZE to 10"],
        ),
    ] {
        let world = world().await;
        world.spotify.stub.on(move |call| {
            if call.path.contains(path) { answer(status, body) } else { Act::Pass }
        });
        let problem = problem(&world).await;
        assert!(expected.iter().all(|words| problem.contains(words)), "{body}: {problem}");
    }
    let problem = problem(&world().await.set("SPOTIFY_CREDENTIALS", "")).await;
    assert!(
        problem.contains("neither SPOTIFY_CREDENTIALS_FILE nor SPOTIFY_CREDENTIALS is set"),
        "{problem}"
    );
}

#[tokio::test]
async fn what_is_wrong_in_bigquery_is_told_with_what_to_do() {
    let world = self::world().await;
    let tables = format!(
        "{}/bigquery/v2/projects/p1/datasets/spotify_podcasts/tables",
        world.bigquery.stub.url
    );
    let columns = json!([
        {"name": "name", "type": "STRING"}, {"name": "description", "type": "STRING"},
        {"name": "id", "type": "STRING"}, {"name": "total_episodes", "type": "FLOAT"},
        {"name": "index", "type": "INTEGER"},
    ]);
    let table = json!({"tableReference": {"tableId": "tb_datahackers_limitada"}, "schema": {"fields": columns}});
    client().post(tables).json(&table).send().await.unwrap();
    let problem = problem(&world).await;
    for words in [
        "table tb_datahackers_limitada",
        "total_episodes is FLOAT, ours is INTEGER; index INTEGER is not ours",
        "docs/from-the-notebook.md",
    ] {
        assert!(problem.contains(words), "{problem}");
    }

    for (status, reason, expected) in [
        (404, "notFound", ["dataset p1.spotify_podcasts does not exist", "ids are case-sensitive"]),
        (403, "accessDenied", ["BigQuery denies", "roles/bigquery.dataEditor"]),
    ] {
        let world = self::world().await;
        world.bigquery.stub.on(move |_| answer(status, &error_body(status, reason, "no")));
        let problem = self::problem(&world).await;
        assert!(expected.iter().all(|words| problem.contains(words)), "{problem}");
    }
    let problem = self::problem(&self::world().await.set("GOOGLE_CLOUD_PROJECT", "")).await;
    assert!(problem.contains("set GOOGLE_CLOUD_PROJECT to the project"), "{problem}");
}
