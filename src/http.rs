//! What all HTTP calls share: clients with timeouts that follow no redirect, and answers that are
//! read only up to a bound.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::text;

/// How much of another service's error text is repeated in ours, in bytes.
pub(crate) const EXCERPT: usize = 300;

/// Chooses the one TLS provider; to be called before any client is made. Without it reqwest 0.12
/// panics, and rustls does not know which of two to take.
pub fn install_tls_provider() {
    // Fails only where it was installed before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for any service. No redirect is followed: an answer must not send a token elsewhere.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn client(connect: Duration, call: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .timeout(call)
        .tcp_nodelay(true)
        .user_agent(concat!("spotify-bq/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("{}", describe(.0))]
    Cut(#[from] reqwest::Error),
}

/// A body of at most `most` bytes, counted after decompression.
pub(crate) async fn read(mut response: reqwest::Response, most: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(BodyError::TooLong(most));
        }
        if body.is_empty() && response.content_length() == Some(chunk.len() as u64) {
            return Ok(chunk);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// An error with its causes, without the address: that has the message's words in it.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.split(" for url (").next().unwrap_or_default().to_owned();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    text::excerpt(&texts.join(": "), EXCERPT)
}
