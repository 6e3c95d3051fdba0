//! Changes of a plugin's folder, for one user who edits it.
//!
//! Notifications wake at once; where there are none (NFS, some container volumes), the files are looked at every second.
//! What counts are the files themselves: editors write one file several times, or replace it by renaming another.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::system::folder::ENTRIES;

/// How often files are looked at without a notification.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Files that did not change for this time are complete.
const QUIET: Duration = Duration::from_millis(80);
/// Files that change all the time are used after this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Size, inode and times of each file.
type Stamp = Vec<(PathBuf, u64, u64, [i64; 4])>;

/// The changes of a folder.
pub(super) struct Changes {
    dir: PathBuf,
    known: Option<Stamp>,
    watcher: Option<RecommendedWatcher>,
    touched: Receiver<()>,
}

impl Changes {
    pub(super) fn new(dir: &Path) -> Self {
        // One message is enough to wake.
        let (touch, touched) = bounded(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|it| matches!(it.kind, notify::EventKind::Access(_))) {
                let _already_awake = touch.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event).ok();
        let mut changes = Self { dir: dir.to_owned(), known: Some(stamp(dir)), watcher, touched };
        changes.watch();
        changes
    }

    /// Returns where notifications arrive.
    pub(super) fn touched(&self) -> &Receiver<()> {
        &self.touched
    }

    /// Makes the next call of [`Self::settled`] find a change.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Waits until files do not change any more. Returns whether they are others than before.
    pub(super) fn settled(&mut self) -> bool {
        let mut now = stamp(&self.dir);
        if self.known.as_ref() == Some(&now) {
            return false;
        }
        let started = Instant::now();
        loop {
            std::thread::sleep(QUIET);
            let then = std::mem::replace(&mut now, stamp(&self.dir));
            if then == now || started.elapsed() > PATIENCE {
                break;
            }
        }
        self.known = Some(now);
        // Another folder may have the name now, or `fixtures/` may be new.
        self.watch();
        true
    }

    fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let around = std::path::absolute(&self.dir).ok().and_then(|it| it.parent().map(Path::to_owned));
        for dir in [Some(self.dir.clone()), Some(self.dir.join("fixtures")), around].into_iter().flatten() {
            let _polled_instead = watcher.watch(&dir, RecursiveMode::NonRecursive);
        }
    }
}

/// Returns the stamp of a folder's files and those of its `fixtures/`; nothing for what cannot be read now.
fn stamp(dir: &Path) -> Stamp {
    let mut files = Vec::new();
    for dir in [dir.to_owned(), dir.join("fixtures")] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().take(ENTRIES).flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Files that editors keep while they are open.
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            if let Ok(of) = std::fs::metadata(entry.path()).as_ref()
                && of.is_file()
            {
                let times = [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()];
                files.push((entry.path(), of.len(), of.ino(), times));
            }
        }
    }
    files.sort();
    files
}
