//! Google's credentials, for BigQuery and Pub/Sub: tokens of the application default credentials, or
//! none for an emulator. google-cloud-auth makes the tokens of credentials files; which file counts
//! and the tokens of the metadata server are decided here, since the library takes an empty variable
//! for a path and calls the metadata server through a proxy.

mod file;
mod metadata;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use google_cloud_auth::credentials::AccessTokenCredentials;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::config::{self, Config};
use crate::failure::Failure;
use crate::http;
use crate::retry::{self, Backoff};
pub use file::TYPES;
use metadata::{Metadata, Token};

/// What BigQuery and Pub/Sub ask for; IAM says what it may be used for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The time for a token with all attempts. Google's libraries set themselves no limit.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

/// A token endpoint or metadata server that fails for a moment is asked again. No setting: neither
/// counts calls.
const BACKOFF: Backoff = Backoff {
    base_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(2),
    attempts: 5,
    max_retry_after: Duration::ZERO,
};

/// How much of an error is repeated.
const MAX_ERROR: usize = 800;

/// Where tokens for Google's services come from.
#[derive(Debug)]
pub enum GoogleCredentials {
    /// An emulator asks for none.
    None,
    /// Application default credentials, looked for at the first call.
    Default(Box<Source>),
}

/// Application default credentials, found at the first call and again after a permanent failure.
#[derive(Debug)]
pub struct Source {
    config: config::Google,
    metadata: Metadata,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The credentials of a file. The library caches their token and refreshes it in time.
    file: Option<Arc<FileCredentials>>,
    /// The metadata server's token.
    token: Option<Token>,
    /// The token that callers were given last.
    given: Option<SecretString>,
    failed: Option<(Instant, String)>,
}

#[derive(Debug)]
struct FileCredentials {
    credentials: AccessTokenCredentials,
    path: PathBuf,
    secrets: file::Secrets,
}

impl GoogleCredentials {
    /// The application default credentials; no call is made.
    pub fn new(config: &Config) -> Self {
        Self::Default(Box::new(Source {
            metadata: Metadata::new(&config.google.metadata_host),
            config: config.google.clone(),
            state: Mutex::default(),
        }))
    }

    /// A token, or `None` if none is needed.
    pub async fn token(&self) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Default(source) => source.token(None).await.map(Some),
        }
    }

    /// A token to replace `refused`, which a service answered with 401. If another caller has
    /// replaced it meanwhile, that token is returned. A service that refuses this one too must not be
    /// asked again.
    pub async fn token_other_than(
        &self,
        refused: &SecretString,
    ) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Default(source) => source.token(Some(refused)).await.map(Some),
        }
    }
}

impl Source {
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, Failure> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        // Callers that waited for a failed attempt share its failure.
        if let Some((at, why)) = &state.failed
            && *at >= asked
        {
            return Err(Failure::GoogleCredentials(why.clone()));
        }
        let is_given = |refused: &SecretString| {
            let given = state.given.as_ref().map(ExposeSecret::expose_secret);
            given == Some(refused.expose_secret())
        };
        if refused.is_some_and(is_given) {
            (state.file, state.token) = (None, None);
        }
        match self.current(&mut state).await {
            Ok(token) => {
                state.given = Some(token.clone());
                Ok(token)
            }
            Err(why) => {
                state.failed = Some((Instant::now(), why.clone()));
                Err(Failure::GoogleCredentials(why))
            }
        }
    }

    async fn current(&self, state: &mut State) -> Result<SecretString, String> {
        let deadline = Instant::now() + TOKEN_TIMEOUT;
        if state.file.is_none() {
            if let Some(token) = state.token.as_ref().filter(|token| token.is_fresh()) {
                return Ok(token.secret.clone());
            }
            match file::find(&self.config)? {
                Some(found) => state.file = Some(Arc::new(found.build()?)),
                None => return self.metadata_token(state, deadline).await,
            }
        }
        self.file_token(state, deadline).await
    }

    async fn metadata_token(
        &self,
        state: &mut State,
        deadline: Instant,
    ) -> Result<SecretString, String> {
        match self.metadata.token(deadline).await {
            Ok(token) => Ok(state.token.insert(token).secret.clone()),
            Err(why) => match &mut state.token {
                // It is refreshed minutes before it expires.
                Some(token) if token.is_valid() => {
                    token.refresh_later();
                    Ok(token.secret.clone())
                }
                _ => Err(format!(
                    "{why} (no credentials file is used: GOOGLE_APPLICATION_CREDENTIALS is not set, and gcloud has written none)"
                )),
            },
        }
    }

    async fn file_token(
        &self,
        state: &mut State,
        deadline: Instant,
    ) -> Result<SecretString, String> {
        let attempts = retry::run(&BACKOFF, |attempt| {
            if attempt > 1 {
                // The library repeats a failure for 10 s; new credentials ask again.
                state.file = None;
            }
            let file = self.file(state);
            async move {
                let file = file?;
                let error = match file.credentials.access_token().await {
                    Ok(token) => return Ok(SecretString::from(token.token)),
                    Err(error) => error,
                };
                let why = file.secrets.removed_from(&http::root_first(&error));
                let why = file::in_file(&why, &file.path);
                // A first failure may pass, too, if the library calls it permanent.
                Err(retry::Error::transient_if(error.is_transient() || attempt == 1, why))
            }
        });
        let token = timeout_at(deadline, attempts).await;
        let token =
            token.unwrap_or_else(|_| Err(format!("no token within {} s", TOKEN_TIMEOUT.as_secs())));
        if token.is_err() {
            state.file = None;
        }
        token
    }

    fn file(&self, state: &mut State) -> Result<Arc<FileCredentials>, String> {
        let file = match &state.file {
            Some(file) => file,
            None => match file::find(&self.config)? {
                Some(found) => state.file.insert(Arc::new(found.build()?)),
                None => return Err("the credentials file has vanished".to_owned()),
            },
        };
        Ok(Arc::clone(file))
    }
}

/// The project that the metadata server names.
pub async fn project_from_metadata(host: &str) -> Result<String, String> {
    Metadata::new(host).project(Instant::now() + TOKEN_TIMEOUT).await
}
