//! Work that keeps a processor busy.

use crate::store::error::StoreError;

/// Runs work that keeps a processor busy, off the threads of the connections.
pub(super) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| StoreError::Read(e.to_string()))
}
