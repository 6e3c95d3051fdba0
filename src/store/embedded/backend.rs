//! The embedded store's handle, which owns its threads.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::change::{Change, Done};
use super::shared::SharedStore;
use super::watchdog::Watchdog;
use super::writer::Writer;
use crate::store::dir_lock::{DirLock, RunningServer};
use crate::store::error::StoreError;
use crate::store::write::{Committed, Replaced, Updated};

/// The embedded store in one data directory.
#[derive(Debug)]
pub struct Embedded {
    pub(super) shared: Arc<SharedStore>,
    pub(super) writer: Writer,
    pub(super) verifier: Option<JoinHandle<()>>,
    pub(super) _watchdog: Watchdog,
    pub(super) lock: Arc<DirLock>,
}

impl Embedded {
    /// Publishes the server's address, and the token that proves access to this directory, for `hookmill key` and
    /// similar commands.
    ///
    /// # Errors
    /// Fails if the lock file cannot be written.
    pub fn announce(&self, running: &RunningServer) -> std::io::Result<()> {
        self.lock.announce(running)
    }

    /// Returns the data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Runs a read off the async threads, after everything acknowledged so far is in the read view.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SharedStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let settled = move || {
            shared.settle()?;
            read(&shared)
        };
        tokio::task::spawn_blocking(settled).await.map_err(|e| StoreError::Read(e.to_string()))?
    }

    pub(super) async fn put(&self, change: Result<Change, StoreError>) -> Result<Committed, StoreError> {
        match self.writer.write(change?).await? {
            Done::Committed(committed) => Ok(committed),
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }

    pub(super) async fn replaced(&self, change: Change) -> Result<Replaced, StoreError> {
        match self.writer.write(change).await? {
            Done::Replaced(replaced) => Ok(replaced),
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }

    pub(super) async fn update(&self, change: Change) -> Result<Updated, StoreError> {
        match self.writer.write(change).await? {
            Done::Updated(updated) => Ok(updated),
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.close();
        self.writer.close(&self.shared);
        self.shared.tally.join();
        if self.verifier.take().is_some_and(|it| it.join().is_err()) {
            tracing::error!("the thread that verifies the journal panicked");
        }
    }
}
