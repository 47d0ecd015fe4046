//! The Spotify client: credentials, addresses, market and limits.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::Purpose;
use super::reader::Reader;

/// The settings of the Spotify client.
#[derive(Clone, Debug)]
pub struct Spotify {
    /// Where the client ID and secret come from. `serve` and `check` need them.
    pub credentials: Option<Credentials>,
    /// The base URL of the Web API.
    pub api_url: Url,
    /// The base URL of the token endpoint.
    pub accounts_url: Url,
    /// The market whose catalog is read (ISO 3166-1 alpha-2).
    pub market: String,
    /// Items per search page: at most 10 in Development Mode, 50 in Extended Quota Mode.
    pub search_page_size: u32,
    /// The maximum number of calls at once, for all messages together.
    pub max_concurrent_calls: usize,
}

/// Where the client ID and secret come from.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A file, which is read again for each token, so that a new secret takes effect.
    File(PathBuf),
    /// The JSON itself.
    Json(SecretString),
}

pub(super) fn read(reader: &mut Reader<'_>, purpose: Purpose) -> Spotify {
    Spotify {
        credentials: read_credentials(reader, purpose),
        api_url: reader.url("SPOTIFY_API_URL"),
        accounts_url: reader.url("SPOTIFY_ACCOUNTS_URL"),
        market: reader.parsed("SPOTIFY_MARKET", |market| {
            let is_valid =
                market.len() == 2 && market.bytes().all(|byte| byte.is_ascii_uppercase());
            is_valid
                .then(|| market.to_owned())
                .ok_or("must be two capital letters, such as BR".to_owned())
        }),
        search_page_size: reader.number("SPOTIFY_SEARCH_PAGE_SIZE", 1..=50) as u32,
        max_concurrent_calls: reader.number("SPOTIFY_CONCURRENT_CALLS", 1..=50) as usize,
    }
}

fn read_credentials(reader: &mut Reader<'_>, purpose: Purpose) -> Option<Credentials> {
    let file = reader.optional("SPOTIFY_CREDENTIALS_FILE");
    let json = reader.optional("SPOTIFY_CREDENTIALS").map(SecretString::from);
    // Rejects the secret itself, because errors show the path.
    if file.as_ref().is_some_and(|file| file.starts_with('{')) {
        reader.problem(
            "SPOTIFY_CREDENTIALS_FILE",
            "contains JSON instead of a path: set it to the path of a file with that JSON, or set \
             SPOTIFY_CREDENTIALS to the JSON",
        );
    }
    if purpose == Purpose::Serve && file.is_none() && json.is_none() {
        reader.problem(
            "SPOTIFY_CREDENTIALS_FILE",
            "is not set, and neither is SPOTIFY_CREDENTIALS: create an app at developer.spotify.com \
             and set one of them to {\"client_id\":\"…\",\"client_secret\":\"…\"}",
        );
    }
    file.map(|file| Credentials::File(file.into())).or(json.map(Credentials::Json))
}
