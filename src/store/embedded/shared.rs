//! State that is shared by the writer, the applier and the readers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use uuid::Uuid;

use super::erase::{Erasures, Forgotten};
use super::events::first_id_of;
use super::index::Index;
use super::journal::{Accepted, HORIZON, Segments};
use super::names::Names;
use super::options::Options;
use super::snapshot::Snapshot;
use super::view::guarded;
use super::{failure, keys, place, rebuild, snapshot};
use crate::metrics::store::STORE;
use crate::store::error::{Damage, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) segments: Arc<Segments>,
    pub(super) salt: u32,
    /// The losses in the journal that an admin has accepted.
    pub(super) accepted: Accepted,
    pub(super) index: RwLock<Index>,
    names: Mutex<Names>,
    tree: RwLock<Current>,
    /// Held by the readiness probe while it writes.
    pub(super) probing: Mutex<()>,
    /// Wakes the applier when a reader finds that the view has failed.
    broken: Sender<()>,
    /// The last sequence that was acknowledged.
    acked: AtomicU64,
    progress: Mutex<Progress>,
    moved: Condvar,
    filesystem: File,
    closing: AtomicBool,
    /// Counts the applier's steps.
    beat: AtomicU64,
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
    damages: Mutex<Vec<Damage>>,
    /// Events received before this time have expired, in milliseconds since 1970.
    horizon: AtomicI64,
    /// Recent erasures: events of these patients may still be on their way to the journal.
    pub(super) erasures: Erasures,
    /// Key of the last block of responses that was emptied because all of them had expired.
    pub(super) emptied: Mutex<Vec<u8>>,
    /// How far `keep_days` has erased old events, by integration.
    pub(super) forgotten: Mutex<Forgotten>,
}

/// The current view's tree, and a number that changes with each replacement.
#[derive(Debug, Clone)]
pub(super) struct Current {
    tree: sled::Tree,
    generation: u64,
}

#[derive(Debug)]
struct Progress {
    applied: u64,
    /// Why the journal accepts no more writes until a restart.
    journal: Option<StoreError>,
    /// Why the view has failed, until it is rebuilt.
    view: Option<StoreError>,
    /// Whether only reads of the view have failed, and no write.
    readable: bool,
    /// Whether the last group did not fit on the disk.
    full: bool,
    /// Whether the last write succeeded, and when this was known.
    last_write: (bool, Instant),
}

/// The parts of a [`Shared`] when a store is opened.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) segments: Arc<Segments>,
    pub(super) salt: u32,
    pub(super) accepted: Accepted,
    pub(super) index: Index,
    pub(super) names: Names,
    pub(super) tree: sled::Tree,
    pub(super) applied: u64,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) broken: Sender<()>,
}

