//! Snapshots: the content of the read view in one checksummed file. They bound what a rebuild must replay, and are
//! part of backups.
//!
//! | part | bytes |
//! |---|---|
//! | header, 20 | `HMSNAP01`, sequence u64, CRC u32 |
//! | chunk | length u32, CRC u32, entries: key length u16, value length u32, key, value |
//! | end | length 0, CRC of the number of entries, number of entries u64 |
//!
//! Writes continue while a snapshot is taken: it has every change up to its sequence, and perhaps some later ones.
//! A reader replays the journal from there; every operation contains the complete new value.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::journal::sync_dir;
use super::{failure, keys, record};
use crate::store::error::StoreError;

/// Sizes of the header, of a chunk's head and of an entry's head, in bytes.
const HEADER_BYTES: usize = 20;
const CHUNK_HEAD: usize = 8;
const ENTRY_HEAD: usize = 6;
const MAGIC: &[u8; 8] = b"HMSNAP01";
const CHUNK: usize = 256 << 10;
/// Upper limit of a chunk's size, in bytes. An entry is not much larger than a request's body.
const CHUNK_MOST: usize = 1 << 30;

/// Some of a snapshot's entries: keys and values.
pub(super) type Entries<'a> = [(&'a [u8], &'a [u8])];

/// A snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    pub(super) sequence: u64,
}

/// Returns the newest snapshot of a directory.
pub(super) fn newest(dir: &Path) -> std::io::Result<Option<Snapshot>> {
    let mut found: Option<Snapshot> = None;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str()).and_then(|it| it.strip_suffix(".snapshot"));
        if let Some(sequence) = name.and_then(|it| it.parse().ok())
            && found.as_ref().is_none_or(|it| it.sequence < sequence)
        {
            found = Some(Snapshot { path, sequence });
        }
    }
    Ok(found)
}

/// Writes everything in `tree`, which has applied the journal up to `sequence`, to a new file in `dir`. `go_on` is
/// called after each chunk; false stops the snapshot.
///
/// # Errors
/// [`StoreError::Closed`] if it was stopped. No file remains after any error.
pub(super) fn write(
    tree: &sled::Tree,
    sequence: u64,
    dir: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<Snapshot, StoreError> {
    let failed = |e: std::io::Error| StoreError::Write(format!("a snapshot cannot be written: {e}"));
    let (temporary, path) = (dir.join("snapshot.tmp"), dir.join(format!("{sequence:020}.snapshot")));
    let written = write_to(tree, sequence, &temporary, go_on);
    if written.is_err() {
        let _frees_the_space = std::fs::remove_file(&temporary);
    }
    written?;
    std::fs::rename(&temporary, &path).and_then(|()| sync_dir(dir)).map_err(failed)?;
    Ok(Snapshot { path, sequence })
}

fn write_to(tree: &sled::Tree, sequence: u64, path: &Path, go_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
    let failed = |e: std::io::Error| StoreError::Write(format!("a snapshot cannot be written: {e}"));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    let mut header = [MAGIC.as_slice(), &sequence.to_le_bytes()].concat();
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    file.write_all(&header).map_err(failed)?;
    let (mut chunk, mut count) = (Vec::with_capacity(CHUNK * 2), 0_u64);
    for entry in tree {
        let (key, value) = entry.map_err(failure::read)?;
        if &*key == keys::META {
            continue;
        }
        count += 1;
        let (Ok(key_length), Ok(value_length)) = (u16::try_from(key.len()), u32::try_from(value.len())) else {
            return Err(record::damaged("view", &"an entry is longer than a snapshot's format allows"));
        };
        chunk.extend_from_slice(&key_length.to_le_bytes());
        chunk.extend_from_slice(&value_length.to_le_bytes());
        chunk.extend_from_slice(&key);
        chunk.extend_from_slice(&value);
        if chunk.len() >= CHUNK {
            write_chunk(&mut file, &chunk).map_err(failed)?;
            chunk.clear();
            if !go_on() {
                return Err(StoreError::Closed);
            }
        }
    }
    if !chunk.is_empty() {
        write_chunk(&mut file, &chunk).map_err(failed)?;
    }
    let count = count.to_le_bytes();
    let end = [&0_u32.to_le_bytes()[..], &crc32fast::hash(&count).to_le_bytes(), &count].concat();
    file.write_all(&end).map_err(failed)?;
    file.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)
}

