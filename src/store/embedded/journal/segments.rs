//! The segments that are there, for readers: which event stands where.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use uuid::Uuid;

use super::format::{self, Kind};
use super::sync_dir;

const MAGIC: &[u8; 8] = b"HMEVIX01";
const HEADER: usize = 20;
const ENTRY: usize = 24;

/// Where an event's operation stands in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// One file of the journal.
#[derive(Debug)]
pub(super) struct Segment {
    /// Sequence of its first record.
    pub(super) first: u64,
    pub(super) created_ms: i64,
    pub(super) path: PathBuf,
    /// Bytes that are durable.
    pub(super) end: u64,
    /// The sequence after its last durable record.
    pub(super) next: u64,
    pub(super) events: Events,
}

/// A segment's events by id.
#[derive(Debug)]
pub(super) enum Events {
    /// In memory: the segment is still written, or its index is.
    Open(BTreeMap<Uuid, Place>),
    /// In the file beside the segment, sorted by id: the lowest and the highest.
    Sealed(Option<(Uuid, Uuid)>),
}

/// Every segment, oldest first.
#[derive(Debug, Default)]
pub(in super::super) struct Segments(pub(super) RwLock<Vec<Segment>>);

impl Segments {
    /// The newest state of an event: its key and its value.
    ///
    /// # Errors
    /// Where a file cannot be read, or does not hold what its index says.
    pub(in super::super) fn event(&self, key: &[u8], id: Uuid) -> std::io::Result<Option<Vec<u8>>> {
        let found = {
            let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let mut found = None;
            for segment in segments.iter().rev() {
                if let Some(place) = segment.events.place(&segment.path, id)? {
                    found = Some((File::open(&segment.path)?, place));
                    break;
                }
            }
            found
        };
        let Some((file, place)) = found else { return Ok(None) };
        let (found, value) = read_event(&file, place, id)?;
        // Another company's is as good as none.
        Ok((found == key).then_some(value))
    }

    /// First sequences and files, oldest first, with the bytes of each that are durable; and the sequence after the last record of all.
    pub(in super::super) fn files(&self) -> (Vec<(u64, PathBuf, u64)>, u64) {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let next = segments.last().map_or(1, |it| it.next);
        (segments.iter().map(|it| (it.first, it.path.clone(), it.end)).collect(), next)
    }

    /// The segments that ended before this time, oldest first: each with the sequence of its first record.
    pub(in super::super) fn ended_before(&self, before_ms: i64) -> Vec<(u64, PathBuf)> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // A segment ends when the next begins.
        let ended = segments.windows(2).take_while(|pair| pair[1].created_ms < before_ms);
        ended.map(|pair| (pair[0].first, pair[0].path.clone())).collect()
    }

    /// Bytes of the segments that hold something newer than this sequence.
    pub(in super::super) fn bytes_after(&self, sequence: u64) -> u64 {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().filter(|it| it.next > sequence + 1).map(|it| it.end).sum()
    }

    /// How many events there are.
    pub(in super::super) fn event_count(&self) -> u64 {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let count = |it: &Segment| match &it.events {
            Events::Open(events) => events.len() as u64,
            Events::Sealed(_) => std::fs::metadata(index_path(&it.path))
                .map_or(0, |it| it.len().saturating_sub(HEADER as u64) / ENTRY as u64),
        };
        segments.iter().map(count).sum()
    }

    /// The oldest segment, and the sequence of its first record.
    pub(in super::super) fn oldest(&self) -> Option<(PathBuf, u64)> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.first().map(|it| (it.path.clone(), it.first))
    }

    /// Puts the index of a segment that is full into a file, and forgets it in memory.
    pub(super) fn seal(&self, first: u64) -> std::io::Result<()> {
        let (path, entries) = {
            let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let Some(segment) = segments.iter().find(|it| it.first == first) else { return Ok(()) };
            let Events::Open(events) = &segment.events else { return Ok(()) };
            (index_path(&segment.path), events.iter().map(|(id, place)| (*id, *place)).collect::<Vec<_>>())
        };
        let range = write_index(&path, entries)?;
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = segments.iter_mut().find(|it| it.first == first) {
            segment.events = Events::Sealed(range);
        }
        Ok(())
    }
}

