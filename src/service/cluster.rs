//! What servers on one store tell each other: which plugins they run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::config::watch::PluginSource;
use crate::model::company::CompanyId;
use crate::store::Node;

/// The plugins of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPlugins {
    /// Where it loads them from.
    pub source: PluginSource,
    /// Whether it has just started, and has not tried all of them yet.
    pub starting: bool,
    /// Number of the last activation in the database that it has tried.
    pub activation: i64,
    /// Those that are live, by name.
    pub live: BTreeMap<String, ReportedPlugin>,
    /// Those that are refused, by name. Another version may be live.
    pub refused: BTreeMap<String, ReportedRefusal>,
}

/// A live plugin of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPlugin {
    /// `version` in plugin.toml.
    pub version: String,
    /// SHA-256 of the module, in hexadecimal.
    pub module_sha256: String,
    /// SHA-256 of the folder's files, in hexadecimal.
    pub digest: String,
    /// Its company.
    pub company_id: CompanyId,
}

/// A plugin that a server refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedRefusal {
    /// The file and the cause.
    pub reason: String,
    /// Its company, if plugin.toml can be read.
    pub company_id: Option<CompanyId>,
}

impl ReportedPlugins {
    /// Returns the plugins that a server has reported; `None` if it has reported none yet, or is not a server.
    #[must_use]
    pub fn by(node: &Node) -> Option<Self> {
        serde_json::from_str(&node.plugins).ok()
    }

    /// Returns the text to report.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }
}

/// A plugin on one of several servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginOnNode {
    /// Name of the server.
    pub node: String,
    /// Whether it is this server.
    pub is_this: bool,
    /// The plugin that is live there, if there is one.
    pub live: Option<ReportedPlugin>,
    /// Why a version is refused there.
    pub refused: Option<ReportedRefusal>,
}

/// The plugins that are not the same on all servers, by name.
pub type Differing = BTreeMap<String, Vec<PluginOnNode>>;

/// Returns the plugins that are not the same on all servers. A server that is starting does not count.
#[must_use]
pub fn differing(nodes: &[Node]) -> Differing {
    let all: Vec<_> = nodes.iter().filter_map(|it| Some((it, ReportedPlugins::by(it)?))).collect();
    let all: Vec<_> = all.iter().filter(|(_, it)| !it.starting).collect();
    let names: BTreeSet<&String> = all.iter().flat_map(|(_, it)| it.live.keys().chain(it.refused.keys())).collect();
    let of = |name: &String| {
        let on = |(node, it): &&(&Node, ReportedPlugins)| PluginOnNode {
            node: node.name.clone(),
            is_this: node.is_this,
            live: it.live.get(name).cloned(),
            refused: it.refused.get(name).cloned(),
        };
        let each: Vec<_> = all.iter().map(on).collect();
        let state = |it: &PluginOnNode| (it.live.as_ref().map(|it| it.digest.clone()), it.refused.is_some());
        let differ = each.iter().any(|it| state(it) != state(&each[0]));
        differ.then(|| (name.clone(), each))
    };
    names.into_iter().filter_map(of).collect()
}

/// What this server knows about the others: as of a moment ago, so that nobody waits for the database.
#[derive(Debug, Default)]
pub struct KnownNodes(ArcSwap<Differing>);

impl KnownNodes {
    /// Returns the plugins that are not the same on all servers.
    #[must_use]
    pub fn differing(&self) -> Arc<Differing> {
        self.0.load_full()
    }

    /// Takes over what is known now. Returns whether other plugins differ than before.
    pub(super) fn set(&self, now: Differing) -> bool {
        let others = now.keys().ne(self.0.load().keys());
        self.0.store(Arc::new(now));
        others
    }
}
