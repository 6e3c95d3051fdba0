//! One pass over the plugins folder: what changed is loaded, and takes the old one's place if it is good.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde::Serialize;

use super::stamp::{Stamp, folders};
use crate::config::Secrets;
use crate::integration::load::load;
use crate::integration::{Integration, LoadFailure, Refused, Registry};
use crate::plugin::Host;

/// How often a folder may go on changing while it is waited for.
const PATIENCE: u32 = 60;

/// What a pass has come to: names of folders.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pass {
    /// Live from now on.
    pub loaded: Vec<String>,
    /// Not loaded, and why. An older version may be live still.
    pub refused: BTreeMap<String, String>,
    /// Gone.
    pub removed: Vec<String>,
    /// As they were.
    pub unchanged: Vec<String>,
}

/// Loads plugin folders into a registry.
#[derive(Debug)]
pub struct Loader {
    /// Runs the plugins.
    pub host: Host,
    /// Where the folders are.
    pub dir: PathBuf,
    /// What their senders are checked with.
    pub secrets: Secrets,
    /// Where they go live.
    pub registry: Arc<Registry>,
    tried: HashMap<String, Stamp>,
}

/// A folder that is to be loaded.
struct Changed {
    name: String,
    path: PathBuf,
    stamp: Stamp,
}

impl Loader {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(host: Host, dir: PathBuf, secrets: Secrets, registry: Arc<Registry>) -> Self {
        Self { host, dir, secrets, registry, tried: HashMap::new() }
    }

    /// Loads what is new or changed, and takes down what is gone. `again`: what was refused is tried once more.
    ///
    /// A folder that is still being written to is waited for, `settle` at a time; none is loaded in two halves, as
    /// what changes while it is loaded is not taken.
    ///
    /// # Errors
    /// Where the folder itself cannot be read: everything stays as it is.
    pub fn pass(&mut self, settle: Duration, again: bool) -> std::io::Result<Pass> {
        let mut pass = Pass::default();
        if again {
            let refused = self.registry.refused();
            self.tried.retain(|name, _| !refused.contains_key(name));
        }
        let changed = self.settled(settle, &mut pass)?;
        let results = std::thread::scope(|scope| {
            let load = |it: &Changed| load(&self.host, &it.path, &self.secrets, Utc::now());
            let threads: Vec<_> = changed.iter().map(|it| scope.spawn(move || load(it))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for (it, result) in changed.into_iter().zip(results) {
            let unexpected = || format!("{}: loading it failed unexpectedly", it.path.display());
            self.take(&it, result.map_err(|_| unexpected()), &mut pass);
        }
        Ok(pass)
    }

    /// What differs from what was tried last, once it does not change any more.
    fn settled(&mut self, settle: Duration, pass: &mut Pass) -> std::io::Result<Vec<Changed>> {
        let mut before: HashMap<String, Stamp> = HashMap::new();
        for _ in 0..PATIENCE {
            let (changed, unchanged) = self.look()?;
            let still = changed.iter().all(|it| before.get(&it.name) == Some(&it.stamp));
            if changed.is_empty() || still || settle.is_zero() {
                (pass.unchanged, pass.removed) = (unchanged, self.remove_gone()?);
                return Ok(changed);
            }
            before = changed.into_iter().map(|it| (it.name, it.stamp)).collect();
            std::thread::sleep(settle);
        }
        Err(std::io::Error::other("its files do not stop changing"))
    }

    fn look(&self) -> std::io::Result<(Vec<Changed>, Vec<String>)> {
        let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
        for (name, path) in folders(&self.dir)? {
            let Ok(stamp) = Stamp::of(&path) else { continue };
            if self.tried.get(&name) == Some(&stamp) {
                unchanged.push(name);
            } else {
                changed.push(Changed { name, path, stamp });
            }
        }
        Ok((changed, unchanged))
    }

    fn remove_gone(&mut self) -> std::io::Result<Vec<String>> {
        let there = folders(&self.dir)?;
        let gone = |name: &&String| !there.iter().any(|(it, _)| it == *name);
        let gone: Vec<String> = self.tried.keys().filter(gone).cloned().collect();
        for name in &gone {
            self.tried.remove(name);
            self.registry.remove(name);
            tracing::info!(plugin = name, "plugin is removed");
        }
        Ok(gone)
    }

    fn take(&mut self, it: &Changed, result: Result<Result<Integration, LoadFailure>, String>, pass: &mut Pass) {
        if Stamp::of(&it.path).ok().as_ref() != Some(&it.stamp) {
            // It was changed meanwhile: what was loaded may be half of each. The next pass finds it.
            tracing::info!(plugin = it.name, "plugin changed while it was loaded: it is loaded again");
            return;
        }
        self.tried.insert(it.name.clone(), it.stamp.clone());
        match result.and_then(|loaded| loaded.map_err(|failure| failure.to_string())) {
            Ok(plugin) => {
                let sha256 = &plugin.provenance.module_sha256;
                tracing::info!(plugin = it.name, version = plugin.version, abi = ?plugin.plugin.abi(), sha256, "plugin is live");
                self.registry.set(plugin);
                pass.loaded.push(it.name.clone());
            }
            Err(message) => {
                let stays = self.registry.get(&it.name).map(|live| live.version.clone());
                tracing::error!(plugin = it.name, stays_live = stays, "plugin is refused: {message}");
                self.registry.refuse(Refused { name: it.name.clone(), message: message.clone() });
                pass.refused.insert(it.name.clone(), message);
            }
        }
    }

    /// Whether something has changed since the last pass.
    pub(super) fn is_behind(&self) -> bool {
        self.look().is_ok_and(|(changed, _)| !changed.is_empty())
    }

    /// Everything whose changes count.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let folders = folders(&self.dir).unwrap_or_default();
        let inside = |(_, path): (String, PathBuf)| [path.join("fixtures"), path];
        let own: &Path = &self.dir;
        std::iter::once(own.to_owned()).chain(folders.into_iter().flat_map(inside)).filter(|it| it.is_dir()).collect()
    }
}
