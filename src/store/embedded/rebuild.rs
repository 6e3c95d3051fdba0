//! Building a read view from the last snapshot and the journal.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::data_dir::{journal_dir, snapshot_dir};
use super::disk::room;
use super::failure;
use super::index::Index;
use super::journal::{Accepted, read_only};
use super::shared::SharedStore;
use super::snapshot::{self, Snapshot};
use super::source::Source;
use super::view::View;
use super::view_dir::{current, needs, next, put_aside, remove_dir, remove_old, set_current};
use crate::store::error::StoreError;

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

/// Builds a view at the start if the current one is missing or incomplete.
pub(super) fn at_start(dir: &Path, journal: Source<'_>, until: u64) -> Result<(View, Index), StoreError> {
    let old = current(dir);
    let snapshot = snapshot::newest(&snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
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
pub(super) fn in_background(shared: &SharedStore) -> Result<Built, StoreError> {
    let snapshot = shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
    build(&shared.dir, source(shared, snapshot.as_ref()), shared.applied())
        .inspect_err(|_| shared.rebuilt.store(0, Ordering::Relaxed))
}

/// Updates a view to `applied` and makes it the current one. Returns the directory of the old view, to be removed
/// when it is no longer used.
pub(super) fn take_over(
    shared: &SharedStore,
    built: Built,
    applied: u64,
) -> Result<(View, Option<PathBuf>), StoreError> {
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
pub(super) fn replace_failed(shared: &SharedStore) -> Result<(View, Option<PathBuf>), StoreError> {
    let applied = shared.acked();
    let snapshot = shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
    let built = build(&shared.dir, source(shared, snapshot.as_ref()), applied);
    drop(snapshot);
    take_over(shared, built.inspect_err(|_| shared.rebuilt.store(0, Ordering::Relaxed))?, applied)
}

fn source<'a>(shared: &'a SharedStore, snapshot: Option<&'a Snapshot>) -> Source<'a> {
    let SharedStore { segments, salt, accepted, rebuilt, .. } = shared;
    Source { snapshot, segments, salt: *salt, accepted, entries: rebuilt }
}

/// Returns whether snapshot and journal yield the same content as this view, which may be behind the journal.
pub(super) fn agrees(dir: &Path, view: &View) -> Result<bool, StoreError> {
    let (segments, salt) = read_only(&journal_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    let scratch = dir.join("check.tmp");
    remove_dir(&scratch)?;
    let file = std::fs::File::open(dir).map_err(|e| StoreError::Read(e.to_string()))?;
    room(file, needs(dir))?;
    let snapshot = snapshot::newest(&snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    // A snapshot that is newer than the view cannot be compared with it.
    let snapshot = snapshot.filter(|it| it.sequence <= view.meta.applied);
    let (accepted, entries) = (Accepted::read(&journal_dir(dir)), AtomicU64::new(0));
    let source =
        Source { snapshot: snapshot.as_ref(), segments: &segments, salt, accepted: &accepted, entries: &entries };
    let compared = source.fill(&scratch, view.meta.applied).map(|(other, _)| other.meta == view.meta);
    remove_dir(&scratch)?;
    compared
}
