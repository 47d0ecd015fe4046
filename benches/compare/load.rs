//! The load generator: messages as Pub/Sub pushes them, over connections that are kept.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::world::World;

pub const TABLES: [&str; 3] = ["podcasts", "episodes", "mentions"];

/// Ids are unique in the whole run.
static IDS: AtomicU64 = AtomicU64::new(1);

/// The id of a new message.
pub fn new_id() -> String {
    IDS.fetch_add(1, Relaxed).to_string()
}

/// A sender of pushes.
pub struct Sender {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Sender {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// Pushes a message for one table and waits for the answer, which must be an acknowledgement.
    pub async fn push(&mut self, table: &str, term: &str) -> Result<Duration, String> {
        let start = Instant::now();
        match self.deliver(table, term, &new_id(), 1).await? {
            (StatusCode::OK | StatusCode::NO_CONTENT, _) => Ok(start.elapsed()),
            (other, answer) => {
                Err(format!("{table} was answered {other}: {}", String::from_utf8_lossy(&answer)))
            }
        }
    }

    /// Delivers a message, and waits for the answer.
    pub async fn deliver(
        &mut self,
        table: &str,
        term: &str,
        id: &str,
        attempt: u32,
    ) -> Result<(StatusCode, Bytes), String> {
        let data = json!({"table": table, "search_term": term}).to_string();
        let envelope = json!({
            "message": {"data": STANDARD.encode(data), "messageId": id,
                        "publishTime": "2026-11-24T09:00:00Z"},
            "subscription": "projects/p/subscriptions/s", "deliveryAttempt": attempt,
        });
        let body = Bytes::from(envelope.to_string());
        // A server may close an idle connection just when it is used again.
        match self.send(body.clone()).await {
            Ok(answer) => Ok(answer),
            Err(_) => self.send(body).await,
        }
    }

    async fn send(&mut self, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        let request = Request::post("/")
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let answer = response.into_body().collect().await.map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        Ok((status, answer.to_bytes()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

/// `rounds` times the three tables, one message after the other; the time of each.
pub async fn one_by_one(
    address: SocketAddr,
    rounds: usize,
    episodes: usize,
) -> Result<Vec<Duration>, String> {
    let mut sender = Sender::new(address);
    let mut times = Vec::new();
    for _ in 0..rounds {
        for table in TABLES {
            times.push(sender.push(table, &World::term(episodes, 0)).await?);
        }
    }
    Ok(times)
}

/// `messages` messages, `at_once` of them at a time, each sender with a term of its own so that no
/// table is waited for. Answers how long it took.
pub async fn at_once(
    address: SocketAddr,
    at_once: usize,
    messages: usize,
    episodes: usize,
) -> Result<Duration, String> {
    let start = Instant::now();
    let senders = (0..at_once).map(|n| {
        tokio::spawn(async move {
            let mut sender = Sender::new(address);
            for at in 0..messages / at_once {
                sender.push(TABLES[(at + n) % 3], &World::term(episodes, n)).await?;
            }
            Ok::<_, String>(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.map_err(|error| error.to_string())??;
    }
    Ok(start.elapsed())
}

/// `messages` messages, `at_once` of them at a time, each with a term that was never seen.
pub async fn distinct(
    address: SocketAddr,
    at_once: usize,
    first: usize,
    messages: usize,
    episodes: usize,
) -> Result<(), String> {
    let senders = (0..at_once).map(|n| {
        tokio::spawn(async move {
            let mut sender = Sender::new(address);
            for at in (first + n..first + messages).step_by(at_once) {
                sender.push(TABLES[at % 3], &World::term(episodes, at)).await?;
            }
            Ok::<_, String>(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}
