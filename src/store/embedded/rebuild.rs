//! Building a read view from the last snapshot and the journal.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::index::Index;
use super::journal::{Accepted, sync_dir};
use super::shared::{Shared, journal_dir, room};
use super::snapshot::Snapshot;
use super::source::Source;
use super::upkeep::size_of;
use super::view::View;
use super::{failure, headroom, snapshot};
use crate::store::error::StoreError;

/// File that names the directory of the current view.
const CURRENT: &str = "view.current";

/// Returns the directory of the current view: `sled-1` at first, with a higher number after each rebuild. `None` if
/// no view was ever complete, because a view is named only after it was built completely.
pub(super) fn current(dir: &Path) -> Option<PathBuf> {
    let name = std::fs::read_to_string(dir.join(CURRENT)).ok()?;
    number(&name).map(|_| dir.join(name))
}

/// Returns whether a server has used this directory; false for a backup.
#[must_use]
pub fn has_view(dir: &Path) -> bool {
    current(dir).is_some()
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("sled-")?.parse().ok()
}

/// Returns the maximum disk space that a rebuilt view may need, in bytes.
pub(super) fn needs(dir: &Path) -> u64 {
    current(dir).and_then(|it| size_of(&it).ok()).unwrap_or(0) + headroom::BYTES
}

/// Returns a directory name that no view has used yet, not even the current one if it is missing.
fn next(dir: &Path) -> std::io::Result<PathBuf> {
    let mut highest = current(dir).and_then(|it| number(&it.file_name()?.to_string_lossy())).unwrap_or(0);
    for entry in std::fs::read_dir(dir)? {
        highest = highest.max(number(&entry?.file_name().to_string_lossy()).unwrap_or(0));
    }
    Ok(dir.join(format!("sled-{}", highest + 1)))
}

fn set_current(dir: &Path, view: &Path) -> std::io::Result<()> {
    let temporary = dir.join("view.tmp");
    std::fs::write(&temporary, view.file_name().unwrap_or_default().as_encoded_bytes())?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, dir.join(CURRENT))?;
    sync_dir(dir)
}

/// A complete view in a directory of its own that is not the current one yet.
#[derive(Debug)]
pub(super) struct Built {
    view: View,
    index: Index,
    path: PathBuf,
}

/// Builds a view in a new directory, up to this sequence.
fn build(dir: &Path, source: Source<'_>, until: u64) -> Result<Built, StoreError> {
    let path = next(dir).map_err(|e| StoreError::Read(e.to_string()))?;
    let filled = match (source.fill(&path, until), source.without_snapshot()) {
        (Err(error @ StoreError::Damaged { what: "snapshot", .. }), Some(journal)) => {
            tracing::warn!(cause = %error, "the snapshot is damaged; the view is built from the journal, which has all changes");
            remove_dir(&path)?;
            journal.fill(&path, until)
        }
        (filled, _) => filled,
    };
    match filled {
        Ok((view, index)) => Ok(Built { view, index, path }),
        Err(error) => {
            remove_dir(&path)?;
            Err(error)
        }
    }
}

fn remove_dir(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Write(e.to_string())),
        _ => Ok(()),
    }
}

