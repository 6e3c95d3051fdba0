//! The registry of integrations by name: live, loading or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::live::Integration;
use crate::model::company::CompanyId;
use crate::model::ids::IntegrationName;

/// A folder that is not live, and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Refused {
    /// Name of the folder.
    pub name: String,
    /// The file and the cause.
    pub message: String,
    /// Company that its plugin.toml names, if it can be read.
    #[serde(skip)]
    pub company: Option<CompanyId>,
}

impl Refused {
    /// Returns whether admins of this company, whose integration with the same name is live, may read the reason.
    #[must_use]
    pub fn concerns(&self, company: &CompanyId) -> bool {
        self.company.as_ref().is_none_or(|it| it == company)
    }
}

/// Folders that are being loaded.
#[derive(Debug, Clone, Default)]
struct Loading {
    /// Whether the server has just started, and not all folders have been tried yet.
    first_pass: bool,
    names: BTreeSet<String>,
    /// Those that other servers run too. One that is not live here is not unknown: a sender may reach another server next.
    shared: BTreeSet<String>,
}

/// The result of looking up a name.
#[derive(Debug, Clone)]
pub enum Found {
    /// A live integration.
    Live(Arc<Integration>),
    /// A folder whose first version is being loaded, or an integration that other servers run and this one has refused.
    Loading,
    /// No integration with this name.
    Unknown,
}

/// The live integrations, loading folders and refused folders. Readers never wait: a change swaps the whole map.
#[derive(Debug, Default)]
pub struct Registry {
    live: ArcSwap<BTreeMap<IntegrationName, Arc<Integration>>>,
    refused: ArcSwap<BTreeMap<String, Refused>>,
    loading: ArcSwap<Loading>,
    changed: watch::Sender<()>,
}

impl Registry {
    /// Makes an integration live and replaces the previous version. Running calls finish with that version, unless
    /// it belonged to another company: then they are stopped.
    pub fn set(&self, integration: Arc<Integration>) {
        let before = self.get(&integration.name.0).filter(|it| it.company_id != integration.company_id);
        // Its series are shown from now on, before the first delivery.
        integration.series();
        self.change_refused(|refused| drop(refused.remove(&*integration.name.0)));
        self.change_live(|live| drop(live.insert(integration.name.clone(), Arc::clone(&integration))));
        before.into_iter().for_each(|it| it.retire());
        self.loaded(&integration.name.0);
    }

    /// Records why a folder cannot go live. A live version of it remains live.
    pub fn refuse(&self, refused: Refused) {
        self.change_refused(|all| drop(all.insert(refused.name.clone(), refused.clone())));
        self.loaded(&refused.name);
    }

    /// Removes an integration whose folder has been removed. Running calls are stopped, and queued calls are not
    /// run.
    pub fn remove(&self, name: &str) {
        let before = self.get(name);
        self.change_live(|live| drop(live.remove(&IntegrationName(name.into()))));
        before.into_iter().for_each(|it| it.retire());
        self.change_refused(|refused| drop(refused.remove(name)));
        self.loaded(name);
    }

    /// Records that these folders are being loaded.
    pub fn load(&self, names: &[String]) {
        self.change_loading(|it| it.names.extend(names.iter().cloned()));
    }

    /// Records the integrations that all servers on the store are to run.
    pub fn share(&self, names: &BTreeSet<String>) {
        self.change_loading(|it| it.shared.clone_from(names));
    }

    /// Records the folders at the server's start, none of which has been tried yet.
    pub fn start(&self, names: &[String]) {
        self.load(names);
        self.change_loading(|it| it.first_pass = true);
    }

    /// Records that all folders of the start have been tried.
    pub fn started(&self) {
        self.change_loading(|it| it.first_pass = false);
        self.changed.send_replace(());
    }

    /// Returns whether some folders of the start have not been tried yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.loading.load().first_pass
    }

    /// Returns the names of folders that are being loaded.
    #[must_use]
    pub fn loading(&self) -> BTreeSet<String> {
        self.loading.load().names.clone()
    }

    /// Returns a receiver that wakes when an integration goes live, is refused or removed, and when all folders of the start
    /// have been tried.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn loaded(&self, name: &str) {
        self.change_loading(|it| it.names.retain(|it| it != name));
        self.changed.send_replace(());
    }

    fn change_live(&self, change: impl Fn(&mut BTreeMap<IntegrationName, Arc<Integration>>)) {
        swap(&self.live, change);
    }

    fn change_refused(&self, change: impl Fn(&mut BTreeMap<String, Refused>)) {
        swap(&self.refused, change);
    }

    fn change_loading(&self, change: impl Fn(&mut Loading)) {
        swap(&self.loading, change);
    }

    /// Returns the integration with this name, if it is live.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Integration>> {
        self.live.load().get(&IntegrationName(name.into())).cloned()
    }

    /// Looks up a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Found {
        // In this order, because a loaded folder goes live before it leaves `loading`.
        let loading = self.loading.load();
        let loading = loading.names.contains(name) || loading.shared.contains(name);
        match self.get(name) {
            Some(integration) => Found::Live(integration),
            None if loading => Found::Loading,
            None => Found::Unknown,
        }
    }

    /// Returns all live integrations, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Integration>> {
        self.live.load().values().cloned().collect()
    }

    /// Returns all refused folders, by name.
    #[must_use]
    pub fn refused(&self) -> Arc<BTreeMap<String, Refused>> {
        self.refused.load_full()
    }
}

fn swap<T: Clone>(all: &ArcSwap<T>, change: impl Fn(&mut T)) {
    all.rcu(|all| {
        let mut all = T::clone(all);
        change(&mut all);
        all
    });
}
