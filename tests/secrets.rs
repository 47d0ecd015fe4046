//! Secrets do not leak: whatever fails, nothing that the service prints, answers or publishes contains
//! a client ID, a client secret or a token. The logs of all crates are at their most verbose.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use futures_util::future::join_all;
use serde_json::{Value, json};
use spotify_bq::service::Service;

use crate::support::binary::{Binary, output};
use crate::support::issuer::{ACCOUNT, AUDIENCE, valid_token};
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, Call, Stub, answer, answer_with};
use crate::support::{World, client, message, table};

const ID: &str = "9f2c7a51e0d84b6c8a3351c0ffee0001";
const SECRET: &str = "51ecre7751ecre7751ecre7751ecre77";
/// The token of the sample Spotify.
const SPOTIFY_TOKEN: &str = "sample-token";
/// The token of all pushes.
static PUSH_TOKEN: LazyLock<String> = LazyLock::new(|| valid_token("k", json!({})));
const GOOGLE_TOKEN: &str = "ya29.g00gle-t0ken-0f-the-metadata-server";

fn credentials() -> String {
    json!({"client_id": ID, "client_secret": SECRET}).to_string()
}

/// Returns parts of every secret, as plain text and in the encodings in which it is sent.
fn needles() -> Vec<String> {
    let mut needles = Vec::new();
    for secret in [ID, SECRET, SPOTIFY_TOKEN, GOOGLE_TOKEN] {
        needles.push(secret[..12.min(secret.len())].to_owned());
        needles.push(secret[secret.len() - 12..].to_owned());
    }
    let pair = format!("{ID}:{SECRET}");
    for encoded in [STANDARD.encode(&pair), URL_SAFE.encode(&pair), STANDARD.encode(SECRET)] {
        // Without the end, which depends on the text that follows.
        needles.push(encoded[..16].to_owned());
        needles.push(encoded[encoded.len() - 24..encoded.len() - 4].to_owned());
    }
    needles
}

/// Returns the secrets in a text, each with the text around it.
fn found(text: &str) -> Vec<String> {
    let around = |at: usize| {
        text[text.floor_char_boundary(at.saturating_sub(120))..text.ceil_char_boundary(at + 60)]
            .to_owned()
    };
    needles().iter().filter_map(|needle| text.find(needle.as_str())).map(around).collect()
}

/// Fails in the way that the search term says, and quotes the request.
fn failing(call: &Call) -> Act {
    let sent = call.headers["authorization"].to_str().unwrap();
    let echo = format!("the request was: Authorization: {sent}");
    match call.query("q") {
        "plain echo" => answer(403, &echo),
        "json echo" => answer(400, &json!({"error": {"status": 400, "message": echo}}).to_string()),
        "premium echo" => answer(403, &format!("premium {echo}")),
        "server echo" => answer(503, &echo),
        "header echo" => answer_with(500, &[("retry-after", sent), ("x-echo", sent)], ""),
        "wrong type" => answer(200, &json!({"shows": {"total": sent}}).to_string()),
        "redirect" => answer_with(302, &[("location", &format!("/?{sent}"))], ""),
        "refused" => answer(401, &echo),
        "throttled" => answer_with(429, &[("retry-after", "0")], &echo),
        "cut" => Act::Cut,
        "not found" => answer(404, &echo),
        "no market" => answer(451, &echo),
        "closed" => answer(499, &echo),
        "no query" => answer(400, &format!("No search query: {echo}")),
        "odd" => answer(200, &echo),
        "odd json" => answer(200, &json!({"words": echo}).to_string()),
        "error inside" => {
            answer(200, &json!({"error": {"status": 403, "message": echo}}).to_string())
        }
        "token inside" => {
            answer(200, &json!({"error": format!("access token {echo}")}).to_string())
        }
        _ => Act::Pass,
    }
}

const FAILURES: [&str; 18] = [
    "plain echo",
    "json echo",
    "premium echo",
    "server echo",
    "header echo",
    "wrong type",
    "redirect",
    "refused",
    "throttled",
    "cut",
    "not found",
    "no market",
    "closed",
    "no query",
    "odd",
    "odd json",
    "error inside",
    "token inside",
];

/// All output of a run.
#[derive(Default)]
struct Seen(String);

