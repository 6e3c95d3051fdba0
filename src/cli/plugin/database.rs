//! What the commands for plugins in the database share.

use std::sync::Arc;

use crate::cli::failure::Failure;
use crate::cli::{open, runtime};
use crate::config::Config;
use crate::model::audit::{Action, COMMAND_LINE, Entry};
use crate::model::time::now;
use crate::store::{Cluster, Store};

const NONE: &str = "plugins are published in a PostgreSQL database: set --database-url, HOOKMILL_DATABASE_URL, or store.url in hookmill.toml; without one, copy the folder into the server's plugins folder";

/// Who runs a command.
#[derive(Debug, clap::Args)]
pub(super) struct ByFlag {
    /// Your name, for the list of versions and the audit log
    #[arg(long, env = "USER", hide_env_values = true, default_value = COMMAND_LINE, value_name = "NAME")]
    pub(super) by: String,
}

/// Runs work on the database that the settings name.
pub(super) fn with<T>(config: &Config, work: impl FnOnce(&dyn Cluster) -> Result<T, Failure>) -> Result<T, Failure> {
    if config.database.is_none() {
        return Err(Failure::usage(NONE));
    }
    let store: Arc<dyn Store> = open::store(config)?;
    let cluster = store.cluster().ok_or_else(|| Failure::usage(NONE))?;
    let done = work(cluster);
    // Otherwise the list of nodes would have this command for a while.
    let _still_listed = runtime()?.block_on(cluster.leave());
    done
}

/// An entry of the audit log.
pub(super) fn entry(action: Action, name: &str) -> Entry {
    Entry::new(COMMAND_LINE, action, name, now())
}
