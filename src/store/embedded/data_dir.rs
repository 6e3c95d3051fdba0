//! The parts of a data directory.

use std::path::{Path, PathBuf};

use crate::store::error::StoreError;

/// File that marks an incomplete backup.
pub(super) const UNFINISHED: &str = "backup.unfinished";

pub(super) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

pub(super) fn snapshot_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

/// Fails for an incomplete backup: it does not show what is lost.
pub(super) fn refuse_unfinished(dir: &Path) -> Result<(), StoreError> {
    if !dir.join(UNFINISHED).exists() {
        return Ok(());
    }
    let cause = "this backup was interrupted and is incomplete; delete it and make another one".into();
    Err(StoreError::Open { dir: dir.display().to_string(), cause })
}
