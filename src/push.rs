//! A push by hand: a message posted to a running service in the envelope that Pub/Sub would use.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::Timing;
use crate::http;
use crate::server::OUTCOME;
use crate::text;

/// What a service answered to a push.
#[derive(Debug)]
pub struct PushAnswer {
    /// The HTTP status: 204 acknowledges.
    pub status: u16,
    /// The outcome in the service's words, where it is one of ours.
    pub outcome: String,
    /// Why, and what to do, where it was not done.
    pub detail: String,
}

impl PushAnswer {
    /// Whether Pub/Sub would take the message for done.
    pub fn is_acknowledged(&self) -> bool {
        self.status == 204
    }
}

/// The envelope of a message.
pub fn envelope(data: &[u8], message_id: &str, publish_time: &str) -> Value {
    json!({
        "message": {
            "data": STANDARD.encode(data),
            "messageId": message_id,
            "publishTime": publish_time,
        },
        "subscription": "projects/by-hand/subscriptions/push",
    })
}

/// Posts an envelope and waits for the answer.
pub async fn push(url: &str, envelope: &Value, timing: &Timing) -> Result<PushAnswer, String> {
    let client =
        http::client(timing.connect_timeout, timing.message_deadline + timing.connect_timeout)
            .map_err(|error| http::describe(&error))?;
    let sent = client.post(url).json(envelope).send().await;
    let response = sent.map_err(|error| {
        let why = http::describe(&error);
        format!(
            "{url} did not answer: {why}. Is the service running there, and reachable from here?"
        )
    })?;
    let status = response.status().as_u16();
    let outcome = response.headers().get(OUTCOME).and_then(|value| value.to_str().ok());
    let outcome = outcome.unwrap_or("no answer of spotify-bq").to_owned();
    let body = http::read_body(response, 64 * 1024).await.map_err(|error| error.to_string())?;
    let detail = match serde_json::from_slice::<Value>(&body) {
        Ok(body) if body["detail"].is_string() => {
            let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            format!("{}. What to do: {}", text("detail"), text("advice"))
        }
        // Another server's answer.
        _ => text::excerpt(&String::from_utf8_lossy(&body), text::MAX_EXCERPT_BYTES),
    };
    Ok(PushAnswer { status, outcome, detail })
}
