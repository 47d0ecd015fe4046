//! Why a command failed, which decides its exit code.

pub(super) enum Error {
    /// Arguments or settings are wrong or missing: exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(String),
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}
