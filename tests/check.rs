//! `check` against one problem at a time: the right finding, with advice.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::bigquery::{Table, error_body};
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, answer};
use crate::support::{EPISODES, MENTIONS, PODCASTS, World, client};

/// Runs `check`. Returns its lines, each with its advice appended, and its exit code.
async fn check(world: &World, arguments: &[&str]) -> (Vec<String>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotify-bq"));
    command.arg("check").args(arguments).env_clear().envs(&world.settings);
    let checked = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
    let stdout = String::from_utf8(checked.stdout).unwrap().replace("\n        → ", " → ");
    (stdout.lines().map(str::to_owned).collect(), checked.status.code())
}

/// Returns the only problem that `check` finds, apart from the topics that are not set.
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

/// A world without problems, except that no topics are set.
async fn world() -> World {
    let world = World::new(Spotify::showing(3, 7).await).await;
    world.set("TRIGGER_TOPIC", "").set("DEAD_LETTER_TOPIC", "")
}

#[tokio::test]
async fn prints_one_line_per_check() {
    let (lines, code) = check(&world().await, &[]).await;
    let expected = [
        "ok      settings: all valid",
        "ok      Spotify: responds to a search for \"data hackers\"",
        "ok      show: \"Programa 0\" (",
        "ok      Spotify app: Development Mode: search pages have at most 10 items",
        "ok      dataset p1.spotify_podcasts: in southamerica-east1",
        "ok      table tb_datahackers_limitada: does not exist yet; the first load creates it",
        "ok      table tb_datahackers_episodios_total: does not exist yet; the first load creates it",
        "ok      table tb_datahackers_episodios_boticario: does not exist yet; the first load creates it",
        "PROBLEM TRIGGER_TOPIC: not set → set it to the topic's name",
        "PROBLEM DEAD_LETTER_TOPIC: not set → set it to the topic's name",
        "PROBLEM DEAD_LETTER_SUBSCRIPTION: not set → set it to the subscription's name",
        "ok      push verification: off; the platform must verify pushes, as Cloud Run does",
    ];
    assert_eq!((lines.len(), code), (expected.len(), Some(1)), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line} is not {expected}");
    }
}

#[tokio::test]
async fn names_derived_from_the_term_are_shown_with_the_default_names() {
    let (lines, _) = check(&world().await.set("SEARCH_TERM", "Café"), &[]).await;
    let names: Vec<&String> = lines.iter().filter(|line| line.contains(" table names: ")).collect();
    let [line] = names[..] else { panic!("{lines:#?}") };
    for words in [
        "podcasts_cafe, episodes_cafe, mentions_cafe, because SEARCH_TERM is \"Café\"",
        "set PODCASTS_TABLE=tb_datahackers_limitada EPISODES_TABLE=",
        "MENTIONS_TABLE=tb_datahackers_episodios_boticario (Terraform: `tables = {}`)",
    ] {
        assert!(line.contains(words), "{line}");
    }
    assert!(lines.iter().any(|line| line.contains("table podcasts_cafe: does not exist yet")));

    let world = world().await.set("SEARCH_TERM", "Café");
    let world = world.set("PODCASTS_TABLE", "a").set("EPISODES_TABLE", "b");
    let (lines, _) = check(&world, &[]).await;
    let line = lines.iter().find(|line| line.contains(" table names: ")).unwrap();
    assert!(line.contains("a, b, mentions_cafe") && !line.contains("PODCASTS_TABLE"), "{line}");
    let world = world.set("MENTIONS_TABLE", "c");
    for world in [world, self::world().await] {
        let (lines, _) = check(&world, &[]).await;
        assert!(lines.iter().all(|line| !line.contains(" table names: ")), "{lines:#?}");
    }
}

