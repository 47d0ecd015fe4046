//! Finds and loads the credentials file, and keeps its secrets out of errors.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use google_cloud_auth::credentials::service_account::AccessSpecifier;
use google_cloud_auth::credentials::{
    AccessTokenCredentials, external_account, impersonated, service_account, user_account,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::config;
use crate::http;
use crate::text;

/// The supported types of credentials files.
pub const CREDENTIAL_TYPES: [&str; 4] =
    ["authorized_user", "service_account", "impersonated_service_account", "external_account"];

/// The longest excerpt of the library's error text in an error.
const MAX_ERROR_BYTES: usize = 800;

/// Credentials from a file. The library caches and refreshes their token.
#[derive(Debug)]
pub(super) struct FileCredentials {
    credentials: AccessTokenCredentials,
    path: PathBuf,
    secrets: Secrets,
}

/// Reads the credentials file. Returns `None` if there is none, so that the metadata server is used. If
/// GOOGLE_APPLICATION_CREDENTIALS names a file, it must exist.
fn read(config: &config::Google) -> Result<Option<(&Path, Value)>, String> {
    let (path, is_named) = match (&config.credentials_file, &config.gcloud_file) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, false),
        (None, None) => return Ok(None),
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => return Ok(None),
        Err(error) => {
            let named = if is_named { " (GOOGLE_APPLICATION_CREDENTIALS names it)" } else { "" };
            return Err(format!("{error}: the file {}{named}", path.display()));
        }
    };
    match serde_json::from_slice(content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content)) {
        Ok(content) => Ok(Some((path, content))),
        // The error has a line and a column, but nothing of the content.
        Err(error) => Err(format!("{error}: the file {} is not JSON", path.display())),
    }
}

impl FileCredentials {
    /// Loads the credentials file. Returns `None` if there is none.
    pub(super) fn load(config: &config::Google, scope: &str) -> Result<Option<Self>, String> {
        let Some((path, content)) = read(config)? else { return Ok(None) };
        let secrets = Secrets::of(&content);
        let r#type = type_of(&content).map_err(|why| in_file(&why, path))?.to_owned();
        let scopes = [scope];
        let built = match r#type.as_str() {
            "authorized_user" => user_account::Builder::new(content)
                .with_scopes(scopes)
                .build_access_token_credentials(),
            "service_account" => service_account::Builder::new(content)
                .with_access_specifier(AccessSpecifier::from_scopes(scopes))
                .build_access_token_credentials(),
            "impersonated_service_account" => impersonated::Builder::new(content)
                .with_scopes(scopes)
                .build_access_token_credentials(),
            _ => external_account::Builder::new(content)
                .with_scopes(scopes)
                .build_access_token_credentials(),
        };
        match built {
            Ok(credentials) => Ok(Some(Self { credentials, path: path.to_owned(), secrets })),
            Err(error) => {
                let why = secrets.removed_from(&http::root_cause_first(&error));
                Err(in_file(&format!("{why} ({type})", r#type = r#type), path))
            }
        }
    }

    /// Returns a token. The error has its cause, and whether the library calls it transient.
    pub(super) async fn token(&self) -> Result<SecretString, (String, bool)> {
        match self.credentials.access_token().await {
            Ok(token) => Ok(SecretString::from(token.token)),
            Err(error) => {
                let why = self.secrets.removed_from(&http::root_cause_first(&error));
                Err((in_file(&why, &self.path), error.is_transient()))
            }
        }
    }
}

fn in_file(why: &str, path: &Path) -> String {
    format!("{}: the file {}", text::middle_elided(why, MAX_ERROR_BYTES), path.display())
}

/// Returns the type of the credentials. The error says why they can't be loaded.
fn type_of(content: &Value) -> Result<&str, String> {
    let supported = || CREDENTIAL_TYPES.join(", ");
    let r#type = match &content["type"] {
        Value::String(r#type) => r#type,
        _ if content.get("web").is_some() || content.get("installed").is_some() => {
            return Err(format!(
                "it is an OAuth client, which is not a credential; supported types: {}",
                supported()
            ));
        }
        _ => return Err(format!("it has no \"type\"; supported types: {}", supported())),
    };
    if !CREDENTIAL_TYPES.contains(&r#type.as_str()) {
        return Err(format!(
            "unknown type {:?}; supported types: {}",
            text::excerpt(r#type, 100),
            supported()
        ));
    }
    // Impersonation needs credentials of another type, which are in the same file.
    if r#type == "impersonated_service_account" {
        let source = type_of(&content["source_credentials"])
            .map_err(|why| format!("source_credentials: {why}"))?;
        if source == r#type {
            return Err(format!("source_credentials: {source} can't impersonate; use delegates"));
        }
    }
    Ok(r#type)
}

/// The secrets in a credentials file, which no error may repeat.
#[derive(Debug)]
struct Secrets(Vec<SecretString>);

impl Secrets {
    fn of(content: &Value) -> Self {
        let mut secrets = Vec::new();
        collect(content, false, &mut secrets);
        // Replaces the longest first, in case one secret is part of another.
        secrets.sort_by_key(|secret: &String| std::cmp::Reverse(secret.len()));
        Self(secrets.into_iter().map(SecretString::from).collect())
    }

    fn removed_from(&self, text: &str) -> String {
        let secrets: Vec<&str> = self.0.iter().map(ExposeSecret::expose_secret).collect();
        text::redacted(text, &secrets)
    }
}

fn collect(value: &Value, is_secret: bool, secrets: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(value, is_secret || names_a_secret(key), secrets);
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|value| collect(value, is_secret, secrets));
        }
        Value::String(text) if is_secret => {
            // Shorter strings would match unrelated text.
            secrets.extend((text.len() >= 4).then(|| text.clone()));
            // A key has several lines, and an error may repeat only one of them.
            secrets.extend(text.lines().filter(|line| line.len() >= 16).map(str::to_owned));
        }
        Value::Number(number) if is_secret => secrets.push(number.to_string()),
        _ => {}
    }
}