fn write_chunk(file: &mut impl Write, chunk: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(chunk.len()).map_err(std::io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&crc32fast::hash(chunk).to_le_bytes())?;
    file.write_all(chunk)
}

/// Visits every entry and returns their number.
///
/// # Errors
/// Fails if the file is damaged. The entries visited until then are valid.
pub(super) fn read(
    snapshot: &Snapshot,
    visit: &mut dyn FnMut(&Entries<'_>) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let name = snapshot.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let damaged = |cause: &str| StoreError::Damaged { what: "snapshot", cause: format!("{name}: {cause}") };
    let failed = |e: std::io::Error| damaged(&e.to_string());
    let mut file = BufReader::with_capacity(1 << 20, File::open(&snapshot.path).map_err(failed)?);
    let mut header = [0; 20];
    file.read_exact(&mut header).map_err(failed)?;
    let whole = &header[..8] == MAGIC && header[16..] == crc32fast::hash(&header[..16]).to_le_bytes();
    if !whole || header[8..16] != snapshot.sequence.to_le_bytes() {
        return Err(damaged("its header is damaged"));
    }
    let (mut chunk, mut count) = (Vec::new(), 0_u64);
    loop {
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(failed)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > CHUNK_MOST {
            return Err(damaged("a chunk's length is wrong"));
        }
        // The last chunk contains the number of entries; its length field is 0.
        chunk.resize(if length == 0 { 8 } else { length }, 0);
        file.read_exact(&mut chunk).map_err(failed)?;
        if crc32fast::hash(&chunk).to_le_bytes() != head[4..] {
            return Err(damaged("a chunk's checksum does not match"));
        }
        if length == 0 {
            let said = u64::from_le_bytes(chunk.as_slice().try_into().unwrap_or_default());
            return if said == count {
                Ok(count)
            } else {
                Err(damaged("its number of entries differs from the number at its end"))
            };
        }
        let entries = entries(&chunk).ok_or_else(|| damaged("a chunk contains an incomplete entry"))?;
        count += entries.len() as u64;
        visit(&entries)?;
    }
}

/// Returns the new value of an entry; `None` if it does not change.
pub(super) type Replaces<'a> = dyn FnMut(&[u8], &[u8]) -> Option<Vec<u8>> + 'a;

/// Replaces values by others of the same length, in a copy that then replaces the snapshot. For a directory without
/// a view that another snapshot could be taken from. Returns whether there was anything to replace.
///
/// # Errors
/// Fails if the file is damaged or cannot be written; it is unchanged then.
pub(super) fn rewrite(snapshot: &Snapshot, change: &mut Replaces<'_>) -> Result<bool, StoreError> {
    let failed = |e: std::io::Error| StoreError::Write(format!("a snapshot cannot be written: {e}"));
    let temporary = snapshot.path.with_file_name("snapshot.tmp");
    let mut bytes = std::fs::read(&snapshot.path).map_err(failed)?;
    let (mut at, mut changed) = (HEADER_BYTES, false);
    read(snapshot, &mut |entries| {
        let start = at + CHUNK_HEAD;
        at = start;
        for (key, value) in entries {
            at += ENTRY_HEAD + key.len() + value.len();
            if let Some(new) = change(key, value).filter(|it| it.len() == value.len()) {
                bytes[at - value.len()..at].copy_from_slice(&new);
                changed = true;
            }
        }
        let crc = crc32fast::hash(&bytes[start..at]).to_le_bytes();
        bytes[start - 4..start].copy_from_slice(&crc);
        Ok(())
    })?;
    if changed {
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&temporary, &snapshot.path).map_err(failed)?;
        snapshot.path.parent().map_or(Ok(()), sync_dir).map_err(failed)?;
    }
    Ok(changed)
}

fn entries(mut chunk: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut entries = Vec::new();
    while !chunk.is_empty() {
        let (head, rest) = chunk.split_first_chunk::<6>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[0], head[1]])))?;
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        let (value, rest) = rest.split_at_checked(length)?;
        entries.push((key, value));
        chunk = rest;
    }
    Some(entries)
}

/// Removes all snapshots except this one.
pub(super) fn keep_only(dir: &Path, kept: &Snapshot) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "snapshot") && path != kept.path {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
