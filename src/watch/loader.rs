//! One pass over the plugins folder: what changed is loaded, and takes the old one's place if it is good.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

use super::stamp::{Stamp, folders, visible};
use crate::app::now;
use crate::audit::{Action, Entry, SERVER};
use crate::config::Secrets;
use crate::integration::load::{load, shadow_of};
use crate::integration::{Beside, Integration, LoadFailure, Refused, Registry};
use crate::plugin::Host;

/// How often folders may go on changing before a pass ends without them.
const PATIENCE: u32 = 20;

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
    /// Still being written to: these come later.
    pub changing: Vec<String>,
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
    /// Where it says what it has done, for the audit log.
    pub done: Option<UnboundedSender<Entry>>,
    tried: HashMap<String, Stamp>,
}

/// A folder that is to be loaded.
struct Changed {
    name: String,
    path: PathBuf,
    stamp: Stamp,
}

/// What the plugins folder looks like, beside what was tried last.
struct Look {
    changed: Vec<Changed>,
    unchanged: Vec<String>,
    gone: Vec<String>,
}

impl Look {
    /// Whether this folder was like this then.
    fn has(&self, it: &Changed) -> bool {
        self.changed.iter().any(|before| before.name == it.name && before.stamp == it.stamp)
    }
}

impl Loader {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(host: Host, dir: PathBuf, secrets: Secrets, registry: Arc<Registry>) -> Self {
        Self { host, dir, secrets, registry, done: None, tried: HashMap::new() }
    }

    /// Loads what is new or changed, and takes down what is gone. `again`: what was refused is tried once more.
    ///
    /// A folder that is still being written to, or has just gone, is waited for, `settle` at a time; what is at rest
    /// does not wait for what is not. None is loaded in two halves, as what changes while it is loaded is not taken.
    ///
    /// # Errors
    /// Where the folder itself cannot be read: everything stays as it is.
    pub fn pass(&mut self, settle: Duration, again: bool) -> std::io::Result<Pass> {
        let mut pass = Pass::default();
        if again {
            // Known still, so that it is taken down where it is gone; and like no folder that is there.
            let refused = self.registry.refused();
            let again = self.tried.iter_mut().filter(|(name, _)| refused.contains_key(*name));
            again.for_each(|(_, stamp)| *stamp = Stamp::default());
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

    /// What differs from what was tried last, and has not changed between two looks. What is gone is taken down.
    fn settled(&mut self, settle: Duration, pass: &mut Pass) -> std::io::Result<Vec<Changed>> {
        let mut before: Option<Look> = None;
        let mut patience = PATIENCE;
        loop {
            let now = self.look()?;
            let (still, restless) = match (&before, settle.is_zero()) {
                (_, true) => (now.changed, Vec::new()),
                (Some(before), false) => now.changed.into_iter().partition(|it| before.has(it)),
                (None, false) => (Vec::new(), now.changed),
            };
            let was_gone = |name: &String| settle.is_zero() || before.as_ref().is_some_and(|it| it.gone.contains(name));
            let (gone, going): (Vec<_>, Vec<_>) = now.gone.into_iter().partition(was_gone);
            let nothing_waits = restless.is_empty() && going.is_empty();
            if nothing_waits || !still.is_empty() || !gone.is_empty() || patience == 0 {
                self.take_down(&gone);
                pass.changing = restless.into_iter().map(|it| it.name).collect();
                (pass.unchanged, pass.removed) = (now.unchanged, gone);
                return Ok(still);
            }
            before = Some(Look { changed: restless, unchanged: Vec::new(), gone: going });
            patience -= 1;
            std::thread::sleep(settle);
        }
    }

    fn look(&self) -> std::io::Result<Look> {
        let there = folders(&self.dir)?;
        let gone = self.tried.keys().filter(|name| !there.iter().any(|(it, _)| it == *name)).cloned().collect();
        let mut look = Look { changed: Vec::new(), unchanged: Vec::new(), gone };
        for (name, path) in there {
            let Ok(stamp) = Stamp::of(&path) else { continue };
            if self.tried.get(&name) == Some(&stamp) {
                look.unchanged.push(name);
            } else {
                look.changed.push(Changed { name, path, stamp });
            }
        }
        Ok(look)
    }

    fn take_down(&mut self, gone: &[String]) {
        for name in gone {
            self.tried.remove(name);
            self.note(Action::PluginRemoved, name, self.registry.get(name).as_deref(), "");
            self.registry.remove(name);
            tracing::info!(plugin = name, "plugin is removed");
        }
    }

    fn take(&mut self, it: &Changed, result: Result<Result<Integration, LoadFailure>, String>, pass: &mut Pass) {
        if Stamp::of(&it.path).ok().as_ref() != Some(&it.stamp) {
            // It was changed meanwhile: what was loaded may be half of each. The next pass finds it.
            tracing::info!(plugin = it.name, "plugin changed while it was loaded: it is loaded again");
            pass.changing.push(it.name.clone());
            return;
        }
        self.tried.insert(it.name.clone(), it.stamp.clone());
        match result.and_then(|loaded| loaded.map_err(|failure| failure.to_string())) {
            Ok(plugin) => {
                let sha256 = &plugin.provenance.module_sha256;
                tracing::info!(plugin = it.name, version = plugin.version, abi = ?plugin.plugin.abi(), sha256, "plugin is live");
                if let Some(Beside { folder, shadow: Err(cause) }) = &plugin.beside {
                    tracing::error!(plugin = it.name, "its shadow {folder} does not run: {cause}");
                }
                let what = format!("version {}, module sha256 {sha256}", plugin.version);
                self.note(Action::PluginLive, &it.name, Some(&plugin), &what);
                self.registry.set(plugin);
                pass.loaded.push(it.name.clone());
            }
            Err(message) => {
                let live = self.registry.get(&it.name);
                let stays = live.as_ref().map(|live| &live.version);
                tracing::error!(plugin = it.name, stays_live = stays, "plugin is refused: {message}");
                let what = stays.map_or_else(String::new, |it| format!("version {it} stays live"));
                self.note(Action::PluginRefused, &it.name, live.as_deref(), &what);
                self.registry.refuse(Refused { name: it.name.clone(), message: message.clone() });
                pass.refused.insert(it.name.clone(), message);
            }
        }
    }

    fn note(&self, action: Action, name: &str, plugin: Option<&Integration>, detail: &str) {
        let Some(done) = &self.done else { return };
        let entry = Entry::new(SERVER, action, name, now()).with(detail);
        let _ended = done.send(match plugin {
            Some(plugin) => entry.of(&plugin.company_id),
            None => entry,
        });
    }

    /// Whether something has changed since the last pass.
    pub(super) fn is_behind(&self) -> bool {
        self.look().is_ok_and(|it| !it.changed.is_empty() || !it.gone.is_empty())
    }

    /// Everything whose changes count; folders without a plugin.toml too, as it may come last.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let folders = visible(&self.dir).unwrap_or_default().into_iter().map(|(_, it)| it);
        let with_shadows = folders.flat_map(|it| std::iter::once(it.clone()).chain(shadow_of(&it)));
        let inside = with_shadows.flat_map(|it| [it.join("fixtures"), it]);
        std::iter::once(self.dir.clone()).chain(inside).filter(|it| it.is_dir()).collect()
    }
}
