//! What is live, what is being loaded and what is refused, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Integration;
use crate::auth::CompanyId;
use crate::event::IntegrationName;

/// A folder that is not live, and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Refused {
    /// The folder's name.
    pub name: String,
    /// The file and the cause.
    pub message: String,
    /// Whose it would be, where its plugin.toml says so.
    #[serde(skip)]
    pub company: Option<CompanyId>,
}

impl Refused {
    /// Whether the admins of this company, whose integration of the same name is live, may read why.
    #[must_use]
    pub fn concerns(&self, company: &CompanyId) -> bool {
        self.company.as_ref().is_none_or(|it| it == company)
    }
}

/// Folders that are being loaded.
#[derive(Debug, Clone, Default)]
struct Loading {
    /// The server has started, and not every folder has been tried yet.
    first_pass: bool,
    names: BTreeSet<String>,
}

/// The result of looking up a name.
#[derive(Debug, Clone)]
pub enum Found {
    /// A live integration.
    Live(Arc<Integration>),
    /// A folder whose first version is being loaded.
    Loading,
    /// Nothing that deliveries could be for.
    Unknown,
}

/// What is live, by name, what is being loaded and what is refused. Readers never wait: a change swaps the whole.
#[derive(Debug, Default)]
pub struct Registry {
    live: ArcSwap<BTreeMap<IntegrationName, Arc<Integration>>>,
    refused: ArcSwap<BTreeMap<String, Refused>>,
    loading: ArcSwap<Loading>,
    changed: watch::Sender<()>,
}

impl Registry {
    /// Goes live, in the place of the version before. Calls under way end on that, unless it was another company's: then
    /// they are stopped.
    pub fn set(&self, integration: Arc<Integration>) {
        let before = self.get(&integration.name.0).filter(|it| it.company_id != integration.company_id);
        self.change_refused(|refused| drop(refused.remove(&*integration.name.0)));
        self.change_live(|live| drop(live.insert(integration.name.clone(), Arc::clone(&integration))));
        before.into_iter().for_each(|it| it.retire());
        self.loaded(&integration.name.0);
    }

    /// Notes why a folder does not go live. A version of it that is live stays so.
    pub fn refuse(&self, refused: Refused) {
        self.change_refused(|all| drop(all.insert(refused.name.clone(), refused.clone())));
        self.loaded(&refused.name);
    }

    /// The folder is gone. Calls under way are stopped, and those that wait are not made.
    pub fn remove(&self, name: &str) {
        let before = self.get(name);
        self.change_live(|live| drop(live.remove(&IntegrationName(name.into()))));
        before.into_iter().for_each(|it| it.retire());
        self.change_refused(|refused| drop(refused.remove(name)));
        self.loaded(name);
    }

    /// These folders are being loaded from now on.
    pub fn load(&self, names: &[String]) {
        self.change_loading(|it| it.names.extend(names.iter().cloned()));
    }

    /// The server starts: these folders are there, and none of them has been tried.
    pub fn start(&self, names: &[String]) {
        self.load(names);
        self.change_loading(|it| it.first_pass = true);
    }

    /// Every folder that was there at the start has been tried.
    pub fn started(&self) {
        self.change_loading(|it| it.first_pass = false);
    }

    /// Whether folders that were there at the start have not been tried yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.loading.load().first_pass
    }

    /// Folders that are being loaded, by name.
    #[must_use]
    pub fn loading(&self) -> BTreeSet<String> {
        self.loading.load().names.clone()
    }

    /// Wakes when something goes live, is refused or removed.
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

    /// The integration of this name, if it is live.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Integration>> {
        self.live.load().get(&IntegrationName(name.into())).cloned()
    }

    /// Looks up a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Found {
        // In this order: what is loaded goes live before it is no longer loading.
        let loading = self.loading.load().names.contains(name);
        match self.get(name) {
            Some(integration) => Found::Live(integration),
            None if loading => Found::Loading,
            None => Found::Unknown,
        }
    }

    /// Every live one, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Integration>> {
        self.live.load().values().cloned().collect()
    }

    /// Every refused folder, by name.
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
