//! What the writer, the applier and the readers share.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crossbeam_channel::Sender;

use super::index::Index;
use super::journal::Segments;
use super::names::Names;
use super::options::Options;
use super::snapshot::{self, Snapshot};
use super::view::guarded;
use super::{failure, keys, rebuild};
use crate::store::StoreError;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) segments: Arc<Segments>,
    pub(super) salt: u32,
    pub(super) index: RwLock<Index>,
    names: Mutex<Names>,
    tree: RwLock<Current>,
    /// Wakes the applier when a reader finds the view broken.
    broken: Sender<()>,
    /// The last sequence that anybody was told of.
    acked: AtomicU64,
    progress: Mutex<Progress>,
    moved: Condvar,
    filesystem: File,
    closing: AtomicBool,
    /// Moves with everything that the applier does.
    beat: AtomicU64,
    /// Entries that a view which is being built has so far; 0 while there is none.
    pub(super) rebuilt: AtomicU64,
    /// The newest snapshot. Held while one is taken or the view is built anew: these come one after the other.
    pub(super) snapshot: Mutex<Option<Snapshot>>,
    /// The last segment out of which an integration's old events were erased, by its name.
    forgotten: Mutex<HashMap<String, u64>>,
}

/// The view's tree, and how many were in its place before.
#[derive(Debug, Clone)]
pub(super) struct Current {
    tree: sled::Tree,
    generation: u64,
}

#[derive(Debug)]
struct Progress {
    applied: u64,
    /// Why the journal takes nothing more, until a restart.
    journal: Option<StoreError>,
    /// Why the view cannot be relied upon; it heals by itself.
    view: Option<StoreError>,
    /// It was reading that failed, and no write.
    readable: bool,
    /// The last group found no room on the disk.
    full: bool,
}