impl Events {
    fn place(&self, segment: &Path, id: Uuid) -> std::io::Result<Option<Place>> {
        match self {
            Self::Open(events) => Ok(events.get(&id).copied()),
            Self::Sealed(Some((lowest, highest))) if (*lowest..=*highest).contains(&id) => {
                search(&File::open(index_path(segment))?, id)
            }
            Self::Sealed(_) => Ok(None),
        }
    }
}

/// An event's key and value.
pub(super) fn read_event(file: &File, place: Place, id: Uuid) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = vec![0; place.length as usize];
    file.read_exact_at(&mut bytes, u64::from(place.offset))?;
    match format::split_op(&bytes) {
        Some((op, [])) if op.kind == Kind::Event && op.key.ends_with(id.as_bytes()) => {
            Ok((op.key.to_vec(), op.value.to_vec()))
        }
        _ => Err(std::io::Error::other("its index does not fit its segment")),
    }
}

/// The file beside a segment that says where its events stand.
pub(super) fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("events")
}

/// Writes an index; gives the lowest and the highest id.
pub(super) fn write_index(path: &Path, mut entries: Vec<(Uuid, Place)>) -> std::io::Result<Option<(Uuid, Uuid)>> {
    entries.sort_unstable_by_key(|(id, _)| *id);
    let bytes = encode_index(&entries);
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    if let Some(dir) = path.parent() {
        sync_dir(dir)?;
    }
    Ok(entries.first().zip(entries.last()).map(|(low, high)| (low.0, high.0)))
}

/// Whether the index on the disk says this.
pub(super) fn index_is(path: &Path, entries: &mut [(Uuid, Place)]) -> bool {
    entries.sort_unstable_by_key(|(id, _)| *id);
    std::fs::read(path).is_ok_and(|bytes| bytes == encode_index(entries))
}

fn encode_index(entries: &[(Uuid, Place)]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for (id, place) in entries {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&place.offset.to_le_bytes());
        bytes.extend_from_slice(&place.length.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes[HEADER..]);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&(entries.len() as u64).to_le_bytes());
    bytes[16..HEADER].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn search(index: &File, id: Uuid) -> std::io::Result<Option<Place>> {
    let position = position(index, id)?;
    let found = read_entries(index, position, position + 1)?;
    Ok(found.first().filter(|(it, _)| *it == id).map(|(_, place)| *place))
}

/// How many of an index's ids are lower than this.
pub(super) fn position(index: &File, id: Uuid) -> std::io::Result<u64> {
    let (mut low, mut high) = (0, index.metadata()?.len().saturating_sub(HEADER as u64) / ENTRY as u64);
    while low < high {
        let middle = u64::midpoint(low, high);
        let mut found = [0; 16];
        index.read_exact_at(&mut found, HEADER as u64 + middle * ENTRY as u64)?;
        if found < *id.as_bytes() { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Entries of an index from one place up to another, or to its end.
pub(super) fn read_entries(index: &File, from: u64, to: u64) -> std::io::Result<Vec<(Uuid, Place)>> {
    let to = to.min(index.metadata()?.len().saturating_sub(HEADER as u64) / ENTRY as u64);
    let count = usize::try_from(to.saturating_sub(from)).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; count * ENTRY];
    index.read_exact_at(&mut bytes, HEADER as u64 + from * ENTRY as u64)?;
    let entry = |it: &[u8]| {
        let (id, rest) = it.split_first_chunk::<16>()?;
        let (offset, rest) = rest.split_first_chunk::<4>()?;
        let length = rest.first_chunk::<4>()?;
        let place = Place { offset: u32::from_le_bytes(*offset), length: u32::from_le_bytes(*length) };
        Some((Uuid::from_bytes(*id), place))
    };
    Ok(bytes.chunks_exact(ENTRY).filter_map(entry).collect())
}