impl Seen {
    async fn push(&mut self, url: &str, bodies: impl IntoIterator<Item = Value>) {
        let client = client();
        let pushes = bodies.into_iter().map(|body| {
            let request = client.post(url).bearer_auth(PUSH_TOKEN.as_str()).body(body.to_string());
            async move {
                let response = request.send().await.unwrap();
                let head = format!("{} {:?}", response.status(), response.headers());
                format!("{head} {}\n", response.text().await.unwrap())
            }
        });
        self.0.extend(join_all(pushes).await);
    }

    fn letters(&mut self, world: &World) {
        for letter in world.pubsub.published("letters") {
            let data = String::from_utf8_lossy(&letter.data).into_owned();
            writeln!(self.0, "{data} {:?}", letter.attributes).unwrap();
        }
    }
}

async fn world() -> World {
    World::new(Spotify::showing(2, 2).await)
        .await
        .set("SPOTIFY_CREDENTIALS", &credentials())
        .set("LOG_FORMAT", "json")
        .set("RUST_LOG", "trace")
        .set("RUST_BACKTRACE", "1")
        .set("MAX_CONCURRENT_MESSAGES", "50")
}

#[tokio::test]
async fn failures_of_spotify_and_of_messages_show_no_secret() {
    let world = world().await;
    world.spotify.stub.on(|call| if call.path == "/api/token" { Act::Pass } else { failing(call) });
    let binary = Binary::start(&world.settings).await;
    let mut seen = Seen::default();
    let good = ["podcasts", "episodes", "mentions"].map(|name| table(name).envelope());
    seen.push(&binary.url, good).await;
    let bad =
        FAILURES.map(|term| message(&json!({"table": "podcasts", "search_term": term})).envelope());
    seen.push(&binary.url, bad).await;
    let refused = [json!({"tabel": 1}), json!([]), json!({"search_term": ["a", "b"]})];
    seen.push(&binary.url, refused.map(|data| message(&data).envelope())).await;
    seen.push(&binary.url, [json!({"message": 1})]).await;
    seen.letters(&world);
    seen.0 += &binary.end().await;

    assert_eq!(found(&seen.0), [""; 0]);
    // The output is complete: log lines of other crates, failures and responses.
    for expected in ["hyper_util::client", "spotify_refused", "premium_required", "x-echo", "503"] {
        let is_there = seen.0.contains(expected);
        assert_eq!(is_there, expected != "x-echo", "{expected}");
    }
}

#[tokio::test]
async fn failures_of_the_token_request_show_no_secret() {
    let echo = |call: &Call| {
        let sent = call.headers["authorization"].to_str().unwrap().to_owned();
        format!("{sent} is not {ID} with {SECRET}")
    };
    type Token = Box<dyn Fn(&Call) -> Act + Send>;
    let failures: Vec<Token> = vec![
        Box::new(move |call| answer(400, &json!({"error": echo(call)}).to_string())),
        Box::new(move |call| {
            let words = json!({"error": "invalid_client", "error_description": echo(call)});
            answer(401, &words.to_string())
        }),
        Box::new(move |call| answer(403, &echo(call))),
        Box::new(move |call| answer(404, &echo(call))),
        Box::new(move |call| answer(499, &echo(call))),
        Box::new(move |call| answer(200, &echo(call))),
        Box::new(move |call| answer(200, &json!({"error": echo(call)}).to_string())),
        Box::new(move |call| {
            let error = json!({"error": {"status": 403, "message": echo(call)}});
            answer(200, &error.to_string())
        }),
        Box::new(move |call| answer_with(429, &[("retry-after", "9999")], &echo(call))),
        // Not a token, or not valid in a header.
        Box::new(|_| answer(200, &json!({"access_token": [SPOTIFY_TOKEN]}).to_string())),
        Box::new(|_| {
            answer(200, &json!({"access_token": format!("{SPOTIFY_TOKEN}\r\nx: y")}).to_string())
        }),
    ];
    let runs = failures.into_iter().map(|failure| async move {
        let world = world().await;
        world.spotify.stub.on(
            move |call| {
                if call.path == "/api/token" { failure(call) } else { Act::Pass }
            },
        );
        let binary = Binary::start(&world.settings).await;
        let mut seen = Seen::default();
        seen.push(&binary.url, [table("podcasts").envelope()]).await;
        assert!(seen.0.starts_with("503"), "{}", seen.0);
        seen.0 += &binary.end().await;
        seen.0 += &output(&["check"], &world.settings).await;
        seen.0
    });
    for seen in join_all(runs).await {
        assert_eq!(found(&seen), [""; 0]);
    }
}

