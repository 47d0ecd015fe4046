//! Where Google's credentials come from.

use std::path::PathBuf;

use super::reader::Reader;

/// The longest path. A longer value is not a path but the credentials themselves.
const MAX_PATH_BYTES: usize = 1024;

/// The sources of Google's credentials, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct Google {
    /// The file that GOOGLE_APPLICATION_CREDENTIALS names.
    pub credentials_file: Option<PathBuf>,
    /// The file that `gcloud auth application-default login` writes.
    pub gcloud_file: Option<PathBuf>,
    /// The metadata server, as `host` or `host:port`.
    pub metadata_host: String,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Google {
    let file = reader.optional("GOOGLE_APPLICATION_CREDENTIALS");
    // Rejects the key itself, as JSON or in base64, because errors show the path.
    let credentials_file = file.filter(|file| {
        let is_path = file.len() <= MAX_PATH_BYTES && !file.contains(['{', '\n']);
        if !is_path {
            reader.problem(
                "GOOGLE_APPLICATION_CREDENTIALS",
                "is not a path: write the credentials to a file, and set it to the file's path",
            );
        }
        is_path
    });
    let home = reader.optional("HOME").map(PathBuf::from);
    let host = reader.optional("GCE_METADATA_HOST").unwrap_or_default();
    Google {
        credentials_file: credentials_file.map(PathBuf::from),
        gcloud_file: home
            .map(|home| home.join(".config/gcloud/application_default_credentials.json")),
        metadata_host: host.trim_start_matches("http://").trim_end_matches('/').to_owned(),
    }
}
