//! What all HTTP calls share: clients with timeouts and without redirects, one TLS configuration, and
//! bodies of limited size.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

use crate::config::Config;
use crate::text;

/// The most memory that is reserved because of a Content-Length alone. A page of 50 episodes has less.
const MAX_RESERVED_BYTES: u64 = 512 * 1024;

/// How often an HTTP/2 connection with an open request is pinged. Together with the timeout below this
/// is less than any call's timeout, so a dead connection is replaced before the next attempt.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The files with all certificates: on Debian, Alpine and in distroless images; Red Hat; SUSE; the BSDs
/// and macOS.
const CERTIFICATE_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Installs the TLS provider. Call it before creating a client: without it, reqwest 0.12 panics, and
/// rustls can't choose between the providers that are compiled in.
pub fn install_tls_provider() {
    // Fails only if it is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Returns the TLS configuration, which trusts the system's certificates. They are read once.
pub(crate) fn tls_config() -> Result<rustls::ClientConfig, ClientError> {
    static TLS: OnceLock<rustls::ClientConfig> = OnceLock::new();
    if let Some(tls) = TLS.get() {
        return Ok(tls.clone());
    }
    let found = certificates();
    let mut roots = rustls::RootCertStore::empty();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        let why = found.errors.first().map_or("none is installed".to_owned(), ToString::to_string);
        return Err(ClientError::NoCertificates(why));
    }
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TLS.get_or_init(|| tls).clone())
}

/// Reads the system's certificates. If there is a bundle, only that file is read: Debian's directory
/// has the same certificates again in 290 files, which takes ten times as long. This also ignores an
/// empty SSL_CERT_FILE, which the library takes for a path.
fn certificates() -> CertificateResult {
    if !Config::sets_certificate_paths() {
        let bundles = CERTIFICATE_BUNDLES
            .iter()
            .map(|path| load_certs_from_paths(Some(Path::new(path)), None));
        if let Some(bundle) = bundles.into_iter().find(|bundle| !bundle.certs.is_empty()) {
            return bundle;
        }
    }
    load_native_certs()
}

/// Returns the TLS configuration for clients that leave the negotiation of HTTP/2 to it.
pub(crate) fn tls_config_with_alpn() -> Result<rustls::ClientConfig, ClientError> {
    let mut tls = tls_config()?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Why a client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no trusted certificates were found ({0}): install ca-certificates or set SSL_CERT_FILE"
    )]
    NoCertificates(String),
    #[error("{}", describe(.0))]
    Library(#[from] reqwest::Error),
}

/// Creates a client. It follows no redirects, because a response must not send a token elsewhere.
pub(crate) fn client(connect: Duration, call: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(connect, call)?.build()?)
}

/// Creates a client for the local network, which ignores HTTP_PROXY.
pub(crate) fn client_without_proxy(
    connect: Duration,
    call: Duration,
) -> Result<reqwest::Client, ClientError> {
    Ok(builder(connect, call)?.no_proxy().build()?)
}

#[expect(clippy::disallowed_methods, reason = "the only place that creates clients")]
fn builder(connect: Duration, call: Duration) -> Result<reqwest::ClientBuilder, ClientError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config_with_alpn()?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .timeout(call)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(concat!("spotify-bq/", env!("CARGO_PKG_VERSION")));
    Ok(builder)
}

/// Returns the pause that a response asks for: the longest of its valid `Retry-After` headers.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = SystemTime::now();
    let values = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|value| crate::retry::retry_after(value, now)).max()
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the response is longer than {0} bytes")]
    TooLong(usize),
    #[error("{}", describe(.0))]
    Interrupted(#[from] reqwest::Error),
}

/// Reads a body of at most `max_bytes`, counted after decompression.
pub(crate) async fn read_body(
    mut response: reqwest::Response,
    max_bytes: usize,
) -> Result<Bytes, BodyError> {
    let length = response.content_length();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Err(BodyError::TooLong(max_bytes));
        }
        if body.is_empty() {
            if length == Some(chunk.len() as u64) {
                return Ok(chunk);
            }
            // One allocation instead of several growing ones. The header may be wrong.
            body.reserve(length.unwrap_or(0).min(MAX_RESERVED_BYTES) as usize);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Describes an error and its causes in full, without URLs. The root cause comes first, because an
/// operator needs it most.
pub(crate) fn root_cause_first(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in texts_without_urls(error) {
        // Many errors end with the text of their cause.
        for outer in &mut texts {
            if let Some(start) = outer.strip_suffix(&text) {
                *outer = start.trim_end_matches([' ', ':']).to_owned();
            }
        }
        texts.push(text);
    }
    texts.retain(|text| !text.is_empty());
    texts.reverse();
    texts.join(": ")
}

/// Describes an error and its causes as a short line, without URLs, which contain search terms.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in texts_without_urls(error) {
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    text::excerpt(&texts.join(": "), text::MAX_EXCERPT_BYTES)
}

/// Returns the texts of an error and its causes, without reqwest's URLs.
fn texts_without_urls<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| error.source()).map(|error| {
        let text = error.to_string();
        text.split(" for url (").next().unwrap_or_default().to_owned()
    })
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
                // Reads the client's preface, sends empty settings, and then nothing.
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
        let client = builder(call, call).unwrap().http2_prior_knowledge();
        let client = client.http2_keep_alive_interval(ping).http2_keep_alive_timeout(ping);
        let client = client.build().unwrap();
        let error = client.get(&url).send().await.unwrap_err();
        assert!(describe(&error).contains("keep-alive timed out"), "{}", describe(&error));
        assert!(client.get(&url).send().await.is_err());
        server.await.unwrap();
    }

    #[test]
    fn the_longest_retry_after_counts() {
        let mut headers = HeaderMap::new();
        for (value, seconds) in [("0", None), ("3", Some(3)), ("soon", Some(3)), ("2", Some(3))] {
            headers.append(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
