//! Work that takes the processor for long.

use crate::store::StoreError;

/// Runs what may take the processor for long.
pub(super) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(run).await.map_err(|_| StoreError::Read("the search panicked".into()))
}