impl Shared {
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
            accepted: parts.accepted,
            index: RwLock::new(parts.index),
            names: Mutex::new(parts.names),
            tree: RwLock::new(Current { tree: parts.tree, generation: 0 }),
            probing: Mutex::default(),
            broken: parts.broken,
            acked: AtomicU64::new(parts.applied),
            progress: Mutex::new(Progress {
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

    fn current(&self) -> Current {
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
        STORE.acked.set(sequence);
    }

    pub(super) fn applied(&self) -> u64 {
        self.progress().applied
    }

    pub(super) fn set_applied(&self, sequence: u64) {
        self.progress().applied = sequence;
        STORE.applied.set(sequence);
        self.tick();
        self.moved.notify_all();
    }

    /// Counts a step of the applier.
    pub(super) fn tick(&self) {
        self.beat.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a number that changes while the applier makes progress.
    pub(super) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Relaxed).wrapping_add(self.rebuilt.load(Ordering::Relaxed))
    }

    /// Returns whether the applier has work to do.
    pub(super) fn is_behind(&self) -> bool {
        let progress = self.progress();
        match &progress.view {
            // The applier can do nothing about a damaged journal.
            Some(StoreError::Journal(_)) => false,
            Some(_) => true,
            None => progress.applied < self.acked(),
        }
    }

    /// Marks the view as failed: writes are refused until another view takes over. Returns the error for callers.
    pub(super) fn view_failed(&self, error: StoreError) -> StoreError {
        let readable = matches!(error, StoreError::Read(_) | StoreError::Damaged { .. });
        let error = for_callers(error);
        let mut progress = self.progress();
        progress.readable &= readable;
        progress.view = Some(error.clone());
        drop(progress);
        STORE.view_failed.set(1);
        self.moved.notify_all();
        let _already_awake = self.broken.try_send(());
        error
    }

    /// Records why the failed view cannot be rebuilt yet.
    pub(super) fn not_healed(&self, error: StoreError) {
        self.progress().view = Some(for_callers(error));
        self.moved.notify_all();
    }

    /// Returns whether only reads of the failed view have failed, and resets this for the next view.
    pub(super) fn take_readable(&self) -> bool {
        std::mem::replace(&mut self.progress().readable, true)
    }

    /// Records whether the last group did not fit on the disk.
    pub(super) fn set_full(&self, full: bool) {
        self.progress().full = full;
    }

    /// Returns why the view has failed; `None` once it is rebuilt.
    pub(super) fn view_error(&self) -> Option<StoreError> {
        self.progress().view.clone()
    }

    pub(super) fn journal_failed(&self, error: StoreError) {
        STORE.journal_failed.set(1);
        self.progress().journal = Some(error);
    }

    /// Waits until the view has everything that was acknowledged.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.settle_at(self.acked())
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
            let (journal, temporary) = (journal_dir(&self.dir), journal_dir(&self.dir).join("horizon.tmp"));
            let crc = crc32fast::hash(&millis.to_le_bytes()).to_le_bytes();
            let written = std::fs::write(&temporary, [&millis.to_le_bytes()[..], &crc].concat());
            if let Err(error) = written.and_then(|()| std::fs::rename(temporary, journal.join(HORIZON))) {
                tracing::warn!(cause = %error, "the expiry time of events cannot be written");
            }
        }
    }

    /// Returns whether an event with this id has expired. Its segment may still exist because of newer events.
    pub(super) fn is_expired(&self, id: Uuid) -> bool {
        id < first_id_of(self.horizon.load(Ordering::Relaxed))
    }

    pub(super) fn settle_at(&self, sequence: u64) -> Result<(), StoreError> {
        let mut progress = self.progress();
        // A view that cannot be rebuilt answers no reads, even if it still has some data.
        if let Some(error @ StoreError::Journal(_)) = &progress.view {
            return Err(error.clone());
        }
        while progress.applied < sequence {
            if let Some(error) = &progress.view {
                return Err(error.clone());
            }
            progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
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
        place::is_in_place(&self.dir, &self.filesystem)?;
        self.room()
    }

    /// Records the outcome of a write.
    pub(super) fn wrote(&self, succeeded: bool) {
        self.progress().last_write = (succeeded, Instant::now());
    }

    /// Records the outcome of a probe that began at this time, unless a write has failed since.
    pub(super) fn probed(&self, succeeded: bool, began: Instant) {
        let mut progress = self.progress();
        let (last, at) = progress.last_write;
        if last || at < began {
            progress.last_write = (succeeded, Instant::now());
        }
    }

    /// Pretends that the last write succeeded this long ago.
    #[cfg(test)]
    pub(super) fn forget_last_write(&self, ago: Duration) {
        self.progress().last_write = (true, Instant::now().checked_sub(ago).unwrap());
    }

    /// Returns whether the last write succeeded, and how long ago this was known.
    pub(super) fn last_write(&self) -> (bool, Duration) {
        let (succeeded, at) = self.progress().last_write;
        (succeeded, at.elapsed())
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
        // In this order: a view that takes over in between has more changes than `applied` says, never fewer.
        let applied = self.applied();
        let tree = self.current().tree;
        // The applier may be waiting for this lock to rebuild the view. This tick tells the watchdog that it does
        // not hang.
        let go_on = || {
            self.tick();
            !self.closing()
        };
        let written = guarded(|| snapshot::write(&tree, applied, &dir, &go_on));
        if !self.closing() {
            STORE.snapshots.ended(written.is_ok());
        }
        let snapshot = match written {
            Err(error @ (StoreError::Read(_) | StoreError::Damaged { .. })) => return Err(self.view_failed(error)),
            written => written?,
        };
        if let Err(error) = snapshot::keep_only(&dir, &snapshot) {
            tracing::warn!(cause = %error, "an old snapshot cannot be removed");
        }
        *current = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Returns about how many bytes of the journal a rebuild would have to replay.
    pub(super) fn journal_after_snapshot(&self) -> u64 {
        let current = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.segments.bytes_after(current.as_ref().map_or(0, |it| it.sequence))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that this much space is free on a file's disk, in bytes.
pub(super) fn room(file: impl rustix::fd::AsFd, needed: u64) -> Result<(), StoreError> {
    enough(free(file)?, needed)
}

/// Bytes that are free on a file's disk.
fn free(file: impl rustix::fd::AsFd) -> Result<u64, StoreError> {
    let free = rustix::fs::fstatvfs(file).map_err(|e| StoreError::Write(e.to_string()))?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}

fn enough(free: u64, needed: u64) -> Result<(), StoreError> {
    if free < needed { Err(StoreError::Full { free, needed }) } else { Ok(()) }
}

/// Returns the error for callers when the view fails: a full disk is temporary, a damaged journal remains damaged,
/// and everything else is repaired by a rebuild.
fn for_callers(error: StoreError) -> StoreError {
    match error {
        StoreError::Full { .. } | StoreError::NoSpace(_) | StoreError::Rebuilding(_) | StoreError::Journal(_) => error,
        other => StoreError::Rebuilding(other.to_string()),
    }
}

/// Reads the time up to which events of this journal have expired, in milliseconds since 1970. The file has a
/// number and its CRC-32, little endian. A damaged file hides no event; the next expiry writes it again.
pub(super) fn read_horizon(journal: &Path) -> i64 {
    let bytes = std::fs::read(journal.join(HORIZON)).unwrap_or_default();
    match bytes.split_first_chunk::<8>() {
        Some((millis, crc)) if *crc == crc32fast::hash(millis).to_le_bytes() => i64::from_le_bytes(*millis),
        _ if bytes.is_empty() => i64::MIN,
        _ => {
            tracing::warn!(
                "{HORIZON} in the journal's folder is damaged: expired events may be shown until the next sweep"
            );
            i64::MIN
        }
    }
}

pub(super) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

pub(super) fn snapshot_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}
