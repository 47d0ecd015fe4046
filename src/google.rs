//! Tokens for BigQuery and Pub/Sub, from application default credentials. google-cloud-auth handles
//! credentials files. Finding the file and calling the metadata server are done here, because the
//! library takes an empty variable for a path and calls the metadata server through a proxy.

mod file;
mod metadata;

use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::{self, Config};
use crate::failure::Failure;
use crate::retry::{self, Backoff};
use crate::sync;
pub use file::CREDENTIAL_TYPES;
use file::FileCredentials;
use metadata::{Metadata, Token};

/// The scope of all Google Cloud services. IAM limits what the token may do.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The time to get a token, for all attempts together. Google's libraries have no limit.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

/// The retries of a token request. There is no setting for them, because neither the token endpoint nor the
/// metadata server limits the number of calls.
const BACKOFF: Backoff = Backoff {
    base_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(2),
    attempts: 5,
    max_retry_after: Duration::ZERO,
};

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
        self.token_unless(None).await
    }

    /// Returns a token to replace one that a service refused with 401. Callers that were refused the
    /// same token get the same new one. If that is refused too, the caller must not ask again.
    pub async fn token_other_than(
        &self,
        refused: &SecretString,
    ) -> Result<Option<SecretString>, Failure> {
        self.token_unless(Some(refused)).await
    }

    async fn token_unless(
        &self,
        refused: Option<&SecretString>,
    ) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Default(credentials) => credentials.token(refused).await.map(Some),
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
        if state.file.is_none() {
            if let Some(token) = state.token.as_ref().filter(|token| token.is_fresh()) {
                return Ok(token.secret.clone());
            }
            match FileCredentials::load(&self.config, SCOPE)? {
                Some(file) => state.file = Some(Arc::new(file)),
                None => return self.metadata_token(state).await,
            }
        }
        self.file_token(state).await
    }

    async fn metadata_token(&self, state: &mut State) -> Result<SecretString, String> {
        let token = attempts(|_| async {
            self.metadata.token(SCOPE).await.map_err(retry::Error::transient)
        });
        match token.await {
            Ok(token) => Ok(state.token.insert(token).secret.clone()),
            Err(why) => match &mut state.token {
                // The old token is still valid for a few minutes.
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

    async fn file_token(&self, state: &mut State) -> Result<SecretString, String> {
        let token = attempts(|attempt| {
            if attempt > 1 {
                // The library returns the same failure for 10 s, so the next attempt loads the credentials again.
                state.file = None;
            }
            let file = self.file(state);
            async move {
                file?.token().await.map_err(|(why, is_transient)| {
                    // The first failure may be transient even if the library calls it permanent.
                    retry::Error::transient_if(is_transient || attempt == 1, why)
                })
            }
        });
        let token = token.await;
        if token.is_err() {
            state.file = None;
        }
        token
    }

    fn file(&self, state: &mut State) -> Result<Arc<FileCredentials>, String> {
        let file = match &state.file {
            Some(file) => file,
            None => {
                let file = FileCredentials::load(&self.config, SCOPE)?;
                state.file.insert(Arc::new(file.ok_or("the credentials file has vanished")?))
            }
        };
        Ok(Arc::clone(file))
    }
}

/// Asks the metadata server for the project's ID.
pub async fn project_from_metadata(host: &str) -> Result<String, String> {
    let metadata = Metadata::new(host);
    attempts(|_| async { metadata.project().await.map_err(retry::Error::transient) }).await
}

/// Makes attempts within [`TOKEN_TIMEOUT`]. If the time ends first, the error has the last cause.
async fn attempts<T, F: Future<Output = Result<T, retry::Error<String>>>>(
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T, String> {
    let last_cause = StdMutex::new(String::new());
    let run = retry::run(&BACKOFF, |number| {
        let (attempt, last_cause) = (attempt(number), &last_cause);
        async move {
            let result = attempt.await;
            if let Err(retry::Error::Transient { error, .. }) = &result {
                sync::lock(last_cause).clone_from(error);
            }
            result
        }
    });
    timeout(TOKEN_TIMEOUT, run).await.unwrap_or_else(|_| {
        let seconds = TOKEN_TIMEOUT.as_secs();
        match sync::lock(&last_cause).as_str() {
            "" => Err(format!("no token within {seconds} s")),
            last_cause => Err(format!("{last_cause} (gave up after {seconds} s)")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_the_timeout_the_error_names_the_last_cause() {
        let error = attempts(|number| async move {
            if number > 1 {
                std::future::pending::<()>().await;
            }
            Err::<(), _>(retry::Error::transient("503".to_owned()))
        });
        assert_eq!(error.await.unwrap_err(), "503 (gave up after 20 s)");
        let error = attempts(|_| std::future::pending::<Result<(), retry::Error<String>>>());
        assert_eq!(error.await.unwrap_err(), "no token within 20 s");
    }
}
