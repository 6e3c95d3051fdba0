//! Opens the store that the settings name: a data directory, or a PostgreSQL database.

use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use crate::config::Config;
use crate::store::postgres::PostgresOptions;
use crate::store::{DirLock, Embedded, Postgres, RunningServer, Store, StoreError};

/// Role of commands in the list of nodes.
pub(super) const COMMAND: &str = "command";

/// The store of a server.
pub(super) struct ServerStore {
    pub(super) store: Arc<dyn Store>,
    /// The same store, if it keeps its data in files.
    pub(super) files: Option<Arc<Embedded>>,
    /// Lock of the data directory, if the store is elsewhere: it has compiled plugins, and the server's address.
    lock: Option<DirLock>,
}

/// Opens the store for a command.
pub(super) fn store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    match &config.database {
        Some(database) => Ok(Arc::new(Postgres::open(PostgresOptions { role: COMMAND, ..database.clone() })?)),
        None => Ok(Arc::new(Embedded::open(&config.data_dir, &config.store)?)),
    }
}

/// Opens the store for a server.
pub(super) fn for_server(config: &Config) -> Result<ServerStore, StoreError> {
    let Some(database) = &config.database else {
        let files = Arc::new(Embedded::open(&config.data_dir, &config.store)?);
        return Ok(ServerStore { store: files.clone(), files: Some(files), lock: None });
    };
    let dir = &config.data_dir;
    create(dir).map_err(|e| StoreError::Open { dir: dir.display().to_string(), cause: e.to_string() })?;
    let lock = DirLock::take(dir)?;
    let store = Arc::new(Postgres::open(database.clone())?);
    tracing::info!(database = database.url.shown(), "the store is in PostgreSQL");
    Ok(ServerStore { store, files: None, lock: Some(lock) })
}

/// Creates a directory that only its owner can read.
pub(super) fn create(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

impl ServerStore {
    /// Publishes the server's address, and the token for its admin API.
    pub(super) fn announce(&self, running: &RunningServer) -> Result<(), Failure> {
        let announced = match (&self.files, &self.lock) {
            (Some(files), _) => files.announce(running),
            (None, Some(lock)) => lock.announce(running),
            (None, None) => Ok(()),
        };
        announced.map_err(|e| Failure::new(format!("hookmill.lock in the data directory cannot be written: {e}")))
    }
}