#[tokio::test]
async fn json_prints_one_object_per_line() {
    let (lines, _) = check(&world().await, &["--json"]).await;
    let findings: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings[0], json!({"what": "settings", "ok": true, "detail": "all valid"}));
    assert!(findings.iter().all(|finding| finding["ok"] == true || finding["advice"].is_string()));
}

#[tokio::test]
async fn errors_of_spotify_have_advice() {
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
async fn problems_in_bigquery_have_advice() {
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
        "total_episodes is FLOAT, expected INTEGER; unexpected column index INTEGER",
        "docs/from-the-notebook.md",
    ] {
        assert!(problem.contains(words), "{problem}");
    }

    for (status, reason, expected) in [
        (404, "notFound", ["dataset p1.spotify_podcasts does not exist", "IDs are case-sensitive"]),
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

#[tokio::test]
async fn prints_the_show_and_why_it_was_chosen() {
    let world = self::world().await;
    let named = world.set("SEARCH_TERM", " PROGRAMA 1");
    let (lines, _) = check(&named, &["--json"]).await;
    let shown: Value = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|finding: &Value| finding["what"] == "show")
        .unwrap();
    let show =
        named.spotify.catalog.shows.iter().find(|other| other["name"] == "Programa 1").unwrap();
    assert_eq!(
        (&shown["showId"], &shown["show"], &shown["showMatch"]),
        (&show["id"], &show["name"], &json!("name"))
    );

    let (lines, _) = check(&self::world().await, &["--json"]).await;
    assert!(lines.iter().any(|line| line.contains(r#""showMatch":"first""#)), "{lines:#?}");

    let nothing = World::new(Spotify::showing(0, 0).await).await;
    let problem = problem(&nothing.set("TRIGGER_TOPIC", "").set("DEAD_LETTER_TOPIC", "")).await;
    assert!(problem.contains("show") && problem.contains("SPOTIFY_MARKET"), "{problem}");
}

#[tokio::test]
async fn the_dataset_is_checked_even_if_its_location_is_configured() {
    let world = self::world().await.set("BIGQUERY_LOCATION", "US");
    let problem = problem(&world).await;
    assert!(problem.contains("in southamerica-east1, but BIGQUERY_LOCATION is US"), "{problem}");
    world.bigquery.state.lock().unwrap().dataset = false;
    let problem = self::problem(&world).await;
    assert!(problem.contains("does not exist"), "{problem}");
}

#[tokio::test]
async fn all_tables_of_the_service_are_listed_with_rows_and_age() {
    let world = self::world().await;
    let app = world.app().await;
    for message in [
        json!({"table": "podcasts"}),
        json!({"table": "episodes", "search_term": "Café"}),
        json!({"table": "mentions", "search_term": "日本"}),
    ] {
        assert_eq!(app.push(&crate::support::message(&message)).await.status, 204);
    }
    {
        let mut state = world.bigquery.state.lock().unwrap();
        let ours = state.tables["episodes_cafe"].clone();
        state
            .tables
            .insert("episodes_view".to_owned(), Table { r#type: Some("VIEW"), ..ours.clone() });
        state.tables.insert("podcasts_other".to_owned(), ours.clone());
        state.tables.insert("sales".to_owned(), ours);
    }
    let (lines, code) = check(&world, &["--json"]).await;
    let findings: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tables: Vec<&Value> =
        findings.iter().filter(|finding| finding["table"].is_string()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table["table"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(&names[..4], [PODCASTS, EPISODES, MENTIONS, "episodes_cafe"]);
    assert!(names[4].starts_with("mentions__"), "{names:?}");
    assert!(tables.iter().all(|table| table["ok"] == true), "{tables:#?}");
    assert_eq!((&tables[0]["rows"], &tables[0]["kind"]), (&json!(3), &json!("podcasts")));
    assert_eq!(
        (&tables[3]["rows"], &tables[3]["changed"]),
        (&json!(7), &json!("2025-11-25T09:00:00Z"))
    );
    assert_eq!(tables[1].get("rows"), None);
    // No topics are set.
    assert_eq!(code, Some(1));

    let (lines, _) = check(&world, &["--max-age", "26h"]).await;
    let old: Vec<&String> = lines.iter().filter(|line| line.starts_with("PROBLEM table")).collect();
    assert_eq!(old.len(), 5, "{lines:#?}");
    assert!(
        old[0].contains("3 rows, last changed") && old[0].contains("older than 93600 s"),
        "{old:#?}"
    );
    assert!(old[1].contains("was never loaded"), "{old:#?}");
    let (lines, _) = check(&world, &["--max-age", "100000d"]).await;
    assert_eq!(lines.iter().filter(|line| line.starts_with("PROBLEM table")).count(), 2);
    let (_, code) = check_invalid(&world, "soon").await;
    assert_eq!(code, Some(2));
}

/// Runs `check` with an invalid `--max-age`. Returns stderr and the exit code.
async fn check_invalid(world: &World, max_age: &str) -> (String, Option<i32>) {
    let arguments = ["check", "--max-age", max_age];
    let output =
        crate::support::binary::command(&arguments, &world.settings).output().await.unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[tokio::test]
async fn messages_of_topics_must_reach_a_subscription() {
    let world = World::new(Spotify::showing(3, 7).await)
        .await
        .set("DEAD_LETTER_SUBSCRIPTION", "letters-kept")
        .set("LOADED_TOPIC", "loaded");
    let (lines, code) = check(&world, &[]).await;
    assert_eq!(code, Some(0), "{lines:#?}");
    for line in [
        "topics/trigger: exists and has a subscription",
        "topics/letters: exists and has a subscription",
        "topics/loaded: exists and has a subscription",
        "subscriptions/letters-kept: receives from projects/p1/topics/letters",
    ] {
        assert!(lines.iter().any(|found| found.contains(line)), "{line}: {lines:#?}");
    }
    let problems = async |change: fn(&mut crate::support::subscriber::State)| {
        *world.pubsub.subscription.lock().unwrap() = Default::default();
        change(&mut world.pubsub.subscription.lock().unwrap());
        let (lines, code) = check(&world, &[]).await;
        assert_eq!(code, Some(1), "{lines:#?}");
        lines.into_iter().filter(|line| line.starts_with("PROBLEM")).collect::<Vec<_>>()
    };
    let found = problems(|state| state.subscriptions.clear()).await;
    assert!(
        found.len() == 2 && found[0].contains("topics/trigger: it has no subscription"),
        "{found:#?}"
    );
    let found = problems(|state| state.push_to("https://elsewhere/")).await;
    assert!(found.len() == 1 && found[0].contains("https://elsewhere/"), "{found:#?}");
    let found = problems(|state| state.subscription.topic = "_deleted-topic_".to_owned()).await;
    assert!(found.len() == 1 && found[0].contains("its topic was deleted"), "{found:#?}");
    let found =
        problems(|state| state.subscription.topic = "projects/p1/topics/x".to_owned()).await;
    assert!(
        found.len() == 1 && found[0].contains("topics/x, but DEAD_LETTER_TOPIC is"),
        "{found:#?}"
    );
    // A missing permission to list subscriptions is not a problem.
    world.pubsub.subscription.lock().unwrap().subscription.topic =
        "projects/p1/topics/letters".to_owned();
    world.pubsub.subscription.lock().unwrap().refuses = Box::new(|method| {
        (method == "ListTopicSubscriptions").then_some(tonic::Code::PermissionDenied)
    });
    let (lines, code) = check(&world, &[]).await;
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("is unknown: the Pub/Sub request")),
        "{lines:#?}"
    );

    let same = world.set("DEAD_LETTER_TOPIC", "trigger");
    let output =
        crate::support::binary::command(&["check"], &same.settings).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("DEAD_LETTER_TOPIC must differ from TRIGGER_TOPIC")
    );
}
