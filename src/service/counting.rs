//! Plugins that count instructions, for those who try them: compiled once more, one after another, and the latest few are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::config::Config;
use crate::integration::Integration;
use crate::integration::counted::{NotCounted, counted};
use crate::model::ids::IntegrationName;
use crate::plugin::{Host, Plugin, PluginLimits};

/// Most plugins that are kept.
const KEPT: usize = 4;

/// The plugins that count instructions.
#[derive(Debug, Default)]
pub(crate) struct CountingPlugins {
    /// Created for the first one. Its lock is held while a plugin is made, so that only one is made at a time.
    host: Mutex<Option<Host>>,
    kept: Mutex<LatestFew<PluginKey, Plugin>>,
}

/// What makes two plugins the same.
#[derive(Debug, Clone, PartialEq)]
struct PluginKey {
    name: IntegrationName,
    module: [u8; 32],
    source: Option<[u8; 32]>,
    limits: PluginLimits,
}

/// Why a call's instructions are not counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CountFailure {
    /// Another plugin is being made. Soon there is room.
    Busy,
    /// For the plugin's author.
    Failed(&'static str),
}

impl CountingPlugins {
    /// Returns the integration's plugin, loaded so that its calls count instructions. Blocking: it may be compiled first.
    ///
    /// # Errors
    /// Fails if another one is being made, or this one cannot be loaded.
    pub(crate) fn of(&self, integration: &Integration, config: &Config) -> Result<Arc<Plugin>, CountFailure> {
        let plugin = integration.plugin.as_ref().ok_or(CountFailure::Failed("the integration has no plugin"))?;
        let key = PluginKey {
            name: integration.name.clone(),
            module: *plugin.sha256(),
            source: plugin.source().map(crate::plugin::MappingSource::sha256),
            limits: integration.limits.clone(),
        };
        made_once(&self.host, &self.kept, &key, |host| {
            let made = host_of(host, config).and_then(|host| {
                counted(host, integration, &config.live_plugins_dir()).map_err(|it| match it {
                    NotCounted::OtherModule => {
                        CountFailure::Failed("the plugin's folder has another module than the live version")
                    }
                    other => failed(&other),
                })
            });
            made.inspect_err(
                |it| tracing::warn!(integration = %integration.name, cause = ?it, "instructions are not counted"),
            )
        })
    }
}

/// The host, created when it is first used.
fn host_of<'a>(host: &'a mut Option<Host>, config: &Config) -> Result<&'a Host, CountFailure> {
    match host {
        Some(host) => Ok(host),
        none => {
            let new = Host::counting_next_to_live(Some(config.data_dir.join("artefacts")), config.loading);
            Ok(none.insert(new.map_err(|it| failed(&it))?))
        }
    }
}

/// The cause may name a path, which only the operator's log has.
fn failed(cause: &dyn std::fmt::Display) -> CountFailure {
    tracing::warn!(%cause, "a plugin cannot be loaded to count its instructions");
    CountFailure::Failed("the plugin cannot be loaded so that its instructions are counted; the server's log says why")
}

/// Returns the stored value of a key, or makes it, unless another one is being made. `state` is locked while it is made.
fn made_once<S, K: Clone + PartialEq, T>(
    state: &Mutex<S>,
    kept: &Mutex<LatestFew<K, T>>,
    key: &K,
    make: impl FnOnce(&mut S) -> Result<T, CountFailure>,
) -> Result<Arc<T>, CountFailure> {
    if let Some(found) = lock(kept).get(key) {
        return Ok(found);
    }
    let mut state = match state.try_lock() {
        Ok(state) => state,
        Err(TryLockError::Poisoned(it)) => it.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(CountFailure::Busy),
    };
    // It may have been made since.
    if let Some(found) = lock(kept).get(key) {
        return Ok(found);
    }
    let made = Arc::new(make(&mut state)?);
    lock(kept).put(key.clone(), Arc::clone(&made));
    Ok(made)
}

/// The values that were used last, the latest first.
#[derive(Debug)]
struct LatestFew<K, T>(VecDeque<(K, Arc<T>)>);

impl<K, T> Default for LatestFew<K, T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: PartialEq, T> LatestFew<K, T> {
    fn get(&mut self, key: &K) -> Option<Arc<T>> {
        let at = self.0.iter().position(|(it, _)| it == key)?;
        let found = self.0.remove(at)?;
        let value = Arc::clone(&found.1);
        self.0.push_front(found);
        Some(value)
    }

    fn put(&mut self, key: K, value: Arc<T>) {
        self.0.push_front((key, value));
        self.0.truncate(KEPT);
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Otherwise those who try plugins keep all cores busy with compiling, or the server keeps everything they have tried.
    #[test]
    fn one_is_made_at_a_time_and_the_latest_few_are_kept() {
        let (state, kept) = (Mutex::new(0), Mutex::default());
        let get = |key: usize| {
            made_once(&state, &kept, &key, |made| {
                *made += 1;
                // A second request is refused meanwhile.
                assert_eq!(made_once(&state, &kept, &(key + 100), |_| Ok(0)), Err(CountFailure::Busy));
                Ok(key)
            })
        };
        let count = || *state.lock().unwrap();
        (0..KEPT).for_each(|it| assert_eq!(*get(it).unwrap(), it));
        assert_eq!((*get(0).unwrap(), count()), (0, KEPT), "it is kept");
        {
            let _busy = state.lock().unwrap();
            assert_eq!(*get(1).unwrap(), 1, "a stored one is returned while another one is made");
        }
        get(KEPT).unwrap();
        assert_eq!((get(0).is_ok(), count()), (true, KEPT + 1));
        assert_eq!((get(2).is_ok(), count()), (true, KEPT + 2), "the least recently used one is dropped");
        let refused = made_once(&state, &kept, &99, |_| Err(CountFailure::Failed("x")));
        assert_eq!(refused, Err(CountFailure::Failed("x")));
        assert!(get(99).is_ok(), "a failure is not kept");
    }
}
