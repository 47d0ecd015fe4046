//! Timeouts, retries and lifetimes. A setting changes only the deadline; tests shorten the others.

use std::time::Duration;

use crate::retry::Backoff;

#[derive(Clone, Debug)]
pub struct Timing {
    /// The time for one message, from receipt to response. Must be less than the ack deadline of
    /// 600 s, which a push subscription can't extend.
    pub message_deadline: Duration,
    /// The time to receive a request's headers, and how long an idle connection is kept. A proxy in
    /// front reuses idle connections, and a request fails on one that the service has just closed.
    pub request_head_timeout: Duration,
    /// The time to receive a request's body.
    pub request_body_timeout: Duration,
    /// After SIGTERM, messages in flight are answered 503 after this time. Cloud Run kills the
    /// process after 10 s.
    pub drain_timeout: Duration,
    /// The time to connect to any service.
    pub connect_timeout: Duration,
    pub spotify_call_timeout: Duration,
    /// The time for one call to BigQuery or Pub/Sub, except uploads.
    pub google_call_timeout: Duration,
    pub upload_timeout: Duration,
    /// The pause before a load job's state is first polled. Later pauses grow.
    pub first_poll_delay: Duration,
    pub max_poll_delay: Duration,
    /// How long the show that was chosen for a term is reused.
    pub show_ttl: Duration,
    /// How long a reading of a show's episodes is kept for the show's other table.
    pub reading_ttl: Duration,
    /// How long a listing that was incomplete is not read again.
    pub incomplete_ttl: Duration,
    /// How long a denial by BigQuery is remembered. An exceeded quota is remembered twice as long.
    pub denial_ttl: Duration,
    /// How long a list of the token issuer's key IDs is trusted.
    pub key_list_ttl: Duration,
    /// How long before its expiry a Spotify token is refreshed.
    pub token_refresh_margin: Duration,
    /// The retries of one call.
    pub backoff: Backoff,
}

impl Timing {
    pub(super) fn new(message_deadline: Duration) -> Self {
        Self {
            message_deadline,
            request_head_timeout: Duration::from_secs(75),
            request_body_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(8),
            connect_timeout: Duration::from_secs(5),
            spotify_call_timeout: Duration::from_secs(20),
            google_call_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(180),
            first_poll_delay: Duration::from_millis(300),
            max_poll_delay: Duration::from_secs(5),
            show_ttl: Duration::from_secs(600),
            reading_ttl: Duration::from_secs(900),
            incomplete_ttl: Duration::from_secs(300),
            denial_ttl: Duration::from_secs(300),
            key_list_ttl: Duration::from_secs(10),
            token_refresh_margin: Duration::from_secs(60),
            backoff: Backoff {
                base_delay: Duration::from_millis(500),
                max_delay: Duration::from_secs(20),
                attempts: 5,
                max_retry_after: Duration::from_secs(30),
            },
        }
    }
}
