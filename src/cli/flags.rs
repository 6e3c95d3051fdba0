//! Flags that several commands share. Each command takes those that it uses, and no others.

use std::path::PathBuf;

use crate::config::Options;
use crate::model::secret::Secret;

/// `--config`: every command reads the settings file.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFlag {
    /// Settings file [default: hookmill.toml, if it exists]
    #[arg(long, env = "HOOKMILL_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigFlag {
    /// The flags of a command, completed with this one.
    pub(super) fn with(&self, options: Options) -> Options {
        Options { config: self.config.clone(), ..options }
    }
}

/// `--data-dir`: for commands that open the database, or find a running server through it.
#[derive(Debug, clap::Args)]
pub(super) struct DataDirFlag {
    /// Data directory, with the database; one server at a time [default: data]
    #[arg(long, env = "HOOKMILL_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// PostgreSQL database, such as postgres://USER:PASSWORD@HOST/DATABASE; the variable keeps the password out of process
    /// lists [default: none; the data is in the data directory]
    #[arg(long, env = "HOOKMILL_DATABASE_URL", value_name = "URL", hide_env_values = true, global = true, value_parser = secret)]
    database_url: Option<Secret>,
}

#[expect(clippy::unnecessary_wraps, reason = "clap's parsers return a result")]
pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

impl DataDirFlag {
    /// These flags alone.
    pub(super) fn options(&self) -> Options {
        Options { data_dir: self.data_dir.clone(), database_url: self.database_url.clone(), ..Options::default() }
    }
}

/// `--plugins-dir`: for commands that read or write the plugins folder.
#[derive(Debug, clap::Args)]
pub(super) struct PluginsDirFlag {
    /// Plugins folder, with one folder per plugin [default: plugins]
    #[arg(long, env = "HOOKMILL_PLUGINS_DIR", value_name = "DIR")]
    plugins_dir: Option<PathBuf>,
}

impl PluginsDirFlag {
    /// These flags alone.
    pub(super) fn options(&self) -> Options {
        Options { plugins_dir: self.plugins_dir.clone(), ..Options::default() }
    }
}
