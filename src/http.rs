//! What all HTTP calls share: clients with timeouts that follow no redirect, one TLS configuration,
//! and answers that are read only up to a bound.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

use crate::config::Config;
use crate::text;

/// How much memory an answer gets by its announcement alone: more than a page of 50 episodes has.
const RESERVED: u64 = 512 * 1024;

/// An HTTP/2 connection with an open request is pinged this often. A connection that died unnoticed is
/// then replaced while the call's other attempts are still ahead; 10 s and the 5 s below are less than
/// any call's timeout, and most calls end before the first ping.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a ping may remain unanswered.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where distributions keep all certificates in one file: Debian, distroless images and Alpine; Red
/// Hat; SUSE; the BSDs and macOS.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Chooses the one TLS provider; to be called before any client is made. Without it reqwest 0.12
/// panics, and rustls does not know which of two to take.
pub fn install_tls_provider() {
    // Fails only where it was installed before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What TLS connections trust: the system's certificates, read once for all clients.
pub(crate) fn tls_config() -> Result<rustls::ClientConfig, ClientError> {
    static TLS: OnceLock<rustls::ClientConfig> = OnceLock::new();
    if let Some(tls) = TLS.get() {
        return Ok(tls.clone());
    }
    let found = certificates();
    let mut roots = rustls::RootCertStore::empty();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(ClientError::NoCertificates(why));
    }
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TLS.get_or_init(|| tls).clone())
}

/// The system's certificates. If there is a bundle, only that is read: the folder of Debian's holds
/// the same ones again in 290 files, which took ten times as long. Besides, the library would take
/// an empty SSL_CERT_FILE for a path.
fn certificates() -> CertificateResult {
    if !Config::sets_certificate_paths() {
        let bundles = BUNDLES.iter().map(|path| load_certs_from_paths(Some(Path::new(path)), None));
        if let Some(bundle) = bundles.into_iter().find(|bundle| !bundle.certs.is_empty()) {
            return bundle;
        }
    }
    load_native_certs()
}

/// The same, where the client does not say itself which versions of HTTP it speaks.
pub(crate) fn tls_config_with_alpn() -> Result<rustls::ClientConfig, ClientError> {
    let mut tls = tls_config()?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS has nothing to trust.
    #[error(
        "no certificate authority is known here {0}: install ca-certificates or set SSL_CERT_FILE"
    )]
    NoCertificates(String),
    /// The library does not make one.
    #[error("{}", describe(.0))]
    Library(#[from] reqwest::Error),
}

/// A client for any service. No redirect is followed: an answer must not send a token elsewhere.
pub(crate) fn client(connect: Duration, call: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(connect, call, PING_INTERVAL, PING_TIMEOUT)?.build()?)
}

/// A client for what is on this machine or beside it, and never behind HTTP_PROXY.
pub(crate) fn client_without_proxy(
    connect: Duration,
    call: Duration,
) -> Result<reqwest::Client, ClientError> {
    Ok(builder(connect, call, PING_INTERVAL, PING_TIMEOUT)?.no_proxy().build()?)
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn builder(
    connect: Duration,
    call: Duration,
    ping_interval: Duration,
    ping_timeout: Duration,
) -> Result<reqwest::ClientBuilder, ClientError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config_with_alpn()?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .timeout(call)
        .http2_keep_alive_interval(ping_interval)
        .http2_keep_alive_timeout(ping_timeout)
        .tcp_nodelay(true)
        .user_agent(concat!("spotify-bq/", env!("CARGO_PKG_VERSION")));
    Ok(builder)
}

/// How long a service asks for a pause: the longest of its `Retry-After` headers that can be read.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = SystemTime::now();
    let values = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|value| crate::retry::retry_after(value, now)).max()
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
pub(crate) async fn read_body(
    mut response: reqwest::Response,
    most: usize,
) -> Result<Bytes, BodyError> {
    let announced = response.content_length();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(BodyError::TooLong(most));
        }
        if body.is_empty() {
            if announced == Some(chunk.len() as u64) {
                return Ok(chunk);
            }
            // One piece of memory rather than ever larger ones; but an announcement is a claim.
            body.reserve(announced.unwrap_or(0).min(RESERVED) as usize);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// An error with its causes, the root first, without addresses and complete: what an operator needs
/// most is the innermost cause.
pub(crate) fn root_cause_first(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.split(" for url (").next().unwrap_or_default();
        // Many errors repeat their cause at the end.
        for outer in &mut texts {
            if let Some(start) = outer.strip_suffix(text) {
                *outer = start.trim_end_matches([' ', ':']).to_owned();
            }
        }
        texts.push(text.to_owned());
        next = error.source();
    }
    texts.retain(|text| !text.is_empty());
    texts.reverse();
    texts.join(": ")
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
    text::excerpt(&texts.join(": "), text::MAX_EXCERPT_BYTES)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_dead_connection_is_replaced() {
        install_tls_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut connections = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The head of HTTP/2 and empty settings, then silence.
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).await.unwrap();
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                connections.push(stream);
                if connections.len() == 2 {
                    return;
                }
            }
        });
        let (call, ping) = (Duration::from_secs(30), Duration::from_millis(20));
        let client = builder(call, call, ping, ping).unwrap().http2_prior_knowledge();
        let client = client.build().unwrap();
        let error = client.get(&url).send().await.unwrap_err();
        assert!(describe(&error).contains("keep-alive timed out"), "{}", describe(&error));
        assert!(client.get(&url).send().await.is_err());
        server.await.unwrap();
    }

    #[test]
    fn of_several_headers_the_longest_counts() {
        let mut headers = HeaderMap::new();
        for (value, seconds) in [("0", None), ("3", Some(3)), ("soon", Some(3)), ("2", Some(3))] {
            headers.append(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
