//! State that is shared by the writer, the applier and the readers.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use crossbeam_channel::Sender;
use uuid::Uuid;

use super::data_dir::journal_dir;
use super::disk::{enough, free, room};
use super::erase::forgotten::Forgotten;
use super::erase::late::Erasures;
use super::horizon::{read_horizon, write_horizon};
use super::index::Index;
use super::journal::{Accepted, Segments};
use super::names::AnswerNames;
use super::options::StoreOptions;
use super::outcomes::{Outcomes, for_callers};
use super::snapshot::Snapshot;
use super::tally::Tally;
use super::view::guarded;
use super::view_dir::needs;
use super::{failure, keys};
use crate::metrics::store::STORE;
use crate::store::error::{Damage, StoreError};
use crate::store::id_time::first_id_of;
use crate::store::in_place::is_in_place;

#[derive(Debug)]
pub(super) struct SharedStore {
    pub(super) dir: PathBuf,
    pub(super) options: StoreOptions,
    pub(super) segments: Arc<Segments>,
    pub(super) salt: u32,
    /// Which history the journal's sequences belong to.
    pub(super) lineage: u64,
    /// The losses in the journal that an admin has accepted.
    pub(super) accepted: Accepted,
    pub(super) index: RwLock<Index>,
    names: Mutex<AnswerNames>,
    tree: RwLock<Current>,
    /// Held by the readiness probe while it writes.
    pub(super) probing: Mutex<()>,
    /// Wakes the applier when a reader finds that the view has failed.
    pub(super) broken: Sender<()>,
    /// The last sequence that was acknowledged.
    pub(super) acked: AtomicU64,
    pub(super) progress: Mutex<Outcomes>,
    pub(super) moved: Condvar,
    filesystem: File,
    pub(super) closing: AtomicBool,
    /// Counts the applier's steps.
    pub(super) beat: AtomicU64,
    /// Number of entries of the view that is being built; 0 if none is.
    pub(super) rebuilt: AtomicU64,
    /// The newest snapshot. Held while a snapshot is taken or read, so that these happen one after the other.
    pub(super) snapshot: Mutex<Option<Snapshot>>,
    /// Held while the files of closed segments are copied, rewritten or removed: a backup must not contain what an
    /// erasure is removing, and must find every segment. Taken before `snapshot` (docs/JOURNAL.md has the lock
    /// order).
    pub(super) files: Mutex<()>,
    /// Number of closed segments that are still to be verified.
    pub(super) unverified: AtomicU64,
    /// Damage that was found while the store was running.
    pub(super) damages: Mutex<Vec<Damage>>,
    /// Events received before this time have expired, in milliseconds since 1970.
    pub(super) horizon: AtomicI64,
    /// Recent erasures: events of these patients may still be on their way to the journal.
    pub(super) erasures: Erasures,
    /// Key of the last block of responses that was emptied because all of them had expired.
    pub(super) emptied: Mutex<Vec<u8>>,
    /// How far `keep_days` has erased old events, by integration.
    pub(super) forgotten: Mutex<Forgotten>,
    /// Counts of events over time.
    pub(super) tally: Tally,
}

/// The current view's tree, and a number that changes with each replacement.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) tree: sled::Tree,
    generation: u64,
}

/// The parts of a [`SharedStore`] when a store is opened.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) options: StoreOptions,
    pub(super) segments: Arc<Segments>,
    pub(super) salt: u32,
    pub(super) lineage: u64,
    pub(super) accepted: Accepted,
    pub(super) index: Index,
    pub(super) names: AnswerNames,
    pub(super) tree: sled::Tree,
    pub(super) applied: u64,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) broken: Sender<()>,
}

impl SharedStore {
    pub(super) fn new(parts: Parts) -> std::io::Result<Self> {
        let journal = journal_dir(&parts.dir);
        STORE.acked.set(parts.applied);
        STORE.applied.set(parts.applied);
        let (forgotten, horizon) = (Forgotten::read(&journal), read_horizon(&journal));
        Ok(Self {
            filesystem: File::open(&parts.dir)?,
            dir: parts.dir,
            options: parts.options,
            segments: parts.segments,
            salt: parts.salt,
            lineage: parts.lineage,
            accepted: parts.accepted,
            index: RwLock::new(parts.index),
            names: Mutex::new(parts.names),
            tree: RwLock::new(Current { tree: parts.tree, generation: 0 }),
            probing: Mutex::default(),
            broken: parts.broken,
            acked: AtomicU64::new(parts.applied),
            progress: Mutex::new(Outcomes {
                applied: parts.applied,
                journal: None,
                view: None,
                readable: true,
                full: false,
                last_write: (true, Instant::now()),
            }),
            moved: Condvar::new(),
            closing: AtomicBool::new(false),
            beat: AtomicU64::new(0),
            rebuilt: AtomicU64::new(0),
            snapshot: Mutex::new(parts.snapshot),
            files: Mutex::default(),
            unverified: AtomicU64::new(0),
            damages: Mutex::default(),
            horizon: AtomicI64::new(horizon),
            erasures: Erasures::read(&journal)?,
            emptied: Mutex::default(),
            forgotten: Mutex::new(forgotten),
            tally: Tally::default(),
        })
    }

