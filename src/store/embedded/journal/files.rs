//! Names of the files of the journal, and how they become durable.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{mark, survey};

/// Returns the name of the segment with this first sequence. Names sort as sequences do.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.journal")
}

pub(super) fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".journal")?;
    (name.len() == 20).then(|| name.parse().ok())?
}

/// Returns the other files that a copy of the journal needs: the accepted losses, and the time up to which events
/// have expired.
pub(crate) fn companions(dir: &Path) -> impl Iterator<Item = PathBuf> {
    [survey::ACCEPTED, HORIZON].map(|it| dir.join(it)).into_iter().filter(|it| it.exists())
}

/// File with the time up to which events have expired.
pub(crate) const HORIZON: &str = "horizon";

/// Writes the mark of a copied journal: everything in it counts as acknowledged.
pub(crate) fn mark_copy(dir: &Path, oldest: u64, last: u64) -> std::io::Result<()> {
    let mut mark = mark::Mark::open(dir)?;
    mark.set_acked(last)?;
    mark.set_oldest(oldest)
}

/// Makes a new file name in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
