//! The index of a closed segment: a file next to it with the segment's last sequence and the positions of its
//! events, sorted by id.
//!
//! | part | bytes |
//! |---|---|
//! | header, 72 | `HMEVIX02`, entries u64, sequence after the last record u64, bytes of the segment u64, lowest and
//! highest id (zeros if there are no entries), CRC-32 of all entries u32, CRC-32 of the preceding 68 bytes u32 |
//! | entry, 24 | id, offset u32, length u32 |
//!
//! A start reads the headers only; the entries are verified before they are first used. `HMEVIX01` had a shorter
//! header: a segment with such an index, or with none, is read from end to end once, and gets a new index.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::event_place::EventPlace;
use super::files::sync_dir;

const MAGIC: &[u8; 8] = b"HMEVIX02";
const HEADER: usize = 72;
const ENTRY: usize = 24;

/// Returns the path of a segment's index file.
pub(super) fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("events")
}

/// What the header of an index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// The sequence after the segment's last record.
    pub(super) next: u64,
    /// Size of the segment, in bytes.
    pub(super) end: u64,
    /// The lowest and the highest id.
    pub(super) range: Option<(Uuid, Uuid)>,
}

/// Writes an index. Returns the lowest and the highest id.
pub(super) fn write_index(
    path: &Path,
    mut entries: Vec<(Uuid, EventPlace)>,
    next: u64,
    end: u64,
) -> std::io::Result<Option<(Uuid, Uuid)>> {
    entries.sort_unstable_by_key(|(id, _)| *id);
    let bytes = encode(&entries, next, end);
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    if let Some(dir) = path.parent() {
        sync_dir(dir)?;
    }
    Ok(range(&entries))
}

/// Returns the lowest and the highest id of sorted entries.
pub(super) fn range(entries: &[(Uuid, EventPlace)]) -> Option<(Uuid, Uuid)> {
    entries.first().zip(entries.last()).map(|(low, high)| (low.0, high.0))
}

/// Returns whether the index on disk has exactly this content.
pub(super) fn index_is(path: &Path, entries: &mut [(Uuid, EventPlace)], next: u64, end: u64) -> bool {
    entries.sort_unstable_by_key(|(id, _)| *id);
    std::fs::read(path).is_ok_and(|bytes| bytes == encode(entries, next, end))
}

/// Reads an index's header and checks its size, so that a start does not take longer with more events. `None` if
/// the file is not a valid index.
pub(super) fn glance(path: &Path) -> Option<Summary> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut header = [0; HEADER];
    file.read_exact(&mut header).ok()?;
    summary(&header, length)
}

/// Reads the header of an index and verifies all entries; `None` if they are damaged.
pub(super) fn verify(path: &Path) -> std::io::Result<Option<Summary>> {
    let bytes = std::fs::read(path)?;
    let Some((header, entries)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let whole = header[64..68] == crc32fast::hash(entries).to_le_bytes();
    Ok(summary(header, bytes.len() as u64).filter(|_| whole))
}

fn summary(header: &[u8; HEADER], length: u64) -> Option<Summary> {
    let number = |at: usize| header[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    let id = |at: usize| header[at..at + 16].try_into().map_or(Uuid::nil(), Uuid::from_bytes);
    let (count, next, end) = (number(8), number(16), number(24));
    let size = count.checked_mul(ENTRY as u64)?.checked_add(HEADER as u64)?;
    let whole = &header[..8] == MAGIC && header[68..] == crc32fast::hash(&header[..68]).to_le_bytes();
    (whole && size == length).then(|| Summary { next, end, range: (count > 0).then(|| (id(32), id(48))) })
}

fn encode(entries: &[(Uuid, EventPlace)], next: u64, end: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for (id, place) in entries {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&place.offset.to_le_bytes());
        bytes.extend_from_slice(&place.length.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes[HEADER..]);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&(entries.len() as u64).to_le_bytes());
    bytes[16..24].copy_from_slice(&next.to_le_bytes());
    bytes[24..32].copy_from_slice(&end.to_le_bytes());
    if let Some((lowest, highest)) = range(entries) {
        bytes[32..48].copy_from_slice(lowest.as_bytes());
        bytes[48..64].copy_from_slice(highest.as_bytes());
    }
    bytes[64..68].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..68]);
    bytes[68..HEADER].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Returns the number of entries in an index, by its size; 0 if there is no index.
pub(super) fn read_entry_count(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |it| entry_count(it.len()))
}

fn entry_count(length: u64) -> u64 {
    length.saturating_sub(HEADER as u64) / ENTRY as u64
}

pub(super) fn search(index: &File, id: Uuid) -> std::io::Result<Option<EventPlace>> {
    let position = position(index, id)?;
    let found = read_entries(index, position, position + 1)?;
    Ok(found.first().filter(|(it, _)| *it == id).map(|(_, place)| *place))
}

/// Returns how many ids in an index are lower than this one.
pub(super) fn position(index: &File, id: Uuid) -> std::io::Result<u64> {
    let (mut low, mut high) = (0, entry_count(index.metadata()?.len()));
    while low < high {
        let middle = u64::midpoint(low, high);
        let mut found = [0; 16];
        index.read_exact_at(&mut found, HEADER as u64 + middle * ENTRY as u64)?;
        if found < *id.as_bytes() { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Returns the entries of an index from one position up to another, or to the end.
pub(super) fn read_entries(index: &File, from: u64, to: u64) -> std::io::Result<Vec<(Uuid, EventPlace)>> {
    let to = to.min(entry_count(index.metadata()?.len()));
    let count = usize::try_from(to.saturating_sub(from)).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; count * ENTRY];
    index.read_exact_at(&mut bytes, HEADER as u64 + from * ENTRY as u64)?;
    let entry = |it: &[u8]| {
        let (id, rest) = it.split_first_chunk::<16>()?;
        let (offset, rest) = rest.split_first_chunk::<4>()?;
        let length = rest.first_chunk::<4>()?;
        let place = EventPlace { offset: u32::from_le_bytes(*offset), length: u32::from_le_bytes(*length) };
        Some((Uuid::from_bytes(*id), place))
    };
    Ok(bytes.chunks_exact(ENTRY).filter_map(entry).collect())
}