    /// Reads from the view; must not be called on an async thread. If reading fails, the view has failed: it is
    /// rebuilt, and the caller may try again.
    pub(super) fn view<T>(&self, read: impl FnOnce(&sled::Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.view_of(&self.current(), read)
    }

    /// Reads from a tree that was current a moment ago.
    pub(super) fn view_of<T>(
        &self,
        current: &Current,
        read: impl FnOnce(&sled::Tree) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        guarded(|| read(&current.tree))
            .map_err(|error| if self.is_current(current) { self.view_failed(error) } else { for_callers(error) })
    }

    /// Returns the index and the tree that belongs to it. Lock order: the index before the tree, as in
    /// [`Self::replace`].
    pub(super) fn pair(&self) -> (RwLockReadGuard<'_, Index>, Current) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        (index, current)
    }

    /// Returns whether this tree is still that of the current view.
    pub(super) fn is_current(&self, current: &Current) -> bool {
        self.current().generation == current.generation
    }

    pub(super) fn current(&self) -> Current {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the current view.
    pub(super) fn replace(&self, tree: sled::Tree, mut index: Index) {
        // The shared names are up to date already.
        drop(index.take_names());
        let mut current = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        *old = Current { tree, generation: old.generation + 1 };
        *current = index;
        self.progress().view = None;
        STORE.view_failed.set(0);
    }

    /// Locks the map of stored responses, which has every durable key. Hold it only briefly.
    pub(super) fn names(&self) -> MutexGuard<'_, AnswerNames> {
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

    /// Counts a step of the applier.
    pub(super) fn tick(&self) {
        self.beat.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a number that changes while the applier makes progress.
    pub(super) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Relaxed).wrapping_add(self.rebuilt.load(Ordering::Relaxed))
    }

    /// Returns whether the journal has accepted losses that no snapshot covers: only the view may have what was lost.
    pub(super) fn lacks_snapshot_of_loss(&self) -> bool {
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.accepted.ends_after(snapshot.as_ref().map_or(0, |it| it.sequence))
    }

    /// Logs damage that was found in the journal while the store is running, and keeps it for the statistics until
    /// a restart.
    pub(super) fn found_damage(&self, damages: Vec<Damage>) {
        for damage in &damages {
            tracing::error!(place = %damage, "the journal is damaged: acknowledged changes cannot be read");
        }
        let mut all = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(damages);
        STORE.damaged.set(all.len() as u64);
    }

    /// Returns the damage found since the start.
    pub(super) fn damages(&self) -> Vec<Damage> {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the time up to which events have expired. It is stored in a file, so that expired events are not shown
    /// again after a restart; the file is not synced, because the next expiry writes it again. The time may go
    /// back, so that a clock that was wrong once does not hide events forever.
    pub(super) fn set_horizon(&self, millis: i64) {
        if self.horizon.swap(millis, Ordering::Relaxed) != millis {
            write_horizon(&journal_dir(&self.dir), millis);
        }
    }

    /// Returns whether an event with this id has expired. Its segment may still exist because of newer events.
    pub(super) fn is_expired(&self, id: Uuid) -> bool {
        id < first_id_of(self.horizon.load(Ordering::Relaxed))
    }

    /// Checks whether reads and writes are expected to succeed.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        let progress = self.progress();
        if let Some(error) = progress.journal.as_ref().or(progress.view.as_ref()) {
            return Err(error.clone());
        }
        drop(progress);
        let damages = self.damages();
        if !damages.is_empty() {
            return Err(StoreError::Journal(damages));
        }
        self.view(|tree| tree.get(keys::META).map_err(failure::read))?;
        is_in_place(&self.dir, &self.filesystem)?;
        self.room()
    }

    /// Checks that more than the reserve is free; after a group that did not fit, at least a segment.
    pub(super) fn room(&self) -> Result<(), StoreError> {
        let segment = if self.progress().full { self.options.segment_bytes } else { 0 };
        let free = free(&self.filesystem)?;
        STORE.sampled.free_bytes.set(free);
        enough(free, self.options.reserve_bytes.max(segment))
    }

    /// Checks that there is room for a second view. It may use the reserve, because the old view frees more than
    /// that.
    pub(super) fn room_for_view(&self) -> Result<(), StoreError> {
        room(&self.filesystem, needs(&self.dir))
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Outcomes> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
