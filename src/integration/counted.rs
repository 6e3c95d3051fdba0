//! The plugin of a live integration, loaded once more so that its calls count instructions.

use std::path::Path;

use super::files::LoadFailure;
use super::live::Integration;
use super::manifest::Manifest;
use super::script::own_folder;
use crate::plugin::{Host, Plugin, PluginLimits};

/// Counting makes calls slower, so they get this many times the time limit.
const SLOWER: u32 = 4;

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotCounted {
    /// The integration only captures deliveries.
    #[error("the integration only captures deliveries")]
    NoPlugin,
    /// Another module is in the folder by now.
    #[error("the plugin's folder has another module than the live version")]
    OtherModule,
    /// The folder cannot be read, or its module cannot be compiled.
    #[error(transparent)]
    Folder(#[from] LoadFailure),
    /// The script cannot be loaded.
    #[error("{0}")]
    Script(String),
}

/// Loads it with a host that counts instructions. The result has no threads: its calls run on the caller's.
///
/// # Errors
/// Why it cannot be loaded.
pub(crate) fn counted(host: &Host, live: &Integration, plugins: &Path) -> Result<Plugin, NotCounted> {
    let plugin = live.plugin.as_ref().ok_or(NotCounted::NoPlugin)?;
    let limits = PluginLimits { concurrency: 0, time: live.limits.time * SLOWER, ..live.limits.clone() };
    let (company, name) = (&live.company_id, &live.name.0);
    if let Some(source) = plugin.source() {
        return host.load_script(company, name, source.clone(), limits).map_err(NotCounted::Script);
    }
    let folder = own_folder(plugins, live)?;
    let manifest = Manifest::of(&folder)?;
    let mapping = manifest.mapping().ok_or(NotCounted::OtherModule)?;
    let counted = host.load(company, name, &folder, mapping.file(), limits).map_err(LoadFailure::Module)?;
    if counted.sha256() == plugin.sha256() { Ok(counted) } else { Err(NotCounted::OtherModule) }
}
