//! `hookmill plugin versions [NAME]`

use serde_json::json;

use super::database;
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::{Config, Options};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin versions
  hookmill plugin versions orders --json

The state is `active`, or `previous` for the version that `hookmill plugin rollback` switches to. `hookmill plugin list` shows what
a server runs.")]
pub(super) struct Versions {
    /// The plugin; without it, all plugins
    name: Option<String>,
    #[command(flatten)]
    data: DataDirFlag,
}

impl Versions {
    pub(super) fn options(&self) -> Options {
        Options { without_senders: true, ..self.data.options() }
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let all = database::with(config, |cluster| Ok(cluster.bundles().versions(self.name.as_deref())?))?;
        if as_json {
            print::json(&json!({ "versions": all }));
            return Ok(());
        }
        say!("{:<20} {:<12} {:<9} {:<20} {:<16} SHA256", "PLUGIN", "VERSION", "STATE", "PUBLISHED", "BY");
        for it in all {
            let state = match (it.is_active, it.is_previous) {
                (true, _) => "active",
                (false, true) => "previous",
                (false, false) => "-",
            };
            let at = it.published_at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
            let sha256: String = it.digest.chars().take(12).collect();
            say!("{:<20} {:<12} {state:<9} {at:<20} {:<16} {sha256}", it.name, it.version, it.publisher);
        }
        Ok(())
    }
}
