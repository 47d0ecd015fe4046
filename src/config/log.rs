//! The format and filter of log lines.

use super::reader::Reader;

#[derive(Clone, Debug)]
pub struct Log {
    /// Whether lines are JSON for Cloud Logging instead of text for a terminal.
    pub json: bool,
    /// A filter in the language of the `tracing` crate.
    pub filter: String,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Log {
    let is_on_cloud_run = reader.optional("K_SERVICE").is_some();
    let json = match reader.optional("LOG_FORMAT").as_deref() {
        None => is_on_cloud_run,
        Some("json") => true,
        Some("text") => false,
        Some(_) => {
            reader.problem("LOG_FORMAT", "must be `json` or `text`");
            false
        }
    };
    let filter = reader.parsed("RUST_LOG", |filter| {
        let parsed = filter.parse::<tracing_subscriber::EnvFilter>();
        parsed.map(|_| filter.to_owned()).map_err(|error| format!("is not a filter: {error}"))
    });
    Log { json, filter }
}
