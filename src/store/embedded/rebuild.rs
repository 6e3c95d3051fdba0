//! A view from the last snapshot and the journal.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::index::Index;
use super::journal::{Accepted, sync_dir};
use super::shared::{Shared, journal_dir, room};
use super::snapshot::{self, Snapshot};
use super::source::Source;
use super::upkeep::size_of;
use super::view::View;
use super::{failure, headroom};
use crate::store::StoreError;

/// Names the directory of the view that is in use.
const CURRENT: &str = "view.current";

/// The directory of the view: `sled-1` at first, a later number after each rebuild. None where no view was ever whole:
/// only what was built to its end is named.
pub(super) fn current(dir: &Path) -> Option<PathBuf> {
    let name = std::fs::read_to_string(dir.join(CURRENT)).ok()?;
    number(&name).map(|_| dir.join(name))
}

/// Whether a directory is one that is, or was, served from; a backup is not.
#[must_use]
pub fn has_view(dir: &Path) -> bool {
    current(dir).is_some()
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("sled-")?.parse().ok()
}

/// Bytes that another view in the place of this one may take.
pub(super) fn needs(dir: &Path) -> u64 {
    current(dir).and_then(|it| size_of(&it).ok()).unwrap_or(0) + headroom::BYTES
}

/// A directory that no view has used yet: never the present one's, even where that is gone.
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

/// A view in a directory of its own, which no start looks at yet.
#[derive(Debug)]
pub(super) struct Built {
    view: View,
    index: Index,
    path: PathBuf,
}

/// A new view in a new directory, up to this sequence.
fn build(dir: &Path, source: Source<'_>, until: u64) -> Result<Built, StoreError> {
    let path = next(dir).map_err(|e| StoreError::Read(e.to_string()))?;
    let filled = match (source.fill(&path, until), source.without_snapshot()) {
        (Err(error @ StoreError::Damaged { what: "snapshot", .. }), Some(journal)) => {
            tracing::warn!(cause = %error, "the snapshot is damaged; the journal has everything");
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

/// Removes what a rebuild that was killed has left behind.
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

/// At the start: instead of a view that is missing or not whole.
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
    /// It is not wanted any more.
    pub(super) fn give_up(self) {
        give_up(self.view, &self.path);
    }
}

fn give_up(view: View, path: &Path) {
    view.discard(false);
    remove_old(Some(path));
}

/// While the store runs: a view that is up to now, and falls behind until it takes over.
pub(super) fn beside(shared: &Shared) -> Result<Built, StoreError> {
    let snapshot = shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
    build(&shared.dir, source(shared, snapshot.as_ref()), shared.applied())
        .inspect_err(|_| shared.rebuilt.store(0, Ordering::Relaxed))
}

/// Brings a view up to `applied`, and lets it take the place of the present one; gives the directory of that, to be
/// removed when nothing uses it any more.
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

/// The same in one go, where the present view has failed: up to everything that anybody was told of.
pub(super) fn anew(shared: &Shared) -> Result<(View, Option<PathBuf>), StoreError> {
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

/// Removes a view that another has replaced.
pub(super) fn remove_old(old: Option<&Path>) {
    if let Some(Err(error)) = old.map(remove_dir) {
        tracing::warn!(cause = %error, "the old view cannot be removed");
    }
}

/// One damaged view is kept to be looked at.
pub(super) fn put_aside(dir: &Path, old: &Path) {
    let aside = dir.join("sled.damaged");
    let moved = std::fs::remove_dir_all(&aside)
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .and_then(|()| std::fs::rename(old, &aside));
    match moved {
        Ok(()) => tracing::warn!(directory = %aside.display(), "the damaged view was put aside; it can be deleted"),
        Err(error) => {
            tracing::warn!(cause = %error, directory = %old.display(), "the damaged view cannot be put aside")
        }
    }
}

/// Whether snapshot and journal come to the same content as this view, which the journal may be ahead of.
pub(super) fn agrees(dir: &Path, view: &View) -> Result<bool, StoreError> {
    let (segments, salt) = super::journal::read_only(&journal_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    let scratch = dir.join("check.tmp");
    remove_dir(&scratch)?;
    let file = std::fs::File::open(dir).map_err(|e| StoreError::Read(e.to_string()))?;
    room(file, needs(dir))?;
    let snapshot = snapshot::newest(&super::shared::snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    // A snapshot may hold changes that a view which is behind has not seen: then there is nothing to compare.
    let snapshot = snapshot.filter(|it| it.sequence <= view.meta.applied);
    let (accepted, entries) = (Accepted::read(&journal_dir(dir)), AtomicU64::new(0));
    let source =
        Source { snapshot: snapshot.as_ref(), segments: &segments, salt, accepted: &accepted, entries: &entries };
    let compared = source.fill(&scratch, view.meta.applied).map(|(other, _)| other.meta == view.meta);
    remove_dir(&scratch)?;
    compared
}

/// Whether this directory holds a journal.
pub(super) fn has_journal(dir: &Path) -> bool {
    journal_dir(dir).is_dir()
}
