//! Google's credentials, for BigQuery and Pub/Sub alike: an emulator wants none, all others want a
//! token of the application default credentials.

use std::time::Duration;

use google_cloud_auth::credentials::{AccessTokenCredentials, Builder};
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::http;

/// What BigQuery and Pub/Sub ask for; IAM says what it may be used for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Google's libraries set themselves no limit.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Where tokens for Google's services come from.
#[derive(Debug)]
pub enum GoogleCredentials {
    /// An emulator asks for none.
    None,
    /// Application default credentials, looked for at the first call.
    Default(Mutex<Option<AccessTokenCredentials>>),
}

impl Default for GoogleCredentials {
    fn default() -> Self {
        Self::Default(Mutex::default())
    }
}

impl GoogleCredentials {
    /// A token, where one is wanted. The library keeps it and renews it in time.
    pub async fn token(&self) -> Result<Option<SecretString>, Failure> {
        let Self::Default(slot) = self else { return Ok(None) };
        let credentials = {
            let mut slot = slot.lock().await;
            match &*slot {
                Some(credentials) => credentials.clone(),
                None => slot.insert(build()?).clone(),
            }
        };
        let failed = match timeout(TOKEN_TIMEOUT, credentials.access_token()).await {
            Ok(Ok(token)) => return Ok(Some(SecretString::from(token.token))),
            Ok(Err(error)) => {
                // A permanent error ends the library's renewal; only new credentials try again.
                if !error.is_transient() {
                    *slot.lock().await = None;
                }
                http::describe(&error)
            }
            Err(_) => format!("no token within {} s", TOKEN_TIMEOUT.as_secs()),
        };
        Err(Failure::GoogleCredentials(failed))
    }

    /// A token to replace `refused`, which a service answered with 401.
    pub async fn token_other_than(
        &self,
        _refused: &SecretString,
    ) -> Result<Option<SecretString>, Failure> {
        if let Self::Default(slot) = self {
            *slot.lock().await = None;
        }
        self.token().await
    }
}

fn build() -> Result<AccessTokenCredentials, Failure> {
    Builder::default()
        .with_scopes([SCOPE])
        .build_access_token_credentials()
        .map_err(|error| Failure::GoogleCredentials(http::describe(&error)))
}

/// The project that the metadata server names
/// (<https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys>).
pub async fn project_from_metadata(host: &str) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::GoogleCredentials(format!("the metadata server names no project: {why}"))
    };
    let client = http::client(Duration::from_secs(2), Duration::from_secs(5))
        .map_err(|error| failed(http::describe(&error)))?;
    let sent = client
        .get(format!("http://{host}/computeMetadata/v1/project/project-id"))
        .header("Metadata-Flavor", "Google")
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    let response = sent.map_err(|error| failed(http::describe(&error)))?;
    let body = http::read(response, 1024).await.map_err(|error| failed(error.to_string()))?;
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}
