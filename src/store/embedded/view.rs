//! sled as a read view of the journal.
//!
//! The view's metadata is written in the same atomic batch as every change. It contains the last sequence applied
//! and a checksum of the content. Opening reads everything and compares, so that a view that has lost something is
//! detected, whatever the cause, and rebuilt. The view is not flushed while it is used, because the journal is on
//! disk.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use super::headroom::Headroom;
use super::index::Index;
use super::journal::{Op, OpKind};
use super::last_change::LastChange;
use super::{failure, keys, record, task_record};
use crate::model::company::CompanyId;
use crate::model::task::Task;
use crate::store::error::StoreError;

/// sled's cache setting, in bytes. sled uses several times as much, so this is small.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How long sled may take to open a directory before it is considered to hang.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// How long to wait for a view that is being closed in this process.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// sled's segment size, in bytes. sled puts values larger than a quarter of this into files of their own, for which
/// no space can be reserved; if writing such a file fails, sled's readers wait forever (docs/decisions/0016).
const SEGMENT_BYTES: usize = 4 << 20;
const META_FORMAT: u8 = 1;
const META_BYTES: usize = 24;

/// Metadata of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The last sequence of the journal that was applied.
    pub(super) applied: u64,
    /// Number of keys, not counting the metadata.
    pub(super) keys: u64,
    /// The sum of the hashes of all keys and values.
    pub(super) sum: u64,
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = vec![META_FORMAT, 0, 0, 0, 0];
        [self.applied, self.keys, self.sum].iter().for_each(|it| value.extend_from_slice(&it.to_le_bytes()));
        record::seal(&mut value);
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let body = record::opened(value, META_FORMAT, "metadata")?;
        let Some(body) = body.first_chunk::<META_BYTES>() else {
            return Err(record::damaged("metadata", &"it is too short"));
        };
        let number = |at: usize| body[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        Ok(Self { applied: number(0), keys: number(8), sum: number(16) })
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.keys += 1;
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.keys = self.keys.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, value));
    }
}

/// Returns a 64-bit hash of an entry: two CRCs with different start values, mixed (the finaliser of SplitMix64). It
/// detects missing and outdated entries, but not deliberate changes.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let crc = |start: u32| {
        let mut hasher = crc32fast::Hasher::new_with_initial(start);
        hasher.update(key);
        hasher.update(value);
        u64::from(hasher.finalize())
    };
    let both = crc(0x9e37_79b9) << 32 | crc(u32::try_from(key.len()).unwrap_or(0));
    let mixed = (both ^ (both >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An open view.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) tree: sled::Tree,
    pub(super) db: sled::Db,
    pub(super) meta: Meta,
    headroom: Headroom,
}

/// Changes of the index by a group, in order: a task may be changed several times.
enum IndexChange {
    Add(Task, LastChange, usize),
    Remove(Task, LastChange, usize),
    NextRow(CompanyId, u32),
    Purged(CompanyId, LastChange),
}

