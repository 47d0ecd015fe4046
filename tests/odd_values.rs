//! Values that Spotify does not document, each kind on its own: a field becomes NULL or an item is
//! skipped, but the table is loaded.

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::spotify::{Spotify, episode, episode_rows, podcast_rows, show};
use crate::support::wire::{Act, answer};
use crate::support::{App, EPISODES, MENTIONS, PODCASTS, World, table};

/// Starts a service for which every page of episodes has these bytes.
async fn showing(page: Vec<u8>) -> (World, App) {
    let world = World::new(Spotify::showing(1, 1).await).await;
    world.spotify.stub.on(move |call| {
        if call.path.ends_with("/episodes") {
            Act::Answer(Response::new(Body::from(page.clone())))
        } else {
            Act::Pass
        }
    });
    let app = world.app().await;
    (world, app)
}

/// A page of three episodes, the second of which is `item`.
fn page_with(item: &str) -> String {
    format!(r#"{{"items":[{},{item},{}],"total":3}}"#, episode(0), episode(2))
}

/// An item with `value` in one field, and its row.
fn with(field: &str, value: &str, column: &Value) -> (String, Value) {
    let item = episode(1);
    let mut row = episode_rows(std::slice::from_ref(&item)).remove(0);
    if field != "languages" {
        row[field] = column.clone();
    }
    let healthy = format!("\"{field}\":{}", item[field]);
    let text = item.to_string();
    assert!(text.contains(&healthy), "{healthy} in {text}");
    (text.replace(&healthy, &format!("\"{field}\":{value}")), row)
}

#[tokio::test]
async fn an_odd_field_is_converted_or_else_null_and_counted() {
    let null = Value::Null;
    for (field, value, column, malformed, undated) in [
        ("duration_ms", "2345.0", json!(2345), 0, 0),
        ("duration_ms", "4.9022656E7", json!(49_022_656), 0, 0),
        ("duration_ms", "\"2345\"", json!(2345), 0, 0),
        ("duration_ms", "\"2.345e3\"", json!(2345), 0, 0),
        ("duration_ms", "null", null.clone(), 0, 0),
        ("duration_ms", r#"{"totalMilliseconds":2345}"#, null.clone(), 1, 0),
        ("duration_ms", "2345.5", null.clone(), 1, 0),
        ("duration_ms", "1e400", null.clone(), 1, 0),
        ("duration_ms", "9223372036854775808", null.clone(), 1, 0),
        ("duration_ms", "\"long\"", null.clone(), 1, 0),
        ("explicit", "0", null.clone(), 1, 0),
        ("explicit", "\"true\"", null.clone(), 1, 0),
        ("explicit", "null", null.clone(), 0, 0),
        ("name", "null", null.clone(), 0, 0),
        ("name", "\"\"", json!(""), 0, 0),
        ("name", "[\"a\"]", null.clone(), 1, 0),
        ("description", r#""cut \ud83c""#, json!("cut \u{fffd}"), 0, 0),
        ("description", r#""\udfa7\u0000 \ud83c\udfa7""#, json!("\u{fffd} 🎧"), 0, 0),
        ("description", "{\"html\":\"<p>\"}", null.clone(), 1, 0),
        ("type", "7", null.clone(), 1, 0),
        ("release_date", "\"0000\"", null.clone(), 0, 1),
        ("release_date", "null", null.clone(), 0, 1),
        ("release_date", "1981", null.clone(), 1, 1),
        ("language", "\"\"", json!("pt-BR"), 0, 0),
        ("language", "null", json!("pt-BR"), 0, 0),
        ("language", "5", json!("pt-BR"), 0, 0),
        ("languages", "[null,5,\"\"]", null.clone(), 0, 0),
        ("languages", "\"pt\"", null.clone(), 0, 0),
    ] {
        let (item, row) = with(field, value, &column);
        let log = Log::start();
        let (world, app) = showing(page_with(&item).into_bytes()).await;
        let push = table("episodes");
        assert_eq!(app.push(&push).await.result(), (204, "loaded"), "{item}");
        let mut expected = episode_rows(&[episode(0), episode(2)]);
        expected.insert(1, row);
        assert_eq!(world.bigquery.rows(EPISODES), expected, "{item}");
        let line = log.outcome(&push.id);
        let counts = ["malformed_fields", "undated", "skipped_nulls"].map(|name| &*line[name]);
        let (malformed, undated) = (format!("{malformed}"), format!("{undated}"));
        assert_eq!(counts, [&*malformed, &*undated, "0"], "{field}: {value}");
    }
}

#[tokio::test]
async fn an_item_without_an_id_is_skipped_and_counted() {
    for item in [
        // Recorded: a deleted episode in a listing.
        r#"{"id":null,"languages":[null],"release_date":"0000","name":null,"description":null,
            "duration_ms":null,"explicit":null,"type":null,"uri":null}"#,
        "{}",
        r#"{"id":"","name":"Grupo Boticário"}"#,
        r#"{"id":"\u0000","name":"Grupo Boticário"}"#,
        r#"{"id":5,"name":"Grupo Boticário"}"#,
        r#"["e","n"]"#,
        "7",
        "1e999",
        "true",
        r#""Grupo Boticário""#,
        "null",
    ] {
        let log = Log::start();
        let (world, app) = showing(page_with(item).into_bytes()).await;
        let push = table("episodes");
        assert_eq!(app.push(&push).await.result(), (204, "loaded"), "{item}");
        assert_eq!(
            world.bigquery.rows(EPISODES),
            episode_rows(&[episode(0), episode(2)]),
            "{item}"
        );
        let line = log.outcome(&push.id);
        let counts = ["malformed_fields", "undated", "skipped_nulls"].map(|name| &*line[name]);
        assert_eq!(counts, ["0", "0", "1"], "{item}");
        assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"), "{item}");
        assert_eq!(world.bigquery.rows(MENTIONS), episode_rows(&[episode(0)]), "{item}");
    }
}

#[tokio::test]
async fn an_odd_page_is_parsed_as_well() {
    let healthy = page_with(&episode(1).to_string());
    let rows = episode_rows(&[episode(0), episode(1), episode(2)]);
    for page in [
        format!("\u{feff}{healthy}"),
        healthy.replace("\"total\":3", "\"total\":3.0"),
        healthy.replace("\"total\":3", "\"total\":\"3\",\"limit\":{},\"offset\":null"),
        healthy.replace("\"total\":3", "\"total\":7.0E1,\"total\":3,\"error\":null"),
        healthy.replace("{\"items\"", r#"{"items":null,"\ud83c":"\udfa7","items""#),
    ] {
        let (world, app) = showing(page.clone().into_bytes()).await;
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{page}");
        assert_eq!(world.bigquery.rows(EPISODES), rows, "{page}");
    }
}

#[tokio::test]
async fn invalid_utf_8_and_u_0000_are_replaced_or_removed() {
    let mut page = page_with(&episode(1).to_string()).into_bytes();
    let at = page.windows(4).position(|bytes| bytes == "Só ".as_bytes()).unwrap();
    page.splice(at..at + 4, *b"S\xf3\0 ");
    let (world, app) = showing(page).await;
    assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES)[1]["description"], "S\u{fffd} 1");
}

#[tokio::test]
async fn a_search_is_parsed_as_leniently() {
    let log = Log::start();
    let world = World::new(Spotify::showing(1, 1).await).await;
    let (mut first, mut second, third) = (show(0), show(1), show(2));
    first["total_episodes"] = json!({"count": 5});
    second["total_episodes"] = json!("12");
    second["name"] = json!(["Programa"]);
    let page = format!(
        r#"{{"shows":{{"items":[{{"id":"","name":"data hackers"}},{first},7,{second},{third}],"total":"5"}}}}"#
    );
    world.spotify.stub.on(move |call| match call.path.as_str() {
        "/v1/search" => answer(200, &page),
        _ => Act::Pass,
    });
    let app = world.app().await;
    let push = table("podcasts");
    assert_eq!(app.push(&push).await.result(), (204, "loaded"));
    let mut expected = podcast_rows(&[first, second, third]);
    expected[0]["total_episodes"] = Value::Null;
    expected[1]["total_episodes"] = json!(12);
    expected[1]["name"] = Value::Null;
    assert_eq!(world.bigquery.rows(PODCASTS), expected);
    let line = log.outcome(&push.id);
    assert_eq!((&*line["malformed_fields"], &*line["skipped_nulls"]), ("2", "2"));
    // The show with the term's name has no ID, so the first show with an ID is the term's.
    app.push(&table("episodes")).await;
    let listed = world.spotify.stub.calls_to("GET", "/episodes");
    assert!(listed[0].path.contains(show(0)["id"].as_str().unwrap()), "{listed:?}");
}

#[tokio::test]
async fn an_unreadable_response_names_the_field_and_quotes_spotify() {
    for (page, says) in [
        (r#"{"href":"about:us","total":3}"#, r#"`items` is missing: {"href":"about:us""#),
        (r#"{"items":null,"total":3}"#, "`items` is null"),
        (r#"{"items":{"0":{}},"total":3}"#, "`items` is an object"),
        (r#"[{"items":[]}]"#, "the response is an array"),
        ("", "it is empty"),
        ("Service busy", "Service busy"),
        (r#"{"error":{"status":500,"message":"Oops, we broke it"}}"#, "Oops, we broke it"),
        (r#"{"items":[],"error":["Oops"]}"#, "Oops"),
    ] {
        let (world, app) = showing(page.as_bytes().to_vec()).await;
        let answer = app.push(&table("episodes")).await;
        assert_eq!(answer.status, 503, "{page}");
        assert!(answer.detail().contains(says), "{page}: {}", answer.detail());
        assert!(world.bigquery.table(EPISODES).is_none_or(|table| table.loads == 0));
    }
}

#[tokio::test]
async fn an_odd_token_response_is_accepted() {
    for token in [
        r#"{"access_token":"sample-token","token_type":"bearer","expires_in":"3600"}"#,
        r#"{"access_token":"sample-token","token_type":"BEARER","expires_in":3600.0}"#,
        r#"{"access_token":"sample-token"}"#,
        r#"{"access_token":"sample-token","token_type":null,"expires_in":null,"scope":[]}"#,
        r#"{"access_token":"sample-token","expires_in":-1}"#,
        r#"{"access_token":"sample-token","expires_in":1e300}"#,
        "\u{feff}{\"access_token\":\"sample-token\",\"expires_in\":{},\"scope\":\"\\ud83c\"}",
    ] {
        let world = World::new(Spotify::showing(1, 3).await).await;
        world.spotify.stub.on(move |call| match call.path.as_str() {
            "/api/token" => answer(200, token),
            _ => Act::Pass,
        });
        let app = world.app().await;
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"), "{token}");
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"), "{token}");
        let tokens = world.spotify.stub.calls_to("POST", "/api/token").len();
        assert_eq!(tokens, 1, "{token}");
    }
}

#[tokio::test]
async fn a_response_without_a_token_is_explained_but_not_quoted() {
    for (token, says) in [
        (r#"{"token":"hush"}"#, "`access_token` is missing"),
        (r#"{"access_token":null,"refresh_token":"hush"}"#, "`access_token` is null"),
        (r#"{"access_token":"","refresh_token":"hush"}"#, "`access_token` is empty"),
        (r#"{"access_token":["hush"]}"#, "`access_token` is an array"),
        (r#"{"access_token":"hush\nhush"}"#, "`access_token` is not a token"),
        (r#"["hush"]"#, "the response is an array"),
        ("hush", "not JSON"),
    ] {
        let world = World::new(Spotify::showing(1, 3).await).await;
        world.spotify.stub.on(move |call| match call.path.as_str() {
            "/api/token" => answer(200, token),
            _ => Act::Pass,
        });
        let app = world.app().await;
        let answer = app.push(&table("podcasts")).await;
        assert_eq!(answer.status, 503, "{token}");
        assert!(answer.detail().contains(says), "{token}: {}", answer.detail());
        assert!(!answer.body.to_string().contains("hush"), "{token}: {}", answer.body);
    }
}

#[tokio::test]
async fn any_of_several_phrases_makes_a_mention() {
    let mut episodes = [0, 1, 2, 4].map(episode);
    episodes[1]["name"] = json!("Com a Ma\u{2068}ga\u{200d}lu\u{fe0f}");
    let page = json!({"items": episodes, "total": 4}).to_string();
    let (world, _) = showing(page.into_bytes()).await;
    let world = world.set("MENTION", "Grupo Boticário | MAGALU");
    let app = world.app().await;
    assert_eq!(app.push(&table("mentions")).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(MENTIONS), episode_rows(&episodes[..2]));
}
