//! The journal: the truth. Every accepted change is one record here before anybody is told so.
//!
//! Append-only segments of one directory, named by the sequence of their first record. A group of records becomes
//! durable with one fdatasync. In the order of a record's life:
//!
//! - `format.rs`: the bytes; `prepare.rs`: segments made ahead; `append.rs`: the end that grows; `mark.rs`: what was
//!   acknowledged.
//! - `survey.rs` and `open.rs`: the start; `verify.rs`: what the start did not read; `scan.rs`: how a segment is read.
//! - `segments.rs`, `index_file.rs` and `listing.rs`: where events are found; `history.rs`: every event, for other processes.
//! - `replay.rs`: records again, for a view; `rewrite.rs`: how values are erased from a segment.

mod append;
mod format;
mod history;
mod index_file;
mod listing;
mod mark;
mod open;
mod prepare;
mod replay;
mod rewrite;
mod scan;
mod segments;
mod survey;
mod verify;

use std::fs::File;
use std::path::{Path, PathBuf};

pub(super) use append::{AppendError, Journal, removable};
pub(super) use format::{GroupWriter, Kind, Op, group_ops, ops};
pub(super) use history::History;
pub(super) use open::{Opened, write_json};
pub(super) use replay::replay;
pub(super) use rewrite::{Files, Rewritten, put_in_place, rewrite};
pub(super) use segments::{Closed, Place, Segments, Stored};
pub(super) use survey::{Accepted, Survey, read_only};
pub(super) use verify::{Unverified, known_damaged, verify};

/// The name of the segment that begins with this sequence: names sort as sequences do.
fn file_name(first: u64) -> String {
    format!("{first:020}.journal")
}

fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".journal")?;
    (name.len() == 20).then(|| name.parse().ok())?
}

/// Files next to the segments that a copy of the journal needs: what was accepted as lost, and up to when events have expired.
pub(super) fn companions(dir: &Path) -> impl Iterator<Item = PathBuf> {
    [survey::ACCEPTED, HORIZON].map(|it| dir.join(it)).into_iter().filter(|it| it.exists())
}

/// The file that says up to when events have expired.
pub(super) const HORIZON: &str = "horizon";

/// Writes the mark of a journal that was copied: what is in it counts as acknowledged.
pub(super) fn mark_copy(dir: &Path, oldest: u64, last: u64) -> std::io::Result<()> {
    let mut mark = mark::Mark::open(dir)?;
    mark.set_acked(last)?;
    mark.set_oldest(oldest)
}

/// Makes a new name in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
