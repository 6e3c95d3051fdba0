//! The segments that exist, and where each event is stored in them.
//!
//! Readers take an immutable list of segments and do their file I/O without a lock, so the writer never waits for a
//! reader's disk. Only the newest segment's event index changes in memory, under a lock that no I/O is done under.
//! `index_file.rs` has the index files of closed segments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use uuid::Uuid;

use super::event_place::{EventPlace, collect_events, newest};
use super::format::{self, OpKind};
use super::index_file::{Summary, index_path, read_entry_count, search, verify, write_index};
use super::scan;

/// One file of the journal.
#[derive(Debug)]
pub(in super::super) struct Segment {
    /// Sequence of its first record.
    pub(super) first: u64,
    pub(super) created_ms: i64,
    pub(super) path: PathBuf,
    pub(super) salt: u32,
    pub(super) extent: RwLock<Extent>,
    /// Whether the index file has been verified. Held while it is verified or rewritten.
    pub(super) verified: Mutex<bool>,
}

/// State that changes while a segment is written, and when it is closed.
#[derive(Debug)]
pub(super) struct Extent {
    /// Number of durable bytes.
    pub(super) end: u64,
    /// The sequence after its last durable record.
    pub(super) next: u64,
    pub(super) events: Events,
}

/// A segment's events by id.
#[derive(Debug)]
pub(super) enum Events {
    /// In memory: the segment is still being written, or its index file does not exist yet.
    Open(BTreeMap<Uuid, EventPlace>),
    /// In the index file, sorted by id; with the lowest and the highest id.
    Sealed(Option<(Uuid, Uuid)>),
}

/// A stored state of an event, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct StoredEvent {
    /// The segment, by its first sequence.
    pub(in super::super) segment: u64,
    pub(in super::super) place: EventPlace,
    pub(in super::super) value: Vec<u8>,
}

/// All segments, oldest first.
#[derive(Debug, Default)]
pub(in super::super) struct Segments(RwLock<Arc<Vec<Arc<Segment>>>>);

