//! The thread that watches the plugins folder.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select, unbounded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::oneshot;

use super::loader::{Loader, Pass};
use crate::config::watch::Settings;

type Answer = oneshot::Sender<Result<Pass, String>>;

/// A request for a pass.
struct PassRequest {
    /// Whether refused folders are tried again, and secrets are read again.
    again: bool,
    answer: Answer,
}

/// Handle of the watching thread. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    requests: Sender<PassRequest>,
}

impl Watch {
    /// Loads all folders in the background, then watches them.
    ///
    /// # Errors
    /// Fails if the plugins folder cannot be read, or the thread cannot be started.
    pub fn start(mut loader: Loader, settings: Settings) -> std::io::Result<Self> {
        loader.start()?;
        let (requests, asked) = unbounded();
        let thread = std::thread::Builder::new().name("plugin-watch".into());
        thread.spawn(move || Thread::new(loader, settings).run(&asked))?;
        Ok(Self { requests })
    }

    /// Reloads the folder now, and retries refused folders.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn reload(&self) -> Result<Pass, String> {
        self.ask(true).await
    }

    /// Loads what has changed now.
    ///
    /// # Errors
    /// Why the folder cannot be read.
    pub async fn look(&self) -> Result<Pass, String> {
        self.ask(false).await
    }

    async fn ask(&self, again: bool) -> Result<Pass, String> {
        let (answer, answered) = oneshot::channel();
        let ended = || "the thread that loads plugins has ended".to_owned();
        self.requests.send(PassRequest { again, answer }).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
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
        // One message is enough to wake the thread.
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
        // Without a watcher, only requests wake the thread.
        let touched = if watcher.is_some() { touched } else { never() };
        Self { loader, settings, watcher, touched }
    }

    fn run(mut self, asked: &Receiver<PassRequest>) {
        self.watch_all();
        let _ = self.pass(Duration::ZERO, Vec::new());
        let mut behind = true;
        loop {
            let mut waiting = Vec::new();
            if !(behind && self.watcher.is_some() && self.loader.is_behind()) {
                select! {
                    recv(self.touched) -> _ => {}
                    recv(asked) -> request => match request {
                        Ok(request) => waiting.push(request),
                        Err(_) => return,
                    },
                }
            }
            waiting.extend(asked.try_iter());
            behind = self.pass(self.settings.settle, waiting);
        }
    }

    /// Loads changes. Returns whether the folder could be read.
    fn pass(&mut self, settle: Duration, waiting: Vec<PassRequest>) -> bool {
        let again = waiting.iter().any(|it| it.again);
        let result = self.loader.pass(settle, again).map_err(|e| {
            tracing::error!(cause = %e, "the plugins folder cannot be read; the live plugins remain unchanged");
            format!("the plugins folder cannot be read: {e}")
        });
        for request in waiting {
            let _gone = request.answer.send(result.clone());
        }
        self.watch_all();
        if self.loader.registry.is_starting() && self.loader.knows_folders() {
            self.loader.registry.started();
        }
        result.is_ok()
    }

    /// Watches each folder separately, because notifications are sent only for a folder's own files. Repeated after
    /// each pass, because another folder may have the name now.
    fn watch_all(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for path in self.loader.watched() {
            if let Err(error) = watcher.watch(&path, RecursiveMode::NonRecursive) {
                tracing::warn!(cause = %error, path = %path.display(), "a plugin folder cannot be watched; SIGHUP reloads it");
            }
        }
    }
}
