//! Where a server loads plugins from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::super::failure::Failure;
use crate::config::watch::{PluginSource, Settings};
use crate::model::audit::Entry;
use crate::plugin::Host;
use crate::service::app::App;
use crate::service::watch::{ActiveBundles, Loader, Watch};

/// Loads all plugins, and then watches their folder.
pub(super) fn watch_plugins(app: &App, host: Host, done: UnboundedSender<Entry>) -> Result<Watch, Failure> {
    let module_bytes = host.limits().module_bytes;
    let dir = app.config.live_plugins_dir();
    let settings = match app.config.plugin_source {
        PluginSource::Folder => app.config.watch,
        // The loader itself writes this folder.
        PluginSource::Database => Settings { notifications: false, settle: Duration::ZERO },
    };
    let told = |e: std::io::Error| {
        Failure::usage(format!(
            "cannot read the plugins folder {}: {e}; choose another folder with --plugins-dir",
            app.config.plugins_dir.display()
        ))
    };
    let mut loader =
        Loader::new(host, dir.clone(), Arc::clone(&app.senders), Arc::clone(&app.registry), Arc::clone(&app.shadows));
    loader.done = Some(done);
    if app.config.plugin_source == PluginSource::Database {
        let active = ActiveBundles::new(Arc::clone(&app.store), dir.clone(), module_bytes);
        loader.active = Some(active.map_err(|e| Failure::new(format!("cannot create {}: {e}", dir.display())))?);
    }
    Watch::start(loader, settings).map_err(told)
}