impl View {
    /// Opens or creates the directory. Damaged files can make sled return errors, panic or hang; all three are
    /// errors here.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open { dir: path.display().to_string(), cause };
        remove_unfinished(path).map_err(|e| failed(e.to_string()))?;
        let (done, opened) = crossbeam_channel::bounded(1);
        let sled_path = path.to_owned();
        let open = move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                // sled's own timer is off, because nothing depends on its flush.
                let config = sled::Config::new()
                    .path(sled_path)
                    .cache_capacity(CACHE_BYTES)
                    .segment_size(SEGMENT_BYTES)
                    .flush_every_ms(None);
                let db = open_alone(&config)?;
                let tree = db.open_tree(keys::TREE)?;
                Ok::<_, sled::Error>((db, tree))
            }));
            let _given_up = done.send(result);
        };
        std::thread::Builder::new().name("sled-open".into()).spawn(open).map_err(|e| failed(e.to_string()))?;
        let (db, tree) = match opened.recv_timeout(OPEN_LIMIT) {
            Ok(Ok(result)) => result.map_err(|e| failure::sled(&e, failed))?,
            Ok(Err(_)) => return Err(failed("sled panicked over its files".into())),
            Err(_) => return Err(failed(format!("sled had not opened it after {} s", OPEN_LIMIT.as_secs()))),
        };
        let meta = match guarded(|| tree.get(keys::META).map_err(|e| failure::sled(&e, failed)))? {
            Some(value) => Meta::decode(&value)?,
            None => Meta::default(),
        };
        let headroom = Headroom::of(path).map_err(|e| failed(e.to_string()))?;
        Ok(Self { tree, db, meta, headroom })
    }

    /// Reads everything and returns the index, if the content matches the metadata.
    pub(super) fn read_all(&self) -> Result<Index, StoreError> {
        let read = guarded(|| self.add_up());
        if read.is_err() {
            self.clone().abandon();
        }
        read
    }

    fn add_up(&self) -> Result<Index, StoreError> {
        let mut index = Index::default();
        let mut found = Meta { applied: self.meta.applied, ..Meta::default() };
        for entry in &self.tree {
            let (key, value) = entry.map_err(failure::read)?;
            if &*key == keys::META {
                continue;
            }
            found.add(&key, &value);
            if let Some((task, change)) = decode_task(&key, &value)? {
                index.add(&task, change, value.len());
            }
            if let Some(names) = index.names() {
                names.add_entry(&key, &value)?;
            }
            if let Some((company, next)) = decode_rows(&key, &value)? {
                index.set_next_row(company, next);
            }
            if let Some((company, last)) = decode_purged(&key, &value)? {
                index.set_purged(company, last);
            }
        }
        if found == self.meta {
            Ok(index)
        } else {
            let cause = format!("it has {} entries instead of {}, or their sum differs", found.keys, self.meta.keys);
            Err(record::damaged("view", &cause))
        }
    }

    /// Applies a group of operations that ends with this sequence: one atomic batch, then the index.
    ///
    /// `again` is for operations that may be in the view already; an insert may then find an existing key.
    pub(super) fn apply<'a>(
        &mut self,
        last: u64,
        ops: impl Iterator<Item = Op<'a>>,
        index: &std::sync::RwLock<Index>,
        again: bool,
    ) -> Result<(), StoreError> {
        self.headroom.keep();
        guarded(|| self.apply_all(last, ops, index, again))
    }

    fn apply_all<'a>(
        &mut self,
        last: u64,
        ops: impl Iterator<Item = Op<'a>>,
        index: &std::sync::RwLock<Index>,
        again: bool,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut meta = Meta { applied: last, ..self.meta };
        let mut changes = Vec::new();
        // Values that this batch has put already, for later operations on the same key.
        let mut put: HashMap<&[u8], Option<&[u8]>> = HashMap::new();
        for op in ops {
            if op.kind == OpKind::Event {
                continue;
            }
            let old = if op.kind == OpKind::Insert && !again {
                None
            } else {
                match put.get(op.key) {
                    Some(old) => old.map(sled::IVec::from),
                    None => self.tree.get(op.key).map_err(failure::read)?,
                }
            };
            if let Some(old) = old {
                meta.remove(op.key, &old);
                changes.extend(decode_task(op.key, &old)?.map(|(task, at)| IndexChange::Remove(task, at, old.len())));
            }
            if op.kind == OpKind::Delete {
                batch.remove(op.key);
                put.insert(op.key, None);
            } else {
                meta.add(op.key, op.value);
                let size = op.value.len();
                changes.extend(decode_task(op.key, op.value)?.map(|(task, at)| IndexChange::Add(task, at, size)));
                changes
                    .extend(decode_rows(op.key, op.value)?.map(|(company, next)| IndexChange::NextRow(company, next)));
                changes.extend(decode_purged(op.key, op.value)?.map(|(company, at)| IndexChange::Purged(company, at)));
                batch.insert(op.key, op.value);
                put.insert(op.key, Some(op.value));
            }
        }
        batch.insert(keys::META, meta.encode());
        note_names(index, &put)?;
        // Locked around the batch, so that readers of lists see a whole group or nothing of it.
        let mut index = index.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.tree.apply_batch(batch).map_err(failure::write)?;
        self.meta = meta;
        for change in changes {
            match change {
                IndexChange::Add(task, at, bytes) => index.add(&task, at, bytes),
                IndexChange::Remove(task, at, bytes) => index.remove(&task, at, bytes),
                IndexChange::NextRow(company, next) => index.set_next_row(company, next),
                IndexChange::Purged(company, last) => index.set_purged(company, last),
            }
        }
        Ok(())
    }

    /// Abandons a view that has failed, and keeps its files. A sled whose write failed may wait forever when it is
    /// dropped, while holding a lock of every sled in this process, so it is not dropped.
    pub(super) fn abandon(self) {
        std::mem::forget(self);
    }

    /// Frees the disk space of the view's files.
    pub(super) fn give_back(&self) {
        self.headroom.give_back();
    }

    /// Discards a view whose files are no longer needed, and frees their space at once. With `readable`, no write
    /// has failed, so sled can be dropped too; this happens on a separate thread because it may take long.
    pub(super) fn discard(self, readable: bool) {
        self.give_back();
        if readable {
            let drop_it = move || {
                let _panicked = std::panic::catch_unwind(AssertUnwindSafe(|| drop(self)));
            };
            let _then_it_stays = std::thread::Builder::new().name("sled-drop".into()).spawn(drop_it);
        } else {
            self.abandon();
        }
    }

    /// Flushes everything to disk when the store is closed, so that the next start has nothing to replay.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(drop).map_err(failure::write)
    }
}

