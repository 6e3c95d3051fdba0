//! One pass over the plugins folder: changed folders are loaded, and replace the old versions if they are valid.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

use super::active::ActiveBundles;
use super::changed::Changed;
use super::folder::{Loaded, company, load_one, load_shadow};
use super::stamp::{Stamp, folders, visible};
use crate::integration::load::shadow_of;
use crate::integration::{Integration, Refused, Registry};
use crate::metrics::plugins::PLUGINS;
use crate::model::audit::{Action, Entry, SERVER};
use crate::model::company::CompanyId;
use crate::model::ids::IntegrationName;
use crate::model::time::now;
use crate::plugin::Host;
use crate::service::current_senders::CurrentSenders;
use crate::service::dry_run::Shadows;
use crate::system::folder::Folder;

/// How often folders may still be changing before a pass ends without them.
const PATIENCE: u32 = 20;

/// Maximum number of folders that are loaded concurrently. Most of them wait for their turn to compile.
const AT_A_TIME: usize = 16;

/// The result of a pass: names of folders.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
#[schemars(rename = "PluginReload")]
pub struct Pass {
    /// Folders that went live.
    pub loaded: Vec<String>,
    /// Folders that were not loaded, with the reason. An older version may still be live.
    pub refused: BTreeMap<String, String>,
    /// Folders that were removed.
    pub removed: Vec<String>,
    /// Folders that are unchanged.
    pub unchanged: Vec<String>,
    /// Folders that are still being written; these are loaded later.
    pub changing: Vec<String>,
    /// Why secrets, sender files or the active plugins in the database could not be read again; what was read before stays in
    /// use.
    pub unread: Vec<String>,
    /// Number of the last activation in the database that this pass has tried.
    #[serde(skip)]
    pub activation: i64,
}

/// Loads plugin folders into a registry.
#[derive(Debug)]
pub struct Loader {
    /// Host that runs the plugins.
    pub host: Host,
    /// The plugins folder.
    pub dir: PathBuf,
    /// Sender files and secrets.
    pub senders: Arc<CurrentSenders>,
    /// Registry of live integrations.
    pub registry: Arc<Registry>,
    /// Shadows of the live plugins.
    pub shadows: Arc<Shadows>,
    /// Receives entries for the audit log.
    pub done: Option<UnboundedSender<Entry>>,
    /// The active plugins of the database, if the folder has those.
    pub active: Option<ActiveBundles>,
    tried: HashMap<String, Stamp>,
}

/// The state of the plugins folder, compared with the last attempt.
struct Look {
    changed: Vec<Changed>,
    unchanged: Vec<String>,
    gone: Vec<String>,
}

impl Look {
    /// Returns whether this folder had the same state.
    fn has(&self, it: &Changed) -> bool {
        self.changed.iter().any(|before| before.name == it.name && before.stamp == it.stamp)
    }
}

impl Loader {
    /// Creates a loader that has not loaded anything.
    #[must_use]
    pub fn new(
        host: Host,
        dir: PathBuf,
        senders: Arc<CurrentSenders>,
        registry: Arc<Registry>,
        shadows: Arc<Shadows>,
    ) -> Self {
        Self { host, dir, senders, registry, shadows, done: None, active: None, tried: HashMap::new() }
    }

    /// Loads new and changed folders, and removes those that are gone. `again`: secrets and sender files are read again, and
    /// refused folders are retried.
    ///
    /// A folder that is still being written, or has just disappeared, is waited for, `settle` at a time; other
    /// folders do not wait for it. A folder that changes while it is loaded is not used, so no folder is loaded
    /// half.
    ///
    /// # Errors
    /// Fails if the plugins folder itself cannot be read; nothing changes then.
    pub fn pass(&mut self, settle: Duration, again: bool) -> std::io::Result<Pass> {
        let mut pass = Pass::default();
        if again {
            pass.unread = self.senders.read_again();
            // The names remain known, so that removed folders are noticed. The empty stamp differs from every
            // existing folder.
            let refused = self.registry.refused();
            let again = self.tried.iter_mut().filter(|(name, _)| refused.contains_key(*name));
            again.for_each(|(_, stamp)| *stamp = Stamp::default());
        }
        self.fetch(again, &mut pass);
        let changed = self.settled(settle, &mut pass)?;
        let names: Vec<_> = changed.iter().map(|it| it.name.clone()).collect();
        self.know(&names);
        self.registry.load(&names);
        let (host, senders, shadows) = (self.host.clone(), self.senders.get(), Arc::clone(&self.shadows));
        let mut live = Vec::new();
        // Each plugin goes live as soon as it is loaded, without waiting for others or for a shadow.
        each(fair(changed), |it| load_one(&host, &senders, it), |it| live.extend(self.take(it, &mut pass)));
        each(live, |(path, live)| load_shadow(&host, &senders, &shadows, &path, &live), |()| {});
        self.refuse_unfetched(&mut pass);
        Ok(pass)
    }

