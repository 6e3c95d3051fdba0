//! Rewrites a segment with some values replaced by others of the same length. Positions do not change, so every
//! index stays valid.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::files::{segment_paths, sync_dir};
use super::format::{self, Op, ops};
use super::scan::{self, Record};

/// Name of an unfinished copy. One that a killed process has left behind is removed at the next start.
pub(super) const UNFINISHED: &str = "rewrite.tmp";

/// A durable copy of a segment, and the number of places in the segment that could not be read.
#[derive(Debug)]
pub(in super::super) struct Rewritten {
    /// `None` if there was nothing to replace.
    pub(in super::super) copy: Option<PathBuf>,
    pub(in super::super) damaged: u64,
}

/// Visits every operation of a segment. A value that `change` returns replaces the operation's value in a copy; it
/// is ignored if its length differs.
pub(in super::super) fn rewrite(
    segment: &Path,
    salt: u32,
    first: u64,
    change: &mut dyn FnMut(&Op<'_>) -> Option<Vec<u8>>,
) -> std::io::Result<Rewritten> {
    let path = segment.with_file_name(UNFINISHED);
    let mut copy: Option<File> = None;
    let mut result = Ok(());
    let scanned = scan::scan(segment, salt, first, 0, &mut |record| {
        if result.is_ok()
            && let Some(payload) = changed(&record, change)
        {
            result = write(segment, &path, &mut copy, salt, &record, &payload);
        }
    });
    let finished = result.and(scanned).and_then(|it| copy.iter().try_for_each(File::sync_all).map(|()| it));
    // The unfinished copy of another call is not touched.
    if finished.is_err() && copy.is_some() {
        let _frees_the_space = std::fs::remove_file(&path);
    }
    Ok(Rewritten { damaged: finished?.lost.len() as u64, copy: copy.map(|_| path) })
}

/// Returns a record's payload with its new values; `None` if nothing changes.
fn changed(record: &Record<'_>, change: &mut dyn FnMut(&Op<'_>) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut payload: Option<Vec<u8>> = None;
    let mut end = 0;
    for op in ops(record.payload).unwrap_or_default() {
        end += op.encoded_len();
        if let Some(value) = change(&op).filter(|it| it.len() == op.value.len()) {
            let payload = payload.get_or_insert_with(|| record.payload.to_vec());
            payload[end - value.len()..end].copy_from_slice(&value);
        }
    }
    payload
}

fn write(
    segment: &Path,
    path: &Path,
    copy: &mut Option<File>,
    salt: u32,
    record: &Record<'_>,
    payload: &[u8],
) -> std::io::Result<()> {
    if copy.is_none() {
        std::fs::copy(segment, path)?;
        *copy = Some(File::options().write(true).open(path)?);
    }
    let Some(file) = copy else { return Ok(()) };
    file.write_all_at(payload, record.offset)?;
    let crc = format::record_crc(salt, record.sequence, payload);
    file.write_all_at(&crc.to_le_bytes(), record.offset - 4)
}

/// Replaces a segment with its copy, durably.
pub(in super::super) fn put_in_place(copy: &Path, segment: &Path) -> std::io::Result<()> {
    std::fs::rename(copy, segment)?;
    segment.parent().map_or(Ok(()), sync_dir)
}

/// The segments to go through, oldest first, each with its first sequence; and their salt.
#[derive(Debug, Default)]
pub(in super::super) struct JournalFiles {
    pub(in super::super) segments: Vec<(u64, PathBuf)>,
    pub(in super::super) salt: u32,
}

impl JournalFiles {
    /// Returns the segments of a journal that no process writes to.
    pub(in super::super) fn at_rest(dir: &Path) -> std::io::Result<Self> {
        let segments = segment_paths(dir)?;
        for (_, path) in &segments {
            if let Some(header) = scan::header(path)? {
                return Ok(Self { segments, salt: header.salt });
            }
        }
        Ok(Self::default())
    }
}