/// Opens sled, and waits for a lock that an earlier store of this process still holds: a read whose caller has gone
/// may still use its view. Other processes cannot hold it, because this one has locked the directory.
fn open_alone(config: &sled::Config) -> sled::Result<sled::Db> {
    let started = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && started.elapsed() < LOCK_LIMIT =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// Removes an unfinished snapshot of sled, as a full disk leaves it. sled would refuse to open with it.
fn remove_unfinished(view: &Path) -> std::io::Result<()> {
    if !view.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(view)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Converts a panic of sled, which it raises for damaged files, to an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(record::damaged("view", &"sled panicked over its files")))
}

/// Decodes an entry as a task; `None` if it is another kind of entry.
fn decode_task(key: &[u8], value: &[u8]) -> Result<Option<(Task, LastChange)>, StoreError> {
    if key.first() != Some(&keys::TASK) {
        return Ok(None);
    }
    let unreadable = |error: StoreError| {
        // The value is as it was written, so a rebuilt view would have the same one. It is logged, and all others
        // are served.
        if record::is_whole(value) {
            tracing::error!(record = %key.get(..key.len().min(128)).unwrap_or_default().escape_ascii(), cause = %error,
                "a task cannot be read and is skipped");
            return Ok(None);
        }
        Err(error)
    };
    let Some((company, id)) = keys::parse_task(key) else {
        return unreadable(record::damaged("task", &"its key is not a task's"));
    };
    task_record::decode(value, id, company).map(Some).or_else(unreadable)
}

/// Adds the idempotency keys of a batch while a store is opened.
fn note_names(index: &std::sync::RwLock<Index>, put: &HashMap<&[u8], Option<&[u8]>>) -> Result<(), StoreError> {
    if !index.read().unwrap_or_else(std::sync::PoisonError::into_inner).keeps_names() {
        return Ok(());
    }
    let mut index = index.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(names) = index.names() else { return Ok(()) };
    // Expired keys first; the keys written belong to other days.
    put.iter()
        .filter(|(_, value)| value.is_none())
        .filter_map(|(key, _)| keys::answers_in(key))
        .for_each(|day| names.forget(day));
    put.iter()
        .filter_map(|(key, value)| Some((key, (*value)?)))
        .try_for_each(|(key, value)| names.add_entry(key, value))
}

/// Decodes an entry as a company and its next row; `None` if it is another kind of entry.
fn decode_rows(key: &[u8], value: &[u8]) -> Result<Option<(CompanyId, u32)>, StoreError> {
    if key.first() != Some(&keys::ROWS) {
        return Ok(None);
    }
    // No task can belong to a company with an invalid name.
    let Some(company) = keys::parse_rows(key) else { return Ok(None) };
    Ok(Some((company, record::decode_rows(value)?)))
}

/// Decodes an entry as the last change of a company's purged tasks; `None` if it is another kind of entry.
fn decode_purged(key: &[u8], value: &[u8]) -> Result<Option<(CompanyId, LastChange)>, StoreError> {
    if key.first() != Some(&keys::PURGED) {
        return Ok(None);
    }
    let Some(company) = keys::parse_purged(key) else { return Ok(None) };
    Ok(Some((company, record::decode_purged(value)?)))
}
