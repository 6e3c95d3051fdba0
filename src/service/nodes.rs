//! What this server reports to the others on its store, and what it learns from them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::cluster::{ReportedPlugin, ReportedPlugins, ReportedRefusal, differing};
use crate::integration::{Integration, Refused};

/// How often a server looks which plugins the others run.
const LOOK: Duration = Duration::from_secs(1);

/// Returns the plugins of this server, which has tried this activation and those before.
#[must_use]
pub fn reported_plugins(app: &App, activation: i64) -> ReportedPlugins {
    let plugin = |it: &Arc<Integration>| {
        let (version, module_sha256) = (it.version.clone(), it.provenance.module_sha256.clone());
        let (digest, company_id) = (it.digest.clone(), it.company_id.clone());
        (it.name.to_string(), ReportedPlugin { version, module_sha256, digest, company_id })
    };
    let refusal = |it: &Refused| {
        (it.name.clone(), ReportedRefusal { reason: it.message.clone(), company_id: it.company.clone() })
    };
    ReportedPlugins {
        source: app.config.plugin_source,
        starting: app.registry.is_starting(),
        activation,
        live: app.registry.list().iter().map(plugin).collect(),
        refused: app.registry.refused().values().map(refusal).collect(),
    }
}

/// Looks which plugins the other servers run, until `ended`.
pub async fn watch_nodes(app: Arc<App>, ended: CancellationToken) {
    let Some(cluster) = app.store.cluster() else { return };
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while ended.run_until_cancelled(every.tick()).await.is_some() {
        // If the database cannot be used, that is logged elsewhere.
        let Ok(nodes) = cluster.nodes().await else { continue };
        if app.nodes.set(differing(&nodes)) {
            let names: Vec<_> = app.nodes.differing().keys().cloned().collect();
            tracing::info!(?names, "plugins that are not the same on all servers; GET /v1/admin/plugins shows where");
        }
    }
}