    /// Brings the folder up to date with the database, if its plugins come from there.
    fn fetch(&mut self, again: bool, pass: &mut Pass) {
        let Some(active) = &mut self.active else { return };
        let fetched = active.fetch(again);
        self.registry.share(active.names());
        match fetched {
            Ok(reload) => {
                // A version that could not be taken from the database has no folder that could be gone.
                let refused = self.registry.refused();
                let gone = refused.keys().filter(|it| !active.names().contains(*it) && !self.tried.contains_key(*it));
                gone.for_each(|it| self.registry.remove(it));
                for name in reload {
                    self.tried.entry(name).and_modify(|it| *it = Stamp::default());
                }
            }
            Err(cause) => {
                tracing::warn!(
                    cause,
                    "the active plugins cannot be taken from the database; the live plugins remain unchanged"
                );
                pass.unread.push(format!("the active plugins cannot be taken from the database: {cause}"));
            }
        }
        pass.activation = active.activation().unwrap_or_default();
    }

    /// Returns whether the folders to load are known: those of the database must have been read once.
    pub(super) fn knows_folders(&self) -> bool {
        self.active.as_ref().is_none_or(|it| it.activation().is_some())
    }

    /// Records which versions could not be taken from the database. After the folders were loaded: one of them may have an
    /// older version.
    fn refuse_unfetched(&self, pass: &mut Pass) {
        let Some(active) = &self.active else { return };
        let known = self.registry.refused();
        for (name, message) in active.refused() {
            if known.get(&name).is_none_or(|it| it.message != message) {
                self.refused(name.clone(), &self.dir.join(name), message, pass);
            }
        }
    }

    /// Marks all existing folders as loading, until the first pass has tried them.
    ///
    /// # Errors
    /// Fails if the plugins folder cannot be read.
    pub(super) fn start(&mut self) -> std::io::Result<()> {
        self.fetch(false, &mut Pass::default());
        let names: Vec<_> = self.look()?.changed.into_iter().map(|it| it.name).collect();
        self.know(&names);
        self.registry.start(&names);
        Ok(())
    }

    /// Remembers folders, so that one that disappears before it was tried is noticed too.
    fn know(&mut self, names: &[String]) {
        for name in names {
            self.tried.entry(name.clone()).or_default();
        }
    }

