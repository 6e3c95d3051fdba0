//! What the plugin commands share.

use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::print::tell;
use crate::config::{Config, user_cache};
use crate::integration::Integration;
use crate::integration::check::{Checked, open};
use crate::integration::load::{NO_MAPPING, outdated_module};
use crate::model::time::now;
use crate::plugin::Host;
use crate::system::folder::Folder;

pub(super) fn host(config: &Config) -> Result<Host, Failure> {
    Host::new(user_cache().map(|it| it.join("artefacts")), config.loading).map_err(Failure::new)
}

/// Returns a folder's integration if it can run, even if fixtures fail; otherwise its first error.
pub(super) fn runnable(host: &Host, config: &Config, folder: &Folder) -> Result<Integration, Failure> {
    let Checked { findings, integration } = open(host, folder, &config.senders, now());
    if integration.as_ref().is_some_and(|it| it.plugin.is_none()) {
        return Err(Failure::new(format!("{}: {NO_MAPPING}", folder.join("plugin.toml").display())));
    }
    integration.ok_or_else(|| {
        let first = findings.first().map_or_else(String::new, |it| format!("{}: {}", it.file.display(), it.reason));
        Failure::new(format!("{first}\nrun `hookmill plugin check {}` to see all problems", folder.path().display()))
    })
}

/// Warns on stderr if the module is older than its sources.
pub(super) fn warn_if_outdated(folder: &Folder) {
    if let Some(reason) = outdated_module(folder) {
        tell!("warning: the module of {} {reason}; build it again, such as with build.sh", folder.path().display());
    }
}

/// Opens the folder that the user names.
pub(super) fn folder(dir: &Path) -> Result<Folder, Failure> {
    Folder::open(dir).map_err(|e| Failure::new(format!("{}: {e}", dir.display())))
}

/// Formats microseconds for people.
pub(super) fn millis(micros: u128) -> String {
    format!("{:.3} ms", micros as f64 / 1000.0)
}
