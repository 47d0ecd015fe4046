//! Google's credentials, with a metadata server and token endpoints that fail as the real ones do, and
//! with a BigQuery and a Pub/Sub that refuse a token.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use spotify_bq::config::{Config, Warehouse};
use spotify_bq::google::{CREDENTIAL_TYPES, GoogleCredentials};

use crate::documents::read;
use crate::support::binary::command;
use crate::support::google::Google;
use crate::support::issuer::ISSUER_KEY;
use crate::support::spotify::Spotify;
use crate::support::wire::{Act, Fault, answer};
use crate::support::{App, World, message, table};

const TOKEN: &str = "/service-accounts/default/token";

async fn world(google: &Google) -> World {
    let world = World::new(Spotify::showing(3, 7).await).await;
    world.set("GCE_METADATA_HOST", google.host()).set("GOOGLE_APPLICATION_CREDENTIALS", "")
}

/// Returns settings with which BigQuery and Pub/Sub need tokens.
fn with_tokens(world: &World) -> Config {
    let mut config = world.config();
    let Warehouse::BigQuery(bigquery) = &mut config.warehouse else { unreachable!() };
    bigquery.emulator = false;
    config.pubsub.emulator = false;
    config
}

async fn app(world: &World) -> App {
    App::start(with_tokens(world)).await
}

/// Writes a credentials file and sets GOOGLE_APPLICATION_CREDENTIALS to it.
fn with_file(world: World, name: &str, content: &str) -> World {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("credentials-{name}.json"));
    std::fs::write(&file, content).unwrap();
    world.set("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())
}

/// Returns the different tokens that BigQuery received.
fn tokens_received(world: &World) -> Vec<String> {
    let calls = world.bigquery.stub.calls();
    let mut shown: Vec<String> = calls
        .iter()
        .map(|call| call.headers["authorization"].to_str().unwrap().to_owned())
        .collect();
    shown.dedup();
    shown
}

