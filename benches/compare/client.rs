//! Pushes messages as Pub/Sub does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::try_join_all;
use hyper::StatusCode;
use serde_json::json;

pub const TABLES: [&str; 3] = ["podcasts", "episodes", "mentions"];

pub struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is not one of the service's clients")]
        let http = reqwest::Client::builder()
            .no_proxy()
            // gunicorn closes connections that are idle for two seconds.
            .pool_idle_timeout(Duration::from_secs(1))
            .build();
        Self { http: http.expect("a client"), url: format!("http://{address}/") }
    }

    /// Pushes a new message. Returns how long it took. Fails if it is not acknowledged.
    pub async fn push(&self, table: &str, term: &str) -> Result<Duration, String> {
        let start = Instant::now();
        match self.deliver(table, term, &new_id(), 1).await? {
            (StatusCode::OK | StatusCode::NO_CONTENT, _) => Ok(start.elapsed()),
            (status, body) => Err(format!("{table}: {status} {}", String::from_utf8_lossy(&body))),
        }
    }

    /// Delivers a message. Returns the response.
    pub async fn deliver(
        &self,
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
        let response = self.http.post(&self.url).json(&envelope).send();
        let response = response.await.map_err(|error| format!("{table}: {error:?}"))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| format!("{table}: {error:?}"))?;
        Ok((status, body))
    }

    /// Pushes messages with concurrent senders, each of which waits for the response before its next
    /// message. `message` returns table and term for the number of a sender and of its message. Returns
    /// how long all took.
    pub async fn push_all(
        &self,
        senders: usize,
        messages_each: usize,
        message: impl Fn(usize, usize) -> (&'static str, String),
    ) -> Result<Duration, String> {
        let start = Instant::now();
        let send = async |sender| {
            for n in 0..messages_each {
                let (table, term) = message(sender, n);
                self.push(table, &term).await?;
            }
            Ok::<_, String>(())
        };
        try_join_all((0..senders).map(send)).await?;
        Ok(start.elapsed())
    }
}

/// Returns an ID that is unique in this run.
pub fn new_id() -> String {
    static IDS: AtomicU64 = AtomicU64::new(1);
    IDS.fetch_add(1, Relaxed).to_string()
}
