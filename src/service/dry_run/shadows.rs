//! The shadows of live integrations: candidates that get the same deliveries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::shadow::Shadow;
use crate::integration::Integration;
use crate::model::ids::IntegrationName;
use crate::pipeline::{Observer, Observers};

/// All shadows, by the name of the live integration.
#[derive(Debug)]
pub struct Shadows {
    observers: Arc<Observers>,
    all: Mutex<BTreeMap<IntegrationName, Arc<AttachedShadow>>>,
}

/// The shadow of one version of a live integration.
#[derive(Debug)]
pub struct AttachedShadow {
    /// Folder of the candidate, as in plugin.toml.
    pub folder: String,
    /// The running shadow, or why it does not run. The live plugin does not depend on it.
    pub shadow: Result<Arc<Shadow>, String>,
    /// The live version that it runs next to.
    live: DateTime<Utc>,
}

impl Shadows {
    /// Creates an empty list; shadows observe the pipeline through `observers`.
    #[must_use]
    pub fn new(observers: Arc<Observers>) -> Self {
        Self { observers, all: Mutex::default() }
    }

    /// Sets the shadow of a live integration.
    pub fn set(&self, live: &Integration, folder: String, shadow: Result<Shadow, String>) {
        let shadow = shadow.map(Arc::new);
        if let Ok(shadow) = &shadow {
            let shadow = Arc::clone(shadow);
            let observer: Observer = Arc::new(move |raw, verdict| shadow.see(raw, verdict));
            self.observers.set(live, &observer);
        }
        let attached = Arc::new(AttachedShadow { folder, shadow, live: live.loaded_at });
        self.lock().insert(live.name.clone(), attached);
    }

    /// Stops and removes the shadow of an integration: another version goes live, or none.
    pub fn remove(&self, name: &IntegrationName) {
        self.observers.remove(name);
        let removed = self.lock().remove(name);
        if let Some(Ok(shadow)) = removed.as_ref().map(|it| &it.shadow) {
            shadow.stop();
        }
    }

    /// Returns the shadow of this version of an integration, if plugin.toml names one.
    #[must_use]
    pub fn of(&self, live: &Integration) -> Option<Arc<AttachedShadow>> {
        self.lock().get(&live.name).filter(|it| it.live == live.loaded_at).cloned()
    }

    /// Makes the shadow of an integration forget the events that it has seen.
    pub fn forget(&self, live: &Integration) {
        if let Some(Ok(shadow)) = self.of(live).as_ref().map(|it| &it.shadow) {
            shadow.forget();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IntegrationName, Arc<AttachedShadow>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