/// Removes what an interrupted rebuild has left behind.
pub(super) fn remove_strays(dir: &Path) -> std::io::Result<()> {
    let current = current(dir);
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if (name.starts_with("sled-") || name == "check.tmp") && Some(&path) != current.as_ref() {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Builds a view at the start if the current one is missing or incomplete.
pub(super) fn at_start(dir: &Path, journal: Source<'_>, until: u64) -> Result<(View, Index), StoreError> {
    let old = current(dir);
    let snapshot = snapshot::newest(&super::shared::snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    let Built { view, index, path } = build(dir, Source { snapshot: snapshot.as_ref(), ..journal }, until)?;
    set_current(dir, &path).map_err(|e| failure::io(&e, StoreError::Write))?;
    if let Some(old) = old.filter(|it| it.exists()) {
        put_aside(dir, &old);
    }
    Ok((view, index))
}

impl Built {
    /// Discards the view and its directory.
    pub(super) fn give_up(self) {
        give_up(self.view, &self.path);
    }
}

fn give_up(view: View, path: &Path) {
    view.discard(false);
    remove_old(Some(path));
}

/// Builds a view while the store runs. It is up to date at first, and falls behind until it takes over.
pub(super) fn in_background(shared: &Shared) -> Result<Built, StoreError> {
    let snapshot = shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
    build(&shared.dir, source(shared, snapshot.as_ref()), shared.applied())
        .inspect_err(|_| shared.rebuilt.store(0, Ordering::Relaxed))
}

/// Updates a view to `applied` and makes it the current one. Returns the directory of the old view, to be removed
/// when it is no longer used.
pub(super) fn take_over(shared: &Shared, built: Built, applied: u64) -> Result<(View, Option<PathBuf>), StoreError> {
    let Built { mut view, index, path } = built;
    let old = current(&shared.dir);
    let index = RwLock::new(index);
    let ready = source(shared, None)
        .catch_up(&mut view, &index, applied, false)
        .and_then(|()| set_current(&shared.dir, &path).map_err(|e| failure::io(&e, StoreError::Write)));
    shared.rebuilt.store(0, Ordering::Relaxed);
    if let Err(error) = ready {
        give_up(view, &path);
        return Err(error);
    }
    shared.replace(view.tree.clone(), index.into_inner().unwrap_or_else(PoisonError::into_inner));
    shared.set_applied(applied);
    Ok((view, old))
}

/// Builds a view up to everything acknowledged and makes it the current one, after the old one has failed.
pub(super) fn replace_failed(shared: &Shared) -> Result<(View, Option<PathBuf>), StoreError> {
    let applied = shared.acked();
    let snapshot = shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
    let built = build(&shared.dir, source(shared, snapshot.as_ref()), applied);
    drop(snapshot);
    take_over(shared, built.inspect_err(|_| shared.rebuilt.store(0, Ordering::Relaxed))?, applied)
}

fn source<'a>(shared: &'a Shared, snapshot: Option<&'a Snapshot>) -> Source<'a> {
    let Shared { segments, salt, accepted, rebuilt, .. } = shared;
    Source { snapshot, segments, salt: *salt, accepted, entries: rebuilt }
}

/// Removes the directory of a view that was replaced.
pub(super) fn remove_old(old: Option<&Path>) {
    if let Some(Err(error)) = old.map(remove_dir) {
        tracing::warn!(cause = %error, "the directory of the old read view cannot be removed");
    }
}

/// Keeps one damaged view for inspection.
pub(super) fn put_aside(dir: &Path, old: &Path) {
    let aside = dir.join("sled.damaged");
    let moved = std::fs::remove_dir_all(&aside)
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .and_then(|()| std::fs::rename(old, &aside));
    match moved {
        Ok(()) => {
            tracing::warn!(directory = %aside.display(), "the damaged read view was moved here for inspection; it can be deleted")
        }
        Err(error) => {
            tracing::warn!(cause = %error, directory = %old.display(), "the damaged read view cannot be moved away")
        }
    }
}

/// Returns whether snapshot and journal yield the same content as this view, which may be behind the journal.
pub(super) fn agrees(dir: &Path, view: &View) -> Result<bool, StoreError> {
    let (segments, salt) = super::journal::read_only(&journal_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    let scratch = dir.join("check.tmp");
    remove_dir(&scratch)?;
    let file = std::fs::File::open(dir).map_err(|e| StoreError::Read(e.to_string()))?;
    room(file, needs(dir))?;
    let snapshot = snapshot::newest(&super::shared::snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    // A snapshot that is newer than the view cannot be compared with it.
    let snapshot = snapshot.filter(|it| it.sequence <= view.meta.applied);
    let (accepted, entries) = (Accepted::read(&journal_dir(dir)), AtomicU64::new(0));
    let source =
        Source { snapshot: snapshot.as_ref(), segments: &segments, salt, accepted: &accepted, entries: &entries };
    let compared = source.fill(&scratch, view.meta.applied).map(|(other, _)| other.meta == view.meta);
    remove_dir(&scratch)?;
    compared
}

/// Returns whether this directory contains a journal.
pub(super) fn has_journal(dir: &Path) -> bool {
    journal_dir(dir).is_dir()
}