#[tokio::test]
async fn a_transient_error_of_the_metadata_server_is_retried() {
    let faults: [Fault; 8] = [
        || answer(403, "Forbidden"),
        || answer(404, "Not Found"),
        || answer(500, ""),
        || answer(429, ""),
        || answer(200, "<html>Sign in to the network</html>"),
        || answer(200, r#"{"access_token":""}"#),
        || Act::Cut,
        || Act::Late(Duration::from_millis(300)),
    ];
    for fault in faults {
        let google = Google::start().await;
        let world = world(&google).await;
        google.stub.next(2, TOKEN, fault);
        let app = app(&world).await;
        assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
        assert_eq!(tokens_received(&world).len(), 1);
        assert!(tokens_received(&world)[0].starts_with("Bearer metadata-token-"));
        // One token is used for all calls.
        let calls = google.stub.calls().len();
        assert_eq!(app.push(&table("episodes")).await.result(), (204, "loaded"));
        assert_eq!(google.stub.calls().len(), calls);
    }
}

#[tokio::test]
async fn an_error_of_the_metadata_server_has_its_status_and_message() {
    for (status, body, says) in [
        (
            404,
            "no service account is attached",
            "responded 404 Not Found no service account is attached",
        ),
        (403, "<html>blocked</html>", "responded 403 Forbidden <html>blocked</html>"),
        (500, "", "responded 500 Internal Server Error"),
        (200, "<html>half-a-token</html>", "responded 200 OK with 25 bytes"),
    ] {
        let google = Google::start().await;
        let world = world(&google).await;
        google.stub.always(TOKEN, move || answer(status, body));
        let app = app(&world).await;
        let push = table("podcasts");
        let response = app.push(&push).await;
        assert_eq!(response.result(), (503, "retry google_credentials"), "{body}");
        assert!(response.detail().contains(says), "{}", response.detail());
        assert!(response.detail().contains(google.host()), "{}", response.detail());
        assert!(!response.detail().contains("half-a-token"), "{}", response.detail());
        assert!(google.stub.calls().len() > 3);
        google.stub.heal();
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
}

#[tokio::test]
async fn concurrent_callers_share_a_failure() {
    let google = Google::start().await;
    let credentials = GoogleCredentials::new(&with_tokens(&world(&google).await));
    google.stub.always(TOKEN, || answer(404, ""));
    let (one, two, three) =
        tokio::join!(credentials.token(), credentials.token(), credentials.token());
    assert!(one.is_err() && two.is_err() && three.is_err());
    assert_eq!(google.stub.calls().len(), 5);
    google.stub.heal();
    assert!(credentials.token().await.is_ok());
}

#[tokio::test]
async fn a_token_that_bigquery_refuses_is_replaced_once() {
    let google = Google::start().await;
    let world = world(&google).await;
    let app = app(&world).await;
    world.bigquery.stub.on(|call| {
        let stale = call.headers["authorization"] == "Bearer metadata-token-1";
        if stale { answer(401, "Invalid Credentials") } else { Act::Pass }
    });
    assert_eq!(app.push(&table("podcasts")).await.result(), (204, "loaded"));
    assert_eq!(google.stub.calls().len(), 2);

    world.bigquery.stub.on(|_| answer(401, "Invalid Credentials"));
    let (before, push) = (world.bigquery.stub.calls().len(), table("episodes"));
    let response = app.push(&push).await;
    assert_eq!(response.result(), (503, "retry google_credentials"));
    assert!(
        response.detail().contains("401") && response.detail().contains("Invalid Credentials"),
        "{}",
        response.detail()
    );
    assert!(world.bigquery.stub.calls().len() - before <= 6);
    world.bigquery.stub.heal();
    assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
}

#[tokio::test]
async fn a_token_that_pubsub_refuses_is_replaced_once() {
    let google = Google::start().await;
    let world = world(&google).await;
    let app = app(&world).await;
    let fan_out = message(&json!({"search_term": ["a", "b"]}));
    let mut refusals = 1;
    world.pubsub.on(move |_| {
        refusals -= 1;
        (refusals == 0).then_some(tonic::Code::Unauthenticated)
    });
    assert_eq!(app.push(&fan_out).await.result(), (204, "fanned_out"));
    let shown = world.pubsub.authorizations.lock().unwrap().clone();
    assert_eq!(shown, ["Bearer metadata-token-1", "Bearer metadata-token-2"]);

    world.pubsub.on(|_| Some(tonic::Code::Unauthenticated));
    let response = app.push(&fan_out).await;
    assert_eq!(response.result(), (503, "retry google_credentials"));
    assert!(response.detail().contains("Pub/Sub answers Unauthenticated"), "{}", response.detail());
    assert_eq!(world.pubsub.authorizations.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn an_error_of_the_token_endpoint_starts_with_the_root_cause_and_is_retried() {
    let google = Google::start().await;
    let world = world(&google).await;
    let world = with_file(world, "endpoint", &google.authorized_user().to_string());
    for (status, times, is_waited_for) in
        [(500, 2, true), (503, 2, true), (401, 1, true), (401, 2, false), (400, 2, false)]
    {
        let app = app(&world).await;
        google.stub.next(times, "/token", move || {
            // The endpoint may quote the request.
            let long = "x".repeat(2000);
            answer(status, &format!(r#"{{"error":"invalid_grant","got":"1//the-refresh-token the-google-secret {long}"}}"#))
        });
        let push = table("podcasts");
        let response = app.push(&push).await;
        if is_waited_for {
            assert_eq!(response.result(), (204, "loaded"));
            continue;
        }
        assert_eq!(response.result(), (503, "retry google_credentials"));
        let detail = response.detail();
        assert!(
            detail
                .starts_with(&format!("no Google credentials: HTTP status client error ({status}")),
            "{detail}"
        );
        assert!(detail.contains("invalid_grant"), "{detail}");
        for secret in ["1//the-refresh-token", "the-google-secret"] {
            assert!(!response.body.to_string().contains(secret), "{detail}");
        }
        assert_eq!(app.push(&push.again(2)).await.result(), (204, "loaded"));
    }
    assert!(tokens_received(&world).iter().all(|token| token.starts_with("Bearer user-token-")));
}

/// Returns a private key in PEM.
fn private_key() -> String {
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&*ISSUER_KEY).unwrap();
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[tokio::test]
async fn each_type_of_credentials_file_loads() {
    let google = Google::start().await;
    let url = &google.stub.url;
    let service_account = json!({
        "type": "service_account", "project_id": "p1", "private_key_id": "k1",
        "private_key": private_key(), "client_email": "me@p1.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": format!("{url}/token"),
    });
    let files = [
        (google.authorized_user(), "Bearer user-token-"),
        (service_account, "Bearer ey"),
        (
            json!({
                "type": "impersonated_service_account",
                "service_account_impersonation_url": format!("{url}/v1/projects/-/serviceAccounts/a@p1.iam.gserviceaccount.com:generateAccessToken"),
                "source_credentials": google.authorized_user(),
            }),
            "Bearer impersonated-token-",
        ),
        (
            json!({
                "type": "external_account", "audience": "//iam.googleapis.com/x",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": format!("{url}/sts"),
                "credential_source": {"url": format!("{url}/subject")},
            }),
            "Bearer sts-token-",
        ),
    ];
    let types: Vec<&str> = files.iter().map(|(file, _)| file["type"].as_str().unwrap()).collect();
    assert_eq!(types, CREDENTIAL_TYPES);
    for (file, token) in &files {
        let name = file["type"].as_str().unwrap();
        let world = with_file(world(&google).await, name, &file.to_string());
        let response = app(&world).await.push(&table("podcasts")).await;
        assert_eq!(response.result(), (204, "loaded"), "{name}: {}", response.detail());
        assert!(
            tokens_received(&world)[0].starts_with(token),
            "{name}: {:?}",
            tokens_received(&world)
        );
    }
    let page = read("docs/google-credentials.md");
    assert!(CREDENTIAL_TYPES.iter().all(|name| page.contains(&format!("`{name}`"))));
}

#[tokio::test]
async fn an_error_of_a_credentials_file_does_not_quote_it() {
    let google = Google::start().await;
    let key = private_key();
    let hush = key.lines().nth(3).unwrap();
    for (name, content, says) in [
        ("gdch", json!({"type": "gdch_service_account", "private_key": key}).to_string(), vec!["unknown type \"gdch_service_account\"", "supported types: authorized_user, service_account"]),
        ("workforce", json!({"type": "external_account_authorized_user"}).to_string(), vec!["unknown type \"external_account_authorized_user\""]),
        ("client", json!({"installed": {"client_secret": "the-google-secret"}}).to_string(), vec!["OAuth client"]),
        ("key", json!({"type": "service_account", "client_email": "a@b", "project_id": "p1", "private_key_id": "k", "private_key": key.replace("MII", "XII")}).to_string(), vec!["credentials-key.json"]),
        ("number", json!({"type": "authorized_user", "client_id": "x", "client_secret": "y", "refresh_token": 73_571_113}).to_string(), vec!["credentials-number.json"]),
        ("half", key.clone(), vec!["is not JSON", "line 1"]),
        ("empty", String::new(), vec!["is not JSON"]),
    ] {
        let world = with_file(world(&google).await, name, &content);
        let response = app(&world).await.push(&table("podcasts")).await;
        assert_eq!(response.result(), (503, "retry google_credentials"), "{name}");
        let detail = response.detail();
        assert!(says.iter().all(|words| detail.contains(words)), "{name}: {detail}");
        assert!(!detail.contains(hush) && !detail.contains("73571113"), "{detail}");
        assert!(!detail.contains("the-google-secret"), "{detail}");
    }
    let world = world(&google).await.set("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json");
    let response = app(&world).await.push(&table("podcasts")).await;
    assert!(response.detail().contains("No such file"), "{}", response.detail());
    assert!(response.detail().contains("GOOGLE_APPLICATION_CREDENTIALS"), "{}", response.detail());
    // None of these falls back to another account.
    assert!(google.stub.calls().is_empty());
}

/// Runs `check` and returns its output and errors.
async fn run_check(world: &World) -> (String, String) {
    let output = command(&["check"], &world.settings).output().await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (out, err)
}

#[tokio::test]
async fn the_project_lookup_is_retried_validated_and_ignores_proxies() {
    let google = Google::start().await;
    let (_, port) = google.host().rsplit_once(':').unwrap();
    // Only `localhost` would be called through the proxy, which does not exist.
    let world = world(&google)
        .await
        .set("GOOGLE_CLOUD_PROJECT", "")
        .set("GCE_METADATA_HOST", &format!("localhost:{port}"))
        .set("HTTP_PROXY", "http://127.0.0.1:9")
        .set("http_proxy", "http://127.0.0.1:9")
        .set("NO_PROXY", "127.0.0.1");
    let mut answers = vec![answer(200, "<html>"), answer(500, ""), answer(404, "no")].into_iter();
    google.stub.on(move |_| answers.next().unwrap_or(Act::Pass));
    let (said, error) = run_check(&world).await;
    assert!(said.contains("dataset p1.spotify_podcasts"), "{said}{error}");
    assert_eq!((error.as_str(), google.stub.calls().len()), ("", 4));

    google.stub.always("/project-id", || answer(404, "project unknown"));
    let (said, error) = run_check(&world).await;
    assert!(
        error.contains("GOOGLE_CLOUD_PROJECT is not set, and the metadata server"),
        "{said}{error}"
    );
    assert!(error.contains("404 Not Found project unknown"), "{error}");
}

#[tokio::test]
async fn empty_variables_count_as_unset() {
    let google = Google::start().await;
    for home in ["", "/no/such/home"] {
        let world = world(&google).await.set("HOME", home);
        let response = app(&world).await.push(&table("podcasts")).await;
        assert_eq!(response.result(), (204, "loaded"), "{}", response.detail());
        assert!(tokens_received(&world)[0].starts_with("Bearer metadata-token-"));
    }
    // gcloud's file takes precedence over the metadata server.
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("home");
    let folder = home.join(".config/gcloud");
    std::fs::create_dir_all(&folder).unwrap();
    let file: Value = google.authorized_user();
    std::fs::write(folder.join("application_default_credentials.json"), file.to_string()).unwrap();
    let world = world(&google).await.set("HOME", home.to_str().unwrap());
    assert_eq!(app(&world).await.push(&table("podcasts")).await.result(), (204, "loaded"));
    assert!(tokens_received(&world)[0].starts_with("Bearer user-token-"));
}
