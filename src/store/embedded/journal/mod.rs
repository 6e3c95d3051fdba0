//! The journal: the truth. Every accepted change is one record here before anybody is told so.
//!
//! Append-only segments of one directory, named by the sequence of their first record. A group of records becomes
//! durable with one fdatasync. `format.rs` has the bytes, `append.rs` the end that grows, `survey.rs` and
//! `open.rs` what happens at the start, `history.rs` every event for whoever only reads, `scan.rs` how a segment is read,
//! `segments.rs` where events are found, `mark.rs` what was acknowledged, `prepare.rs` segments made ahead, `rewrite.rs`
//! how values are taken out of a segment again.

mod append;
mod format;
mod history;
mod listing;
mod mark;
mod open;
mod prepare;
mod rewrite;
mod scan;
mod segments;
mod survey;

use std::fs::File;
use std::path::{Path, PathBuf};

pub(super) use append::{AppendError, Journal, removable};
pub(super) use format::{GroupWriter, Kind, Op, group_ops, ops};
pub(super) use history::History;
pub(super) use open::Opened;
pub(super) use rewrite::{Files, Rewritten, put_in_place, rewrite};
pub(super) use segments::Segments;
pub(super) use survey::{Survey, read_only, replay};

/// The name of the segment that begins with this sequence: names sort as sequences do.
fn file_name(first: u64) -> String {
    format!("{first:020}.journal")
}

fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".journal")?;
    (name.len() == 20).then(|| name.parse().ok())?
}

/// Files beside the segments that a copy of the journal needs.
pub(super) fn companions(dir: &Path) -> Option<PathBuf> {
    Some(dir.join(survey::ACCEPTED)).filter(|it| it.exists())
}

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