    /// Returns folders that differ from the last attempt, and have not changed between two looks. Removes
    /// integrations whose folder is gone.
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
        let senders = self.senders.get();
        let text = |it: OsString| (it.to_string_lossy().into_owned(), it);
        let there: Vec<_> = folders(&self.dir)?.into_iter().map(text).collect();
        let gone = self.tried.keys().filter(|name| !there.iter().any(|(it, _)| it == *name)).cloned().collect();
        let mut look = Look { changed: Vec::new(), unchanged: Vec::new(), gone };
        for (name, file_name) in there {
            let Some(stamp) = Stamp::of(&self.dir, &file_name, &senders) else { continue };
            let path = self.dir.join(file_name);
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
            self.shadows.remove(&IntegrationName(name.as_str().into()));
            self.registry.remove(name);
            tracing::info!(plugin = name, "plugin removed");
        }
    }

    /// Makes a loaded folder live, and returns it with its path.
    fn take(
        &mut self,
        Loaded { name, path, stamp, result }: Loaded,
        pass: &mut Pass,
    ) -> Option<(PathBuf, Arc<Integration>)> {
        let file_name = path.file_name().unwrap_or_default();
        if Stamp::of(&self.dir, file_name, &self.senders.get()).as_ref() != Some(&stamp) {
            // The folder was changed in the meantime, so what was loaded may be inconsistent. The next pass loads
            // it.
            tracing::info!(plugin = name, "plugin changed while it was being loaded; it is loaded again");
            pass.changing.push(name);
            return None;
        }
        self.tried.insert(name.clone(), stamp);
        match result {
            Ok(plugin) => {
                self.goes_live(Arc::clone(&plugin), pass);
                Some((path, plugin))
            }
            Err(message) => {
                self.refused(name, &path, message, pass);
                None
            }
        }
    }

    fn goes_live(&mut self, plugin: Arc<Integration>, pass: &mut Pass) {
        PLUGINS.loaded.count();
        let (name, sha256) = (plugin.name.to_string(), &plugin.provenance.module_sha256);
        let abi = plugin.plugin.as_ref().map(|it| tracing::field::debug(it.abi()));
        tracing::info!(plugin = name, version = plugin.version, abi, sha256, "plugin is live");
        if !plugin.weak_secrets.is_empty() {
            let secrets = plugin.weak_secrets.join(", ");
            tracing::warn!(plugin = name, secrets, "plugin has a weak secret that is easy to guess");
        }
        for (secret, what) in &plugin.secrets.trimmed {
            tracing::warn!(plugin = name, "the secret {secret} had {what}, which was removed");
        }
        for problem in &plugin.secrets.problems {
            tracing::warn!(plugin = name, "{problem}");
        }
        let what = format!("version {}, module sha256 {sha256}", plugin.version);
        self.note(Action::PluginLive, &name, Some(&plugin), &what);
        self.shadows.remove(&plugin.name);
        self.registry.set(plugin);
        pass.loaded.push(name);
    }

    fn refused(&self, name: String, path: &std::path::Path, message: String, pass: &mut Pass) {
        PLUGINS.refused.count();
        let live = self.registry.get(&name);
        let stays = live.as_ref().map(|live| &live.version);
        tracing::error!(plugin = name, stays_live = stays, "plugin refused: {message}");
        let what = stays.map_or_else(String::new, |it| format!("version {it} stays live"));
        self.note(Action::PluginRefused, &name, live.as_deref(), &what);
        self.registry.refuse(Refused { name: name.clone(), message: message.clone(), company: company(path) });
        pass.refused.insert(name, message);
    }

    fn note(&self, action: Action, name: &str, plugin: Option<&Integration>, detail: &str) {
        let Some(done) = &self.done else { return };
        let entry = Entry::new(SERVER, action, name, now()).with(detail);
        let _ended = done.send(match plugin {
            Some(plugin) => entry.of(&plugin.company_id),
            None => entry,
        });
    }

    /// Returns whether something has changed since the last pass.
    pub(super) fn is_behind(&self) -> bool {
        self.look().is_ok_and(|it| !it.changed.is_empty() || !it.gone.is_empty())
    }

    /// Returns everything to watch, including folders without a plugin.toml, because it may be written last.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let names = visible(&self.dir).unwrap_or_default().into_iter();
        let folders = names.filter_map(|name| Folder::open_in(&self.dir, name).ok());
        let with_shadows = folders.flat_map(|it| {
            let shadow = shadow_of(&it);
            std::iter::once(it).chain(shadow)
        });
        let inside = with_shadows.flat_map(|it| {
            let fixtures = it.is_folder("fixtures").then(|| it.join("fixtures"));
            std::iter::once(it.path().to_owned()).chain(fixtures)
        });
        std::iter::once(self.dir.clone()).chain(inside).collect()
    }
}

/// Orders folders so that companies alternate: a company with many folders does not delay the others.
fn fair(changed: Vec<Changed>) -> Vec<Changed> {
    let mut counts: HashMap<Option<CompanyId>, usize> = HashMap::new();
    let mut turns: Vec<_> = changed
        .into_iter()
        .map(|it| {
            let count = counts.entry(company(&it.path)).or_default();
            *count += 1;
            (*count, it)
        })
        .collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, it)| it).collect()
}

/// Runs `work` on several threads, and passes each result to `take` on this thread as soon as it is available.
fn each<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync, mut take: impl FnMut(R)) {
    let (todo, left) = bounded(all.len());
    let threads = all.len().min(AT_A_TIME);
    all.into_iter().for_each(|it| drop(todo.send(it)));
    drop(todo);
    let (done, results) = unbounded();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (left, done, work) = (left.clone(), done.clone(), &work);
            let run = move || left.iter().for_each(|it| drop(done.send(work(it))));
            if let Err(error) = Builder::new().name("plugin-load".into()).spawn_scoped(scope, run) {
                tracing::warn!(cause = %error, "no further thread can be started; plugins are loaded more slowly");
                break;
            }
        }
        drop(done);
        results.iter().for_each(&mut take);
        // Something is left only if no thread could be started.
        left.iter().for_each(|it| take(work(it)));
    });
}
