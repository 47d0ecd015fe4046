//! Clients that are slow, that announce more than they send, or that do not speak HTTP.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::binary::Binary;
use crate::support::spotify::Spotify;
use crate::support::{App, World, client, table};

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap().trim_end_matches('/')).await.unwrap()
}

/// Returns all that the service answers to these bytes until it closes the connection.
async fn talk(url: &str, bytes: &[u8]) -> String {
    let mut stream = connect(url).await;
    // The service may close before it has read everything, and a reset may then discard its answer.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<u16> {
    let status = |part: &str| part.get(..3).and_then(|status| status.parse().ok());
    answer.split("HTTP/1.1 ").skip(1).filter_map(status).collect()
}

async fn impatient_app() -> (World, App) {
    let world = World::new(Spotify::showing(1, 1).await).await;
    let mut config = world.config();
    config.timing.request_head_timeout = Duration::from_millis(200);
    config.timing.request_body_timeout = Duration::from_millis(200);
    let app = App::start(config).await;
    (world, app)
}

#[tokio::test]
async fn a_head_or_body_that_does_not_end_times_out() {
    let (_world, app) = impatient_app().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\n";
    assert_eq!(statuses(&talk(&app.url, b"").await), [0_u16; 0]);
    assert_ne!(statuses(&talk(&app.url, head.as_bytes()).await), [200]);
    for body in ["content-length: 1000\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let answer = talk(&app.url, format!("{head}{body}").as_bytes()).await;
        assert_eq!(statuses(&answer), [408], "{body:?}: {answer}");
    }
    // Sending a byte now and then does not extend the timeout.
    let mut stream = connect(&app.url).await;
    stream.write_all(format!("{head}content-length: 100000\r\n\r\n").as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let drip = tokio::spawn(async move {
        while to.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = [0; 12];
    from.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drip.abort();
}

#[tokio::test]
async fn nonsense_is_refused_and_the_next_push_is_handled() {
    let (_world, app) = impatient_app().await;
    let post = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let many = |n: usize| (0..n).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long_chunks = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(17);
    for (what, request, expected) in [
        ("200 headers", format!("{post}{}\r\n", many(200)), 431),
        ("a head of 300 kB", format!("{post}x: {}\r\n\r\n", "y".repeat(300_000)), 431),
        ("a body of 9 EB", format!("{post}content-length: {}\r\n\r\n", i64::MAX), 413),
        ("one byte too much", format!("{post}content-length: 1048577\r\n\r\n"), 413),
        ("a length that is no number", format!("{post}content-length: 1e9\r\n\r\n"), 400),
        ("a length below zero", format!("{post}content-length: -1\r\n\r\n"), 400),
        ("a length of 30 digits", format!("{post}content-length: {}\r\n\r\n", "9".repeat(30)), 400),
        ("two lengths", format!("{post}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"), 400),
        (
            "chunks over 1 MiB",
            format!("{post}transfer-encoding: chunked\r\n\r\n{long_chunks}"),
            413,
        ),
        ("chunks of no size", format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n"), 400),
        ("an unknown coding", format!("{post}transfer-encoding: magic\r\n\r\n"), 400),
        ("an expectation and no body", format!("{post}expect: 100-continue\r\n\r\n"), 400),
        ("a header with a NUL", format!("{post}x: a\0b\r\n\r\n"), 400),
        ("a header without a name", format!("{post}: y\r\n\r\n"), 400),
        ("a folded header", format!("{post}x: a\r\n b\r\n\r\n"), 400),
        ("a version of its own", "POST / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(), 400),
        ("another method", post.replace("POST", "DELETE") + "\r\n", 405),
        ("a method of its own", post.replace("POST", "PWN") + "\r\n", 405),
        ("another path", post.replace(" / ", " /../../etc/passwd ") + "\r\n", 404),
        ("a path in full", post.replace(" / ", " http://169.254.169.254/x ") + "\r\n", 404),
    ] {
        let answer = talk(&app.url, request.as_bytes()).await;
        assert_eq!(statuses(&answer).first(), Some(&expected), "{what}: {answer}");
    }
    // HTTP/2 without negotiation closes the connection.
    assert_eq!(talk(&app.url, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
    assert_eq!(app.push(&table("podcasts")).await.status, 204);
}

#[tokio::test]
async fn garbage_after_a_request_is_not_a_second_request() {
    let (_world, app) = impatient_app().await;
    let good = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = talk(&app.url, format!("{good}{good}\0\0garbage\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 200, 400], "{answer}");
    // An unread body must not be parsed as the next request.
    let smuggled = format!("POST /no HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\n\r\n{good}");
    assert_eq!(statuses(&talk(&app.url, smuggled.as_bytes()).await), [404]);
}

#[tokio::test]
async fn a_compressed_body_is_not_decompressed() {
    let (_world, app) = impatient_app().await;
    let envelope = table("podcasts").envelope().to_string();
    let bomb = super::upstreams::gzip(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    for body in [super::upstreams::gzip(envelope.as_bytes()), bomb] {
        let answer = app.post_with(&[("content-encoding", "gzip")], body).await.unwrap();
        assert_eq!((answer.status, answer.body["reason"].as_str()), (400, Some("no_envelope")));
    }
}

/// Half of them send an unfinished head, half a body without its last byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_slow_connections_neither_block_a_push_nor_fill_the_memory() {
    let world = World::new(Spotify::showing(1, 1).await).await;
    let binary = Binary::start(&world.settings).await;
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(50_000));
    let body = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}",
        1 << 20,
        " ".repeat((1 << 20) - 1)
    );
    let bodies = (0..250).map(|_| connect(&binary.url));
    let mut slow: Vec<TcpStream> = join_all(bodies).await;
    let body: &'static str = body.leak();
    let writers: Vec<_> = slow
        .drain(..)
        .map(|mut stream| {
            tokio::spawn(async move {
                // If the service stops reading, this returns when the connection is closed.
                let _ = stream.write_all(body.as_bytes()).await;
                let _ = stream.read_u8().await;
            })
        })
        .collect();
    let mut heads = join_all((0..250).map(|_| connect(&binary.url))).await;
    for stream in &mut heads {
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    let push = table("podcasts").envelope().to_string();
    let answer = client().post(&binary.url).body(push).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    for writer in writers {
        writer.await.unwrap();
    }
    let peak = binary.peak_mib();
    assert!(peak < 256, "{peak} MiB");
    drop(heads);
}