impl Segments {
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        Self(RwLock::new(Arc::new(segments.into_iter().map(Arc::new).collect())))
    }

    /// Returns how many segments there are, with the one that is being written.
    pub(in super::super) fn count(&self) -> usize {
        self.list().len()
    }

    /// Returns the current segments. If a file no longer exists when it is opened, its events have expired.
    pub(super) fn list(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn push(&self, segment: Segment) {
        let mut list = self.list().to_vec();
        list.push(Arc::new(segment));
        self.set(list);
    }

    /// Removes the oldest segments from the list; the caller removes their files.
    pub(super) fn take_oldest(&self, count: usize) -> Vec<Arc<Segment>> {
        let mut list = self.list().to_vec();
        let gone = list.drain(..count.min(list.len())).collect();
        self.set(list);
        gone
    }

    fn set(&self, list: Vec<Arc<Segment>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
    }

    /// Returns the newest state of an event of any company, with its key.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or does not match its index.
    pub(in super::super) fn any_event(&self, id: Uuid) -> std::io::Result<Option<(Vec<u8>, StoredEvent)>> {
        for segment in self.list().iter().rev() {
            if let Some(place) = expired_is_none(segment.place(id))?.flatten() {
                let Some(file) = expired_is_none(File::open(&segment.path))? else { return Ok(None) };
                let (found, value) = read_event(&file, place, id)?;
                let stored = StoredEvent { segment: segment.first, place, value };
                return Ok(Some((found, stored)));
            }
        }
        Ok(None)
    }

    /// Returns the value of an event at a position that another of its records refers to; `None` if it has expired.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if another event is stored there.
    pub(in super::super) fn at(&self, segment: u64, place: EventPlace, id: Uuid) -> std::io::Result<Option<Vec<u8>>> {
        let list = self.list();
        let Ok(index) = list.binary_search_by_key(&segment, |it| it.first) else { return Ok(None) };
        let Some(file) = expired_is_none(File::open(&list[index].path))? else { return Ok(None) };
        read_event(&file, place, id).map(|(_, value)| Some(value))
    }

    /// Returns the segment that contains this record, by its first sequence.
    pub(in super::super) fn containing(&self, sequence: u64) -> Option<u64> {
        let list = self.list();
        let after = list.partition_point(|it| it.first <= sequence);
        after.checked_sub(1).map(|at| list[at].first)
    }

    /// Returns first sequences and files, oldest first, with the number of durable bytes of each; and the sequence
    /// after the very last record.
    pub(in super::super) fn files(&self) -> (Vec<(u64, PathBuf, u64)>, u64) {
        let list = self.list();
        let mut next = 1;
        let mut file = |it: &Arc<Segment>| {
            // Both of one moment: a group that is written in between would be acknowledged in a copy that lacks it.
            let (end, after) = it.extent(|extent| (extent.end, extent.next));
            next = after;
            (it.first, it.path.clone(), end)
        };
        let files = list.iter().map(&mut file).collect();
        (files, next)
    }

    /// Returns the closed segments with a record of one of these events: first sequences and files, oldest first.
    ///
    /// # Errors
    /// Fails if an index cannot be read.
    pub(in super::super) fn closed_with(&self, events: &BTreeSet<Uuid>) -> std::io::Result<Vec<(u64, PathBuf)>> {
        let (list, mut found) = (self.list(), Vec::new());
        let closed = list.split_last().map_or(&[][..], |(_, closed)| closed);
        for segment in closed {
            for id in events {
                if expired_is_none(segment.place(*id))?.flatten().is_some() {
                    found.push((segment.first, segment.path.clone()));
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Returns the first sequence of the oldest segment with a record of one of these events.
    ///
    /// # Errors
    /// Fails if an index cannot be read.
    pub(in super::super) fn oldest_with(&self, events: &[Uuid]) -> std::io::Result<Option<u64>> {
        for segment in self.list().iter() {
            let Some((lowest, highest)) = segment.extent(|it| it.events.range()) else { continue };
            for id in events.iter().filter(|it| (lowest..=highest).contains(*it)) {
                if expired_is_none(segment.place(*id))?.flatten().is_some() {
                    return Ok(Some(segment.first));
                }
            }
        }
        Ok(None)
    }

    /// Returns the closed segments, oldest first.
    pub(in super::super) fn closed(&self) -> Vec<Closed> {
        let list = self.list();
        let closed = |pair: &[Arc<Segment>]| Closed {
            first: pair[0].first,
            path: pair[0].path.clone(),
            range: pair[0].extent(|it| it.events.range()),
        };
        list.windows(2).map(closed).collect()
    }

    /// Returns the total size of the segments with records after this sequence, in bytes.
    pub(in super::super) fn bytes_after(&self, sequence: u64) -> u64 {
        let bytes = |it: &Arc<Segment>| it.extent(|extent| if extent.next > sequence + 1 { extent.end } else { 0 });
        self.list().iter().map(bytes).sum()
    }

    /// Returns the number of event records.
    pub(in super::super) fn event_count(&self) -> u64 {
        let open = |it: &Extent| if let Events::Open(events) = &it.events { Some(events.len() as u64) } else { None };
        let count = |it: &Arc<Segment>| it.extent(open).unwrap_or_else(|| read_entry_count(&index_path(&it.path)));
        self.list().iter().map(count).sum()
    }

    /// Returns the oldest segment and its first sequence.
    pub(in super::super) fn oldest(&self) -> Option<(PathBuf, u64)> {
        self.list().first().map(|it| (it.path.clone(), it.first))
    }

    /// Writes the event index of a closed segment to a file, and frees its memory.
    pub(super) fn seal(&self, first: u64) -> std::io::Result<()> {
        let list = self.list();
        let Some(segment) = list.iter().find(|it| it.first == first) else { return Ok(()) };
        let entries = segment.extent(|it| match &it.events {
            Events::Open(events) => {
                let entries = events.iter().map(|(id, place)| (*id, *place)).collect::<Vec<_>>();
                Some((entries, it.next, it.end))
            }
            Events::Sealed(_) => None,
        });
        let Some((entries, next, end)) = entries else { return Ok(()) };
        let mut verified = segment.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let range = write_index(&index_path(&segment.path), entries, next, end)?;
        *verified = true;
        segment.change(|it| it.events = Events::Sealed(range));
        Ok(())
    }
}

/// A segment that is no longer written.
#[derive(Debug, Clone)]
pub(in super::super) struct Closed {
    pub(in super::super) first: u64,
    pub(in super::super) path: PathBuf,
    /// Its lowest and highest event id, if it has events.
    pub(in super::super) range: Option<(Uuid, Uuid)>,
}

impl Segment {
    pub(super) fn new(path: PathBuf, (first, created_ms, salt): (u64, i64, u32), extent: Extent) -> Self {
        Self { first, created_ms, path, salt, extent: RwLock::new(extent), verified: Mutex::new(false) }
    }

    /// Opens the index file of a closed segment. Its entries are verified before the first use; a damaged or
    /// missing index is written again from the segment, so that it never hides an event. `NotFound` means that the
    /// segment itself is missing.
    pub(super) fn index(&self) -> std::io::Result<File> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let path = index_path(&self.path);
        if *verified && let Some(index) = expired_is_none(File::open(&path))? {
            return Ok(index);
        }
        let said = self.extent(|it| Summary { next: it.next, end: it.end, range: it.events.range() });
        if expired_is_none(verify(&path))?.flatten() != Some(said) {
            self.write_index(&path)?;
            tracing::warn!(index = %path.display(), "a damaged or missing event index was written again from its segment");
        }
        *verified = true;
        File::open(path)
    }

    fn write_index(&self, path: &Path) -> std::io::Result<()> {
        let mut events = Vec::new();
        let scanned = scan::scan(&self.path, self.salt, self.first, u64::MAX, &mut |record| {
            collect_events(&record, &format::ops(record.payload).unwrap_or_default(), &mut events);
        })?;
        let range = write_index(path, newest(events), scanned.next, scanned.end)?;
        self.change(|it| it.events = Events::Sealed(range));
        Ok(())
    }

    pub(super) fn extent<T>(&self, read: impl FnOnce(&Extent) -> T) -> T {
        read(&self.extent.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Extent) -> T) -> T {
        change(&mut self.extent.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the place of an event, if it is in this segment.
    fn place(&self, id: Uuid) -> std::io::Result<Option<EventPlace>> {
        let in_memory = self.extent(|it| match &it.events {
            Events::Open(events) => Some(events.get(&id).copied()),
            Events::Sealed(Some((lowest, highest))) if (*lowest..=*highest).contains(&id) => None,
            Events::Sealed(_) => Some(None),
        });
        match in_memory {
            Some(place) => Ok(place),
            None => search(&self.index()?, id),
        }
    }
}

impl Events {
    /// Returns the lowest and the highest id.
    pub(super) fn range(&self) -> Option<(Uuid, Uuid)> {
        match self {
            Self::Open(events) => {
                events.first_key_value().zip(events.last_key_value()).map(|(low, high)| (*low.0, *high.0))
            }
            Self::Sealed(range) => *range,
        }
    }
}

/// Converts `NotFound` to `None`: expiry removes a segment's files after removing it from the list.
pub(super) fn expired_is_none<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Reads an event's key and value.
pub(super) fn read_event(file: &File, place: EventPlace, id: Uuid) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = vec![0; place.length as usize];
    file.read_exact_at(&mut bytes, u64::from(place.offset))?;
    match format::split_op(&bytes) {
        Some((op, [])) if op.kind == OpKind::Event && op.key.ends_with(id.as_bytes()) => {
            Ok((op.key.to_vec(), op.value.to_vec()))
        }
        _ => Err(std::io::Error::other("its index does not match its segment")),
    }
}

/// Reads the value of an event from a segment file that no process writes to.
pub(super) fn read_value(segment: &Path, place: EventPlace, id: Uuid) -> std::io::Result<Vec<u8>> {
    read_event(&File::open(segment)?, place, id).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
