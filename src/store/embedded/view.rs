//! sled, as a view of the journal: what of it the readers ask for.
//!
//! Its metadata, written in the same atomic batch as every change, says how far it has seen the journal and what the
//! sum of its content is. Opening adds everything up again, so a view that lost something is known as such however
//! it came about, and is built anew. It is never flushed while it is used: the journal is on the disk.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use super::headroom::Headroom;
use super::index::Index;
use super::journal::{Kind, Op};
use super::{failure, keys, record, task_record};
use crate::auth::CompanyId;
use crate::store::StoreError;
use crate::task::Task;

/// sled's cache setting. It really holds several times as much, so this stays small.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How long sled may take to open a directory before it counts as hanging.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// How long a view that is being closed in this process is waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// sled puts what is larger than a quarter of this into a file of its own, for which no space can be set aside; and
/// where writing that fails, its readers wait for ever (docs/decisions/0016).
const SEGMENT_BYTES: usize = 4 << 20;
const META_FORMAT: u8 = 1;
const META_BYTES: usize = 24;

/// What the view says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The last sequence of the journal that is in it.
    pub(super) applied: u64,
    /// How many keys it has, this one not counted.
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

/// 64 bits of an entry: two CRCs from different starts, mixed (the finaliser of SplitMix64). Not for adversaries:
/// it tells entries that are missing or old.
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

/// What a group changes in the index, in order: a task may be changed several times.
enum IndexChange {
    Add(Task, u32, usize),
    Remove(Task, u32, usize),
    NextRow(CompanyId, u32),
}

impl View {
    /// Opens or makes the directory. Damaged files make sled return errors, panic or hang: all three are errors here.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open { dir: path.display().to_string(), cause };
        remove_unfinished(path).map_err(|e| failed(e.to_string()))?;
        let (done, opened) = crossbeam_channel::bounded(1);
        let sled_path = path.to_owned();
        let open = move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                // sled's own timer is off: nothing here waits for its flush.
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

    /// Reads everything: gives the index, if the content adds up to what the metadata says.
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
            if let Some((task, row)) = decode_task(&key, &value)? {
                index.add(&task, row, value.len());
            }
            if let Some(names) = index.names() {
                names.add_entry(&key, &value)?;
            }
            if let Some((company, next)) = decode_rows(&key, &value)? {
                index.set_next_row(company, next);
            }
        }
        if found == self.meta {
            Ok(index)
        } else {
            let cause =
                format!("it has {} entries, and {} were written (or their sum differs)", found.keys, self.meta.keys);
            Err(record::damaged("view", &cause))
        }
    }

    /// Applies a group of operations that ends with this sequence: one atomic batch, then the index.
    ///
    /// `again` is for operations that the view may have seen already: an insert may then find its key taken.
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
        // What this very batch has put, for operations on the same key.
        let mut put: HashMap<&[u8], Option<&[u8]>> = HashMap::new();
        for op in ops {
            if op.kind == Kind::Event {
                continue;
            }
            let old = if op.kind == Kind::Insert && !again {
                None
            } else {
                match put.get(op.key) {
                    Some(old) => old.map(sled::IVec::from),
                    None => self.tree.get(op.key).map_err(failure::read)?,
                }
            };
            if let Some(old) = old {
                meta.remove(op.key, &old);
                changes.extend(decode_task(op.key, &old)?.map(|(task, row)| IndexChange::Remove(task, row, old.len())));
            }
            if op.kind == Kind::Delete {
                batch.remove(op.key);
                put.insert(op.key, None);
            } else {
                meta.add(op.key, op.value);
                let size = op.value.len();
                changes.extend(decode_task(op.key, op.value)?.map(|(task, row)| IndexChange::Add(task, row, size)));
                changes
                    .extend(decode_rows(op.key, op.value)?.map(|(company, next)| IndexChange::NextRow(company, next)));
                batch.insert(op.key, op.value);
                put.insert(op.key, Some(op.value));
            }
        }
        batch.insert(keys::META, meta.encode());
        note_names(index, &put)?;
        // Readers of lists see a group whole or not at all.
        let mut index = index.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.tree.apply_batch(batch).map_err(failure::write)?;
        self.meta = meta;
        for change in changes {
            match change {
                IndexChange::Add(task, row, bytes) => index.add(&task, row, bytes),
                IndexChange::Remove(task, row, bytes) => index.remove(&task, row, bytes),
                IndexChange::NextRow(company, next) => index.set_next_row(company, next),
            }
        }
        Ok(())
    }

    /// Lets go of a view that has failed, and keeps its files. A sled whose write failed may wait for ever when it is
    /// dropped, and hold a lock of every sled in this process meanwhile: so it is not dropped.
    pub(super) fn abandon(self) {
        std::mem::forget(self);
    }

    /// Gives the space of its files back.
    pub(super) fn give_back(&self) {
        self.headroom.give_back();
    }

    /// The same for a view whose files are of no use any more: their space comes back at once. `readable`: it was not
    /// a write that failed, so that sled can be dropped as well; on a thread of its own, since that may take long.
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

    /// Brings everything to the disk: at the end, so that the next start has nothing to replay.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(drop).map_err(failure::write)
    }
}

/// Opens sled, and waits for a lock that a store of this process has not let go of yet: a read that nobody waits for any more
/// may still hold its view. No other process can, as this one holds the directory.
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

/// Removes a snapshot that sled had begun when the disk was full: it would take it for a whole one, and refuse it.
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

/// sled panics over damage that it meets: here that is an error like any other.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(record::damaged("view", &"sled panicked over its files")))
}

/// The task that this entry is, if it is one.
fn decode_task(key: &[u8], value: &[u8]) -> Result<Option<(Task, u32)>, StoreError> {
    if key.first() != Some(&keys::TASK) {
        return Ok(None);
    }
    let unreadable = |error: StoreError| {
        // As it was written, so another view would have the same: it is named, and all others are served.
        if record::is_whole(value) {
            tracing::error!(record = %key.get(..key.len().min(128)).unwrap_or_default().escape_ascii(), cause = %error,
                "a task cannot be read, and is left out");
            return Ok(None);
        }
        Err(error)
    };
    let Some((company, id)) = keys::parse_task(key) else {
        return unreadable(record::damaged("task", &"its key is not a task's"));
    };
    task_record::decode(value, id, company).map(Some).or_else(unreadable)
}

/// While a store is opened: what the writer will have to know of idempotency keys.
fn note_names(index: &std::sync::RwLock<Index>, put: &HashMap<&[u8], Option<&[u8]>>) -> Result<(), StoreError> {
    if !index.read().unwrap_or_else(std::sync::PoisonError::into_inner).keeps_names() {
        return Ok(());
    }
    let mut index = index.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(names) = index.names() else { return Ok(()) };
    // First what expired: what else was written belongs to other days.
    put.iter()
        .filter(|(_, value)| value.is_none())
        .filter_map(|(key, _)| keys::answers_in(key))
        .for_each(|day| names.forget(day));
    put.iter()
        .filter_map(|(key, value)| Some((key, (*value)?)))
        .try_for_each(|(key, value)| names.add_entry(key, value))
}

/// The company and its next row, if this entry says that.
fn decode_rows(key: &[u8], value: &[u8]) -> Result<Option<(CompanyId, u32)>, StoreError> {
    if key.first() != Some(&keys::ROWS) {
        return Ok(None);
    }
    // No task can be of a company that has no such name.
    let Some(company) = keys::parse_rows(key) else { return Ok(None) };
    Ok(Some((company, record::decode_rows(value)?)))
}
