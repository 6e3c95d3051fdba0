//! A plugin on one of several servers, as `GET /v1/admin/plugins` shows it where they differ.

use schemars::JsonSchema;
use serde::Serialize;

use crate::service::app::Admin;
use crate::service::cluster::PluginOnNode;

/// A plugin on one server.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginOnNode")]
pub(super) struct NodeAnswer {
    /// The server: its machine and process.
    node: String,
    /// Whether it is the one that answers.
    is_this: bool,
    /// The version that is live there; null if none is.
    version: Option<String>,
    /// SHA-256 of the plugin's files there, hexadecimal.
    digest: Option<String>,
    /// Why it is refused there; null if it is not.
    refused: Option<String>,
}

impl NodeAnswer {
    /// The plugin on all servers, as this admin may see it.
    pub(super) fn all(nodes: &[PluginOnNode], admin: &Admin) -> Vec<Self> {
        nodes.iter().map(|it| Self::of(it, admin)).collect()
    }

    /// Whether one of them belongs to a company of this admin.
    pub(super) fn concern(nodes: &[PluginOnNode], admin: &Admin) -> bool {
        let live = nodes.iter().filter_map(|it| Some(&it.live.as_ref()?.company_id));
        let refused = nodes.iter().filter_map(|it| it.refused.as_ref()?.company_id.as_ref());
        *admin == Admin::Operator || live.chain(refused).any(|it| admin.manages(it))
    }

    fn of(it: &PluginOnNode, admin: &Admin) -> Self {
        let live = it.live.as_ref().filter(|it| admin.manages(&it.company_id));
        // The reason names files, and may quote fixtures.
        let may_read = |company: Option<&_>| company.is_some_and(|it| admin.manages(it)) || *admin == Admin::Operator;
        let reason = it.refused.as_ref().map(|it| match may_read(it.company_id.as_ref()) {
            true => it.reason.clone(),
            false => "refused; the operator sees why".to_owned(),
        });
        Self {
            node: it.node.clone(),
            is_this: it.is_this,
            version: live.map(|it| it.version.clone()),
            digest: live.map(|it| it.digest.clone()),
            refused: reason,
        }
    }
}
