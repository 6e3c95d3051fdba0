//! The files of a journal's directory.

use std::fs::File;
use std::path::{Path, PathBuf};

/// File with the sequences whose loss an admin has accepted, so that they are not reported again.
pub(super) const ACCEPTED: &str = "accepted-loss.json";

/// Returns the name of the segment with this first sequence. AnswerNames sort as sequences do.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.journal")
}

pub(super) fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".journal")?;
    (name.len() == 20).then(|| name.parse().ok())?
}

/// Returns the other files that a copy of the journal needs: the accepted losses, and the time up to which events
/// have expired.
pub(in super::super) fn companions(dir: &Path) -> impl Iterator<Item = PathBuf> {
    [ACCEPTED, HORIZON].map(|it| dir.join(it)).into_iter().filter(|it| it.exists())
}

/// File with the time up to which events have expired.
pub(in super::super) const HORIZON: &str = "horizon";

/// Makes a new file name in a directory durable.
pub(in super::super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn segment_paths(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(first) = sequence_of(&path) {
            paths.push((first, path));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Writes a small file durably, replacing an older one.
pub(in super::super) fn write_json(dir: &Path, name: &str, content: &impl serde::Serialize) -> std::io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    std::fs::write(&temporary, serde_json::to_vec(content)?)?;
    File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)
}