/// Returns whether the value of a field is secret: that of `private_key`, `client_secret`,
/// `refresh_token` or the `headers` of a token request, but not of `token_uri` or `subject_token_type`.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_public = ["_uri", "_url", "_type", "_name"].iter().any(|ending| key.ends_with(ending));
    let words = ["key", "secret", "token", "password", "headers", "assertion"];
    !is_public && words.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_type_names_the_supported_ones() {
        for (content, why) in [
            (json!({"type": "gdch_service_account"}), "unknown type \"gdch_service_account\""),
            (json!({"type": "external_account_authorized_user"}), "unknown type"),
            (json!({"type": 5}), "no \"type\""),
            (json!({}), "no \"type\""),
            (json!([]), "no \"type\""),
            (json!({"installed": {"client_id": "x"}}), "OAuth client"),
            (json!({"type": "impersonated_service_account"}), "source_credentials: it has no"),
            (
                json!({"type": "impersonated_service_account", "source_credentials": {"type": "x"}}),
                "source_credentials: unknown type \"x\"",
            ),
        ] {
            let refused = type_of(&content).unwrap_err();
            assert!(refused.contains(why), "{refused}");
            for r#type in CREDENTIAL_TYPES {
                assert!(refused.contains(r#type), "{refused}");
            }
        }
        let twice = json!({"type": "impersonated_service_account", "source_credentials":
            {"type": "impersonated_service_account", "source_credentials": {"type": "authorized_user"}}});
        assert!(type_of(&twice).unwrap_err().contains("use delegates"));
    }

    #[test]
    fn secrets_are_removed_and_other_values_stay() {
        let key =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n";
        let secrets = Secrets::of(&json!({
            "type": "service_account", "client_email": "me@x", "token_uri": "https://t",
            "private_key": key, "client_secret": 12345, "refresh_token": "1//r",
            "credential_source": {"headers": {"Authorization": "Bearer zzz"}, "url": "https://u"},
        }));
        let error = format!("{key} 12345 1//r Bearer zzz MIIEvQIBADANBgkqhkiG9w0");
        let redacted = secrets.removed_from(&error);
        for secret in ["MIIE", "12345", "1//r", "zzz"] {
            assert!(!redacted.contains(secret), "{redacted}");
        }
        let names = "service_account me@x https://t https://u";
        assert_eq!(secrets.removed_from(names), names);
        assert!(!format!("{secrets:?}").contains("zzz"));
    }
}