/// The parts that a [`Shared`] is made of when a store is opened.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) segments: Arc<Segments>,
    pub(super) salt: u32,
    pub(super) index: Index,
    pub(super) names: Names,
    pub(super) tree: sled::Tree,
    pub(super) applied: u64,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) broken: Sender<()>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> std::io::Result<Self> {
        Ok(Self {
            filesystem: File::open(&parts.dir)?,
            dir: parts.dir,
            options: parts.options,
            segments: parts.segments,
            salt: parts.salt,
            index: RwLock::new(parts.index),
            names: Mutex::new(parts.names),
            tree: RwLock::new(Current { tree: parts.tree, generation: 0 }),
            broken: parts.broken,
            acked: AtomicU64::new(parts.applied),
            progress: Mutex::new(Progress {
                applied: parts.applied,
                journal: None,
                view: None,
                readable: true,
                full: false,
            }),
            moved: Condvar::new(),
            closing: AtomicBool::new(false),
            beat: AtomicU64::new(0),
            rebuilt: AtomicU64::new(0),
            snapshot: Mutex::new(parts.snapshot),
            forgotten: Mutex::default(),
        })
    }

    /// Reads from the view, off the reactor. Where that fails, the view has failed: it is built anew, and the caller
    /// may try again.
    pub(super) fn view<T>(&self, read: impl FnOnce(&sled::Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.view_of(&self.current(), read)
    }

    /// The same from a tree that was current a moment ago.
    pub(super) fn view_of<T>(
        &self,
        current: &Current,
        read: impl FnOnce(&sled::Tree) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        guarded(|| read(&current.tree))
            .map_err(|error| if self.is_current(current) { self.view_failed(error) } else { told(error) })
    }

    /// The index and the tree that belongs to it. Lock order: the index before the tree, as in [`Self::replace`].
    pub(super) fn pair(&self) -> (RwLockReadGuard<'_, Index>, Current) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        (index, current)
    }

    /// Whether no other view has replaced this tree.
    pub(super) fn is_current(&self, current: &Current) -> bool {
        self.current().generation == current.generation
    }

    fn current(&self) -> Current {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another view takes over.
    pub(super) fn replace(&self, tree: sled::Tree, mut index: Index) {
        // Those that are shared are up to date.
        drop(index.take_names());
        let mut current = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        *old = Current { tree, generation: old.generation + 1 };
        *current = index;
        self.progress().view = None;
    }

    /// Where answers are stored: of every key that is durable. Held for a moment only.
    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn rebuilt(&self) -> Option<u64> {
        Some(self.rebuilt.load(Ordering::Relaxed)).filter(|entries| *entries > 0)
    }

    pub(super) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    pub(super) fn set_acked(&self, sequence: u64) {
        self.acked.store(sequence, Ordering::Release);
    }

    pub(super) fn applied(&self) -> u64 {
        self.progress().applied
    }

    pub(super) fn set_applied(&self, sequence: u64) {
        self.progress().applied = sequence;
        self.tick();
        self.moved.notify_all();
    }

    /// The applier is at work.
    pub(super) fn tick(&self) {
        self.beat.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes as long as the applier does anything.
    pub(super) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Relaxed).wrapping_add(self.rebuilt.load(Ordering::Relaxed))
    }

    /// Whether the applier has anything to do.
    pub(super) fn is_behind(&self) -> bool {
        let progress = self.progress();
        progress.view.is_some() || progress.applied < self.acked()
    }

    /// From now on nothing is written, until another view takes over. Gives what callers are told.
    pub(super) fn view_failed(&self, error: StoreError) -> StoreError {
        let readable = matches!(error, StoreError::Read(_) | StoreError::Damaged { .. });
        let error = told(error);
        let mut progress = self.progress();
        progress.readable &= readable;
        progress.view = Some(error.clone());
        drop(progress);
        self.moved.notify_all();
        let _already_awake = self.broken.try_send(());
        error
    }

    /// The view that failed cannot be built anew yet, and why.
    pub(super) fn not_healed(&self, error: StoreError) {
        self.progress().view = Some(told(error));
        self.moved.notify_all();
    }

    /// Whether no write of the view that has failed did so. The next one begins anew.
    pub(super) fn take_readable(&self) -> bool {
        std::mem::replace(&mut self.progress().readable, true)
    }

    /// Whether the last group found no room.
    pub(super) fn set_full(&self, full: bool) {
        self.progress().full = full;
    }

    /// Why the view cannot be relied upon, until it is built anew.
    pub(super) fn view_error(&self) -> Option<StoreError> {
        self.progress().view.clone()
    }

    pub(super) fn journal_failed(&self, error: StoreError) {
        self.progress().journal = Some(error);
    }

    /// Waits until the view has everything that anybody was told of.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.settle_at(self.acked())
    }

    pub(super) fn settle_at(&self, sequence: u64) -> Result<(), StoreError> {
        let mut progress = self.progress();
        while progress.applied < sequence {
            if let Some(error) = &progress.view {
                return Err(error.clone());
            }
            progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Whether reads and writes can be expected to succeed.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        let progress = self.progress();
        if let Some(error) = progress.journal.as_ref().or(progress.view.as_ref()) {
            return Err(error.clone());
        }
        drop(progress);
        self.view(|tree| tree.get(keys::META).map_err(failure::read))?;
        self.room()
    }

    /// Whether more than the reserve is free; and after a write that found no room, another segment's worth.
    pub(super) fn room(&self) -> Result<(), StoreError> {
        let segment = if self.progress().full { self.options.segment_bytes } else { 0 };
        room(&self.filesystem, self.options.reserve_bytes.max(segment))
    }

    /// Whether there is room for a second view, which may use the reserve: it gives back more than that.
    pub(super) fn room_for_view(&self) -> Result<(), StoreError> {
        room(&self.filesystem, rebuild::needs(&self.dir))
    }

    /// Takes a snapshot, unless the newest one covers this sequence already.
    pub(super) fn take_snapshot(&self, at_least: u64) -> Result<Snapshot, StoreError> {
        let mut current = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_snapshot_into(&mut current, at_least)
    }

    pub(super) fn take_snapshot_into(
        &self,
        current: &mut Option<Snapshot>,
        at_least: u64,
    ) -> Result<Snapshot, StoreError> {
        if let Some(snapshot) = current.as_ref().filter(|it| it.sequence >= at_least) {
            return Ok(snapshot.clone());
        }
        self.settle_at(at_least)?;
        let dir = snapshot_dir(&self.dir);
        // In this order: another view that takes over in between has more than this says, and never less.
        let applied = self.applied();
        let tree = self.current().tree;
        let snapshot = match guarded(|| snapshot::write(&tree, applied, &dir, &|| self.closing())) {
            Err(error @ (StoreError::Read(_) | StoreError::Damaged { .. })) => return Err(self.view_failed(error)),
            written => written?,
        };
        if let Err(error) = snapshot::keep_only(&dir, &snapshot) {
            tracing::warn!(cause = %error, "an old snapshot cannot be removed");
        }
        *current = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Bytes of the journal that a rebuild would have to replay, about.
    pub(super) fn journal_after_snapshot(&self) -> u64 {
        let current = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.segments.bytes_after(current.as_ref().map_or(0, |it| it.sequence))
    }

    /// Up to where an integration's old events were erased since the start.
    pub(super) fn forgotten(&self, integration: &str) -> u64 {
        let all = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(integration).copied().unwrap_or(0)
    }

    pub(super) fn set_forgotten(&self, integration: &str, first: u64) {
        let mut all = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(integration.to_owned(), first);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this much is free on a file's disk.
pub(super) fn room(file: impl rustix::fd::AsFd, needed: u64) -> Result<(), StoreError> {
    let free = rustix::fs::fstatvfs(file).map_err(|e| StoreError::Write(e.to_string()))?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    if free < needed { Err(StoreError::Full { free, needed }) } else { Ok(()) }
}

/// What a caller is told of a view that fails: a full disk passes, and everything else is mended by a rebuild.
fn told(error: StoreError) -> StoreError {
    match error {
        StoreError::Full { .. } | StoreError::NoSpace(_) | StoreError::Rebuilding(_) => error,
        other => StoreError::Rebuilding(other.to_string()),
    }
}

pub(super) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

pub(super) fn snapshot_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}
