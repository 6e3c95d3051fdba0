//! `GET /v1/admin/nodes`: the servers on the store.

use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::reply::List;
use crate::service::cluster::ReportedPlugins;

/// A server, or a command that is running.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Server")]
pub(super) struct ServerAnswer {
    /// Its machine and process.
    name: String,
    /// Whether it is the one that answers.
    is_this: bool,
    /// `all`, `web` or `worker`; `command` for a command that is running.
    role: String,
    /// Its version of hookmill.
    version: String,
    /// How many plugins are live there; null if it has not said so yet.
    live_plugins: Option<usize>,
    /// How many plugins are refused there.
    refused_plugins: Option<usize>,
}

/// `GET /v1/admin/nodes`: with a store of its own, this server is the only one.
pub(super) async fn list(call: Call, (): (), (): ()) -> Result<List<ServerAnswer>, Failed> {
    let Some(cluster) = call.app.store.cluster() else {
        let registry = &call.app.registry;
        let this = ServerAnswer {
            name: format!("process {}", std::process::id()),
            is_this: true,
            role: "all".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            live_plugins: Some(registry.list().len()),
            refused_plugins: Some(registry.refused().len()),
        };
        return Ok(List { data: vec![this] });
    };
    let nodes = cluster.nodes().await?;
    let answer = |it: &crate::store::Node| {
        let plugins = ReportedPlugins::by(it);
        ServerAnswer {
            name: it.name.clone(),
            is_this: it.is_this,
            role: it.role.clone(),
            version: it.version.clone(),
            live_plugins: plugins.as_ref().map(|it| it.live.len()),
            refused_plugins: plugins.as_ref().map(|it| it.refused.len()),
        }
    };
    Ok(List { data: nodes.iter().map(answer).collect() })
}