#[tokio::test]
async fn invalid_settings_show_no_secret() {
    let world = world().await;
    let folder = std::env::temp_dir().join(format!("spotify-bq-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("credentials");
    let path = file.to_str().unwrap().to_owned();
    for json in [
        credentials().replace("client_id", "id"),
        credentials().replace(',', ""),
        format!("{ID}:{SECRET}"),
        json!({"client_id": {"x": ID}, "client_secret": [SECRET]}).to_string(),
    ] {
        std::fs::write(&file, &json).unwrap();
        for (name, value) in [("SPOTIFY_CREDENTIALS", &json), ("SPOTIFY_CREDENTIALS_FILE", &path)] {
            let mut settings: BTreeMap<String, String> = world.settings.clone();
            settings.insert(name.to_owned(), value.clone());
            let binary = Binary::start(&settings).await;
            let mut seen = Seen::default();
            seen.push(&binary.url, [table("podcasts").envelope()]).await;
            assert!(seen.0.contains("spotify_credentials"), "{}", seen.0);
            seen.0 += &binary.end().await;
            settings.insert("PORT".to_owned(), "no".to_owned());
            for command in ["serve", "check", "publish", "redrive", "demo"] {
                seen.0 += &output(&[command], &settings).await;
            }
            assert_eq!(found(&seen.0), [""; 0]);
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn credentials_instead_of_a_path_are_refused_without_being_shown() {
    let mut settings = world().await.settings;
    settings.insert("SPOTIFY_CREDENTIALS_FILE".to_owned(), format!(" {}", credentials()));
    for command in ["serve", "check", "publish", "redrive", "demo"] {
        let output = output(&[command], &settings).await;
        assert_eq!(found(&output), [""; 0]);
        if command == "serve" {
            assert!(
                output.contains("SPOTIFY_CREDENTIALS_FILE contains JSON instead of a path"),
                "{output}"
            );
        }
    }
}

#[tokio::test]
async fn google_tokens_and_push_tokens_are_not_shown() {
    let token = json!({"access_token": GOOGLE_TOKEN, "expires_in": 3600, "token_type": "Bearer"});
    let metadata = Router::new()
        .route(
            "/computeMetadata/v1/instance/service-accounts/default/token",
            get(move || async move { axum::Json(token) }),
        )
        .route("/computeMetadata/v1/project/project-id", get(|| async { "p1" }));
    let metadata = Stub::start(metadata).await;
    let host = metadata.url.strip_prefix("http://").unwrap();
    // BigQuery and Pub/Sub are the real ones, which can't be reached from a test.
    let settings = world()
        .await
        .set("GCE_METADATA_HOST", host)
        .set("BIGQUERY_EMULATOR_HOST", "")
        .set("PUBSUB_EMULATOR_HOST", "")
        .set("MESSAGE_DEADLINE_SECONDS", "10")
        .settings;
    let mut verified = settings.clone();
    verified.insert("PUSH_AUDIENCE".to_owned(), AUDIENCE.to_owned());
    verified.insert("PUSH_SERVICE_ACCOUNT".to_owned(), ACCOUNT.to_owned());

    let mut seen = Seen::default();
    for settings in [settings, verified] {
        let binary = Binary::start(&settings).await;
        let push =
            [table("podcasts"), message(&json!({"x": 1})), message(&json!({"search_term": "x"}))];
        seen.push(&binary.url, push.map(|push| push.envelope())).await;
        seen.0 += &binary.end().await;
    }
    assert!(!metadata.calls_to("GET", "/token").is_empty());
    assert_eq!(found(&seen.0), [""; 0]);
    for part in PUSH_TOKEN.split('.') {
        assert!(!seen.0.contains(part), "a push's token is shown");
    }
}

#[tokio::test]
async fn debug_output_shows_no_secret() {
    let world = world().await;
    let config = world.config();
    let service = Service::new(config.clone()).unwrap();
    assert_eq!(found(&format!("{config:?} {config:#?} {service:?} {service:#?}")), [""; 0]);
}

#[tokio::test]
async fn a_planted_secret_is_found() {
    let world = world().await;
    let binary = Binary::start(&world.settings).await;
    let mut seen = Seen::default();
    let planted = json!({"table": "podcasts", "search_term": SECRET});
    seen.push(&binary.url, [message(&planted).envelope()]).await;
    assert_eq!(found(&seen.0), [""; 0]);
    assert!(!found(&binary.end().await).is_empty());
    for form in [ID, &STANDARD.encode(format!("{ID}:{SECRET}")), &credentials(), GOOGLE_TOKEN] {
        assert!(!found(&format!("…{form}…")).is_empty(), "{form}");
    }
}
