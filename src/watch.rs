//! The plugins folder → the registry, while the server runs: a folder that is dropped in, changed or taken out takes
//! effect without a restart.
//!
//! One thread does it, off the serving path. It is woken by the file system's notifications, and by [`Watch::reload`]
//! for mounts that have none. `watch/loader.rs` has what it does then, `watch/folder.rs` how one folder is
//! loaded, `watch/stamp.rs` how a change is seen.

mod folder;
mod loader;
mod stamp;

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select, unbounded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::oneshot;

pub use loader::{Loader, Pass};

type Answer = oneshot::Sender<Result<Pass, String>>;

/// How the folder is watched.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether the file system's notifications count: yes.
    pub notifications: bool,
    /// How long a folder must not have changed before it is loaded: 500 ms.
    pub settle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { notifications: true, settle: Duration::from_millis(500) }
    }
}

/// Asks the thread that watches. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    requests: Sender<Answer>,
}

impl Watch {
    /// Loads everything in the background, then watches.
    ///
    /// # Errors
    /// Where the plugins folder cannot be read, or no thread can be had.
    pub fn start(mut loader: Loader, settings: Settings) -> std::io::Result<Self> {
        loader.start()?;
        let (requests, asked) = unbounded();
        let thread = std::thread::Builder::new().name("plugin-watch".into());
        thread.spawn(move || Thread::new(loader, settings).run(&asked))?;
        Ok(Self { requests })
    }

    /// Looks at the folder now, and tries again what was refused.
    ///
    /// # Errors
    /// Why it cannot be looked at.
    pub async fn reload(&self) -> Result<Pass, String> {
        let (done, answer) = oneshot::channel();
        let ended = || "the thread that loads plugins has ended".to_owned();
        self.requests.send(done).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

struct Thread {
    loader: Loader,
    settings: Settings,
    watcher: Option<RecommendedWatcher>,
    touched: Receiver<()>,
}

impl Thread {
    fn new(loader: Loader, settings: Settings) -> Self {
        // One is enough: it says that there is something to look at.
        let (touch, touched) = bounded(1);
        let told = move |event: notify::Result<notify::Event>| {
            let reading = event.is_ok_and(|it| matches!(it.kind, notify::EventKind::Access(_)));
            if !reading {
                let _already_awake = touch.try_send(());
            }
        };
        let watcher = settings.notifications.then(|| notify::recommended_watcher(told)).and_then(|watcher| {
            let told = |e: &notify::Error| tracing::warn!(cause = %e, "the plugins folder cannot be watched; POST /v1/admin/plugins/reload or SIGHUP reload it");
            watcher.inspect_err(told).ok()
        });
        // Without a watcher there are requests only.
        let touched = if watcher.is_some() { touched } else { never() };
        Self { loader, settings, watcher, touched }
    }

    fn run(mut self, asked: &Receiver<Answer>) {
        self.watch_all();
        let _ = self.pass(Duration::ZERO, Vec::new());
        self.loader.registry.started();
        let mut behind = true;
        loop {
            let mut waiting = Vec::new();
            if !(behind && self.watcher.is_some() && self.loader.is_behind()) {
                select! {
                    recv(self.touched) -> _ => {}
                    recv(asked) -> answer => match answer {
                        Ok(answer) => waiting.push(answer),
                        Err(_) => return,
                    },
                }
            }
            waiting.extend(asked.try_iter());
            behind = self.pass(self.settings.settle, waiting);
        }
    }

    /// Whether the folder could be read.
    fn pass(&mut self, settle: Duration, waiting: Vec<Answer>) -> bool {
        let result = self.loader.pass(settle, !waiting.is_empty()).map_err(|e| {
            tracing::error!(cause = %e, "the plugins folder cannot be read: everything stays as it is");
            format!("the plugins folder cannot be read: {e}")
        });
        for answer in waiting {
            let _gone = answer.send(result.clone());
        }
        self.watch_all();
        result.is_ok()
    }

    /// Notifications come for a folder's own files only, so each folder is watched by itself; again after each pass,
    /// since another folder may have taken the name.
    fn watch_all(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for path in self.loader.watched() {
            if let Err(error) = watcher.watch(&path, RecursiveMode::NonRecursive) {
                tracing::warn!(cause = %error, path = %path.display(), "a plugin folder cannot be watched; SIGHUP reloads it");
            }
        }
    }
}
