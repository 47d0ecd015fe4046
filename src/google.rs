//! Tokens for BigQuery and Pub/Sub, from application default credentials. google-cloud-auth handles
//! credentials files. Finding the file and calling the metadata server are done here, because the
//! library takes an empty variable for a path and calls the metadata server through a proxy.

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
pub use file::CREDENTIAL_TYPES;
use metadata::{Metadata, Token};

/// The scope of all Google Cloud services. IAM limits what the token may do.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The time to get a token, for all attempts together. Google's libraries have no limit.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

/// A token endpoint or metadata server that fails for a moment is asked again. No setting: neither
/// counts calls.
const BACKOFF: Backoff = Backoff {
    base_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(2),
    attempts: 5,
    max_retry_after: Duration::ZERO,
};

/// The longest error text of the library that is repeated.
const MAX_ERROR_BYTES: usize = 800;

#[derive(Debug)]
pub enum GoogleCredentials {
    /// For an emulator.
    None,
    /// Application default credentials.
    Default(Box<DefaultCredentials>),
}

/// Application default credentials. They are searched for at the first call, and again after a failure.
#[derive(Debug)]
pub struct DefaultCredentials {
    config: config::Google,
    metadata: Metadata,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The credentials from a file. The library caches and refreshes their token.
    file: Option<Arc<FileCredentials>>,
    /// The metadata server's token.
    token: Option<Token>,
    /// The last token that was returned.
    last_token: Option<SecretString>,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, String)>,
}

#[derive(Debug)]
struct FileCredentials {
    credentials: AccessTokenCredentials,
    path: PathBuf,
    secrets: file::Secrets,
}

impl GoogleCredentials {
    /// Returns application default credentials. Makes no call yet.
    pub fn new(config: &Config) -> Self {
        Self::Default(Box::new(DefaultCredentials {
            metadata: Metadata::new(&config.google.metadata_host),
            config: config.google.clone(),
            state: Mutex::default(),
        }))
    }

    /// Returns a token, or `None` if none is needed.
    pub async fn token(&self) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Default(credentials) => credentials.token(None).await.map(Some),
        }
    }

    /// Returns a token to replace one that a service refused with 401. Callers that were refused the
    /// same token get the same new one. If that is refused too, the caller must not ask again.
    pub async fn token_other_than(
        &self,
        refused: &SecretString,
    ) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Default(credentials) => credentials.token(Some(refused)).await.map(Some),
        }
    }
}

impl DefaultCredentials {
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, Failure> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        // Callers that waited during a failed attempt share its failure.
        if let Some((at, why)) = &state.failed
            && *at >= asked
        {
            return Err(Failure::GoogleCredentials(why.clone()));
        }
        let is_last = |refused: &SecretString| {
            let last = state.last_token.as_ref().map(ExposeSecret::expose_secret);
            last == Some(refused.expose_secret())
        };
        if refused.is_some_and(is_last) {
            (state.file, state.token) = (None, None);
        }
        match self.current(&mut state).await {
            Ok(token) => {
                state.last_token = Some(token.clone());
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
                // The old token is still valid for some minutes.
                Some(token) if token.is_valid() => {
                    token.refresh_later();
                    Ok(token.secret.clone())
                }
                _ => Err(format!(
                    "{why} (there is no credentials file: GOOGLE_APPLICATION_CREDENTIALS is not set, and gcloud has not written one)"
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
                let why = file.secrets.removed_from(&http::root_cause_first(&error));
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

/// Asks the metadata server for the project's id.
pub async fn project_from_metadata(host: &str) -> Result<String, String> {
    Metadata::new(host).project(Instant::now() + TOKEN_TIMEOUT).await
}
