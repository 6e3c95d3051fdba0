//! The async runtime of a command.

use super::failure::Failure;

/// Creates the runtime of async commands.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::new)
}
