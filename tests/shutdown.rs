//! SIGTERM: messages in flight complete if they can, the others are answered 503, and no new one starts.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::binary::Binary;
use crate::support::spotify::{Spotify, episode_rows};
use crate::support::wire::Act;
use crate::support::{App, EPISODES, World, client, table, until};

/// A service with a message in flight whose episodes are held until the token is cancelled.
async fn in_flight(drain: Duration) -> (World, App, CancellationToken) {
    let world = World::new(Spotify::showing(3, 120).await).await;
    let mut config = world.config();
    config.timing.drain_timeout = drain;
    let app = App::start(config).await;
    let held = world.spotify.stub.hold("/episodes");
    (world, app, held)
}

async fn until_in_progress(world: &World) {
    until(|| !world.spotify.stub.calls_to("GET", "/episodes").is_empty()).await;
}

#[tokio::test]
async fn a_message_in_flight_completes_if_it_can() {
    let (world, app, held) = in_flight(Duration::from_secs(60)).await;
    let push = table("episodes");
    let stop = async {
        until_in_progress(&world).await;
        app.terminate();
        app.service.draining.cancelled().await;
        held.cancel();
    };
    let (response, ()) = futures_util::future::join(app.push(&push), stop).await;
    assert_eq!(response.result(), (204, "loaded"));
    assert_eq!(world.bigquery.rows(EPISODES), episode_rows(world.spotify.episodes()));
    app.server.await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_is_answered_503_and_loaded_by_the_next_process() {
    let (world, app, held) = in_flight(Duration::from_millis(50)).await;
    let push = table("episodes");
    let stop = async {
        until_in_progress(&world).await;
        app.terminate();
    };
    let (response, ()) = futures_util::future::join(app.push(&push), stop).await;
    assert_eq!(response.result(), (503, "retry shutting_down"));
    app.server.await.unwrap();
    held.cancel();
    assert_eq!(world.app().await.push(&push.again(2)).await.result(), (204, "loaded"));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 1);
}

#[tokio::test]
async fn a_message_that_arrives_after_the_signal_is_answered_503() {
    let (world, app, held) = in_flight(Duration::from_secs(60)).await;
    let address = app.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    // The signal comes before the body of this push.
    let mut late = TcpStream::connect(&address).await.unwrap();
    let body = table("podcasts").envelope().to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    late.write_all(head.as_bytes()).await.unwrap();
    // "100 Continue" says that the handler waits for the body.
    let mut read = [0; 25];
    late.read_exact(&mut read).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 100"));

    app.terminate();
    app.service.draining.cancelled().await;
    assert!(TcpStream::connect(&address).await.is_err(), "no new connection is accepted");
    late.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry shutting_down"), "{answer}");
    held.cancel();
    app.server.await.unwrap();
    assert!(world.spotify.stub.calls().is_empty());
}

async fn start_binary(world: &World) -> Binary {
    let mut settings = world.settings.clone();
    settings.insert("LOG_FORMAT".to_owned(), "json".to_owned());
    Binary::start(&settings).await
}

#[tokio::test]
async fn a_second_signal_ends_the_process_immediately() {
    for signal in ["-INT", "-TERM"] {
        let world = World::new(Spotify::showing(3, 5).await).await;
        world.spotify.stub.always("/v1/", || Act::Hang);
        let binary = start_binary(&world).await;
        let body = table("podcasts").envelope().to_string();
        let push = tokio::spawn(client().post(&binary.url).body(body).send());
        until(|| !world.spotify.api_calls().is_empty()).await;
        binary.signal("-INT");
        // Wait until the listener is closed.
        while client().get(format!("{}health", binary.url)).send().await.is_ok() {
            tokio::task::yield_now().await;
        }
        binary.signal(signal);
        let (status, _) = binary.wait().await;
        assert_eq!(status.code(), Some(if signal == "-INT" { 130 } else { 143 }));
        assert!(push.await.unwrap().is_err(), "the message is not answered first");
    }
}

#[tokio::test]
async fn the_process_ends_with_exit_code_0() {
    let world = World::new(Spotify::showing(3, 5).await).await;
    let binary = start_binary(&world).await;
    let body = table("podcasts").envelope().to_string();
    assert_eq!(client().post(&binary.url).body(body).send().await.unwrap().status(), 204);
    binary.signal("-TERM");
    let (status, log) = binary.wait().await;
    assert_eq!(status.code(), Some(0), "{log}");
    for event in ["started", "message", "stopped"] {
        assert!(log.contains(&format!("\"event\":\"{event}\"")), "{log}");
    }
}
