//! What the writer, the applier and the readers share.

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
use super::snapshot::{self, Snapshot};
use super::view::guarded;
use super::{failure, keys, place, rebuild};
use crate::store::{Damage, StoreError};

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
    /// Held by the readiness probe that writes.
    pub(super) probing: Mutex<()>,
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
    /// The newest snapshot. Held while one is taken or read: these happen one after the other.
    pub(super) snapshot: Mutex<Option<Snapshot>>,
    /// Held while the files of closed segments are copied, rewritten or removed: a backup must not have what an erasure
    /// removes meanwhile, and must find every segment. Taken before `snapshot` (docs/JOURNAL.md has the order of locks).
    pub(super) files: Mutex<()>,
    /// Closed segments that are still to be verified.
    pub(super) unverified: AtomicU64,
    /// Damage that was found while the store was running.
    damages: Mutex<Vec<Damage>>,
    /// Events received before this are past their retention, in milliseconds since 1970.
    horizon: AtomicI64,
    /// Erasures whose patients' events may still be on their way to the journal.
    pub(super) erasures: Erasures,
    /// The key of the last block of answers that was emptied, as all in it had expired.
    pub(super) emptied: Mutex<Vec<u8>>,
    /// Where old events were erased from, by integration.
    pub(super) forgotten: Mutex<Forgotten>,
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
    /// Whether the last write succeeded, and when that was known.
    last_write: (bool, Instant),
}

/// The parts that a [`Shared`] is made of when a store is opened.
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
        match &progress.view {
            // Nothing that it could do would help.
            Some(StoreError::Journal(_)) => false,
            Some(_) => true,
            None => progress.applied < self.acked(),
        }
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

    /// Waits until the view has everything that was acknowledged.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.settle_at(self.acked())
    }

    /// Damage in the journal, found while the store is running: it is logged, and shown until a restart.
    pub(super) fn found_damage(&self, damages: Vec<Damage>) {
        for damage in &damages {
            tracing::error!(place = %damage, "the journal is damaged: acknowledged changes cannot be read");
        }
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).extend(damages);
    }

    /// Damage that was found since the start.
    pub(super) fn damages(&self) -> Vec<Damage> {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events received before this time are past their retention. It is kept in a file, so that they are not shown again
    /// after a restart; not durably, since the next expiry says it again. It may go back: a clock that was wrong once must
    /// not hide events for ever.
    pub(super) fn set_horizon(&self, millis: i64) {
        if self.horizon.swap(millis, Ordering::Relaxed) != millis {
            let (journal, temporary) = (journal_dir(&self.dir), journal_dir(&self.dir).join("horizon.tmp"));
            let crc = crc32fast::hash(&millis.to_le_bytes()).to_le_bytes();
            let written = std::fs::write(&temporary, [&millis.to_le_bytes()[..], &crc].concat());
            if let Err(error) = written.and_then(|()| std::fs::rename(temporary, journal.join(HORIZON))) {
                tracing::warn!(cause = %error, "the time up to which events have expired cannot be written");
            }
        }
    }

    /// Whether an event with this id is past its retention: its segment may hold newer events, and is still there.
    pub(super) fn is_expired(&self, id: Uuid) -> bool {
        id < first_id_of(self.horizon.load(Ordering::Relaxed))
    }

    pub(super) fn settle_at(&self, sequence: u64) -> Result<(), StoreError> {
        let mut progress = self.progress();
        // A view that can never be whole again answers nothing, whatever it may still have.
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

    /// Whether reads and writes can be expected to succeed.
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

    /// How the last write ended.
    pub(super) fn wrote(&self, succeeded: bool) {
        self.progress().last_write = (succeeded, Instant::now());
    }

    /// The same of a probe that began this long ago; a write that has failed since says more.
    pub(super) fn probed(&self, succeeded: bool, began: Instant) {
        let mut progress = self.progress();
        let (last, at) = progress.last_write;
        if last || at < began {
            progress.last_write = (succeeded, Instant::now());
        }
    }

    /// As if the last write had been so long ago.
    #[cfg(test)]
    pub(super) fn forget_last_write(&self, ago: Duration) {
        self.progress().last_write = (true, Instant::now().checked_sub(ago).unwrap());
    }

    /// Whether the last write succeeded, and how long ago that was known.
    pub(super) fn last_write(&self) -> (bool, Duration) {
        let (succeeded, at) = self.progress().last_write;
        (succeeded, at.elapsed())
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
        // The applier may wait for this lock to build another view: that is no standstill.
        let go_on = || {
            self.tick();
            !self.closing()
        };
        let snapshot = match guarded(|| snapshot::write(&tree, applied, &dir, &go_on)) {
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

/// The error that callers get when the view fails: a full disk passes, a damaged journal stays damaged, and everything else
/// is repaired by a rebuild.
fn told(error: StoreError) -> StoreError {
    match error {
        StoreError::Full { .. } | StoreError::NoSpace(_) | StoreError::Rebuilding(_) | StoreError::Journal(_) => error,
        other => StoreError::Rebuilding(other.to_string()),
    }
}

/// Up to when events of this journal have expired, in milliseconds since 1970: a number and its CRC-32, little endian. A
/// damaged file hides nothing; the next expiry writes it again.
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
