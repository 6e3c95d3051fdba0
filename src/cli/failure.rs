//! How a command fails: its message and its exit code.

use super::exit::ExitStatus;
use crate::config::ConfigError;
use crate::store::StoreError;

/// Why a command failed: the message for the user, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) message: String,
    pub(super) status: ExitStatus,
}

impl Failure {
    pub(super) fn new(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), status: ExitStatus::Failed }
    }

    pub(super) fn usage(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), status: ExitStatus::Usage }
    }

    pub(super) fn no_server(data_dir: &std::path::Path) -> Self {
        let dir = data_dir.display();
        Self::new(format!(
            "no server is running on {dir}; start one with `hookmill serve`, or set --data-dir to its directory"
        ))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::InUse { .. } => ExitStatus::InUse,
            StoreError::Journal(_) | StoreError::Damaged { .. } => ExitStatus::Damaged,
            _ => ExitStatus::Failed,
        };
        Self { message: error.to_string(), status }
    }
}
