//! Observers of the results of live plugins, such as shadows.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use super::verdict::Verdict;
use crate::integration::Integration;
use crate::integration::mapped::Ready;
use crate::integration::stop::Stop;
use crate::model::event::RawEvent;
use crate::model::ids::IntegrationName;

/// Receives an event and the live plugin's result. It must not block.
pub type Observer = Arc<dyn Fn(RawEvent, Verdict) + Send + Sync>;

/// The observers of live integrations, at most one each. Readers never wait: a change replaces the whole map.
#[derive(Default)]
pub struct Observers(ArcSwap<HashMap<IntegrationName, (DateTime<Utc>, Observer)>>);

impl Observers {
    /// Sets the observer of a live integration. Results of other versions of it are not passed on.
    pub fn set(&self, live: &Integration, observer: &Observer) {
        self.change(|all| drop(all.insert(live.name.clone(), (live.loaded_at, Arc::clone(observer)))));
    }

    /// Removes the observer of an integration.
    pub fn remove(&self, name: &IntegrationName) {
        self.change(|all| drop(all.remove(name)));
    }

    /// Passes on an event and the live plugin's result, unless processing did not begin.
    pub(super) fn see(&self, live: &Integration, raw: &RawEvent, result: &Result<Ready, Stop>) {
        let all = self.0.load();
        let Some((loaded_at, observer)) = all.get(&live.name) else { return };
        if *loaded_at == live.loaded_at && result.as_ref().err().is_none_or(Stop::is_kept) {
            observer(raw.clone(), Verdict::of_run(result));
        }
    }

    fn change(&self, change: impl Fn(&mut HashMap<IntegrationName, (DateTime<Utc>, Observer)>)) {
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            change(&mut all);
            all
        });
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.load().keys()).finish()
    }
}
