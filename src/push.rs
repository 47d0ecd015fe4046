//! Pushes a message to a running service, in the envelope that Pub/Sub uses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::Timing;
use crate::envelope::OUTCOME_HEADER;
use crate::http;
use crate::text;

/// The largest response that is read. The service's own have some kilobytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The response to a push.
#[derive(Debug)]
pub struct PushResponse {
    /// The HTTP status. 204 acknowledges the message.
    pub status: u16,
    /// The value of the outcome header, or a text if the server is not spotify-bq.
    pub outcome: String,
    /// If the message failed, why and what to do.
    pub detail: String,
}

impl PushResponse {
    /// Returns whether the response acknowledges the message.
    pub fn is_acknowledged(&self) -> bool {
        self.status == 204
    }
}

/// Returns the envelope of a message.
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

/// Posts an envelope, and waits for the response.
pub async fn push(url: &str, envelope: &Value, timing: &Timing) -> Result<PushResponse, String> {
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
    let outcome = response.headers().get(OUTCOME_HEADER).and_then(|value| value.to_str().ok());
    let outcome = outcome.unwrap_or("not a response from spotify-bq").to_owned();
    let body =
        http::read_body(response, MAX_RESPONSE_BYTES).await.map_err(|error| error.to_string())?;
    let detail = match serde_json::from_slice::<Value>(&body) {
        Ok(body) if body["detail"].is_string() => {
            let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            format!("{}. What to do: {}", text("detail"), text("advice"))
        }
        // A response from another server.
        _ => text::excerpt(&String::from_utf8_lossy(&body), text::MAX_EXCERPT_BYTES),
    };
    Ok(PushResponse { status, outcome, detail })
}
