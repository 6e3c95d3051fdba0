//! The directories of the view: the one in use, the next one, and those that are left over.

use std::path::{Path, PathBuf};

use super::data_dir::journal_dir;
use super::disk::size_of;
use super::headroom;
use super::journal::sync_dir;
use crate::store::error::StoreError;

/// File that names the directory of the current view.
const CURRENT: &str = "view.current";

/// Returns the directory of the current view: `sled-1` at first, with a higher number after each rebuild. `None` if
/// no view was ever complete, because a view is named only after it was built completely.
pub(super) fn current(dir: &Path) -> Option<PathBuf> {
    let name = std::fs::read_to_string(dir.join(CURRENT)).ok()?;
    number(&name).map(|_| dir.join(name))
}

/// Returns whether a server has used this directory; false for a backup.
#[must_use]
pub fn has_view(dir: &Path) -> bool {
    current(dir).is_some()
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("sled-")?.parse().ok()
}

/// Returns the maximum disk space that a rebuilt view may need, in bytes.
pub(super) fn needs(dir: &Path) -> u64 {
    current(dir).and_then(|it| size_of(&it).ok()).unwrap_or(0) + headroom::BYTES
}

/// Returns a directory name that no view has used yet, not even the current one if it is missing.
pub(super) fn next(dir: &Path) -> std::io::Result<PathBuf> {
    let mut highest = current(dir).and_then(|it| number(&it.file_name()?.to_string_lossy())).unwrap_or(0);
    for entry in std::fs::read_dir(dir)? {
        highest = highest.max(number(&entry?.file_name().to_string_lossy()).unwrap_or(0));
    }
    Ok(dir.join(format!("sled-{}", highest + 1)))
}

pub(super) fn set_current(dir: &Path, view: &Path) -> std::io::Result<()> {
    let temporary = dir.join("view.tmp");
    std::fs::write(&temporary, view.file_name().unwrap_or_default().as_encoded_bytes())?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, dir.join(CURRENT))?;
    sync_dir(dir)
}

pub(super) fn remove_dir(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Write(e.to_string())),
        _ => Ok(()),
    }
}

/// Removes what an interrupted rebuild has left behind.
pub(super) fn remove_strays(dir: &Path) -> std::io::Result<()> {
    let current = current(dir);
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if (name.starts_with("sled-") || name == "check.tmp") && Some(&path) != current.as_ref() {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Removes the directory of a view that was replaced.
pub(super) fn remove_old(old: Option<&Path>) {
    if let Some(Err(error)) = old.map(remove_dir) {
        tracing::warn!(cause = %error, "the directory of the old read view cannot be removed");
    }
}

/// Keeps one damaged view for inspection.
pub(super) fn put_aside(dir: &Path, old: &Path) {
    let aside = dir.join("sled.damaged");
    let moved = std::fs::remove_dir_all(&aside)
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .and_then(|()| std::fs::rename(old, &aside));
    match moved {
        Ok(()) => {
            tracing::warn!(directory = %aside.display(), "the damaged read view was moved here for inspection; it can be deleted")
        }
        Err(error) => {
            tracing::warn!(cause = %error, directory = %old.display(), "the damaged read view cannot be moved away")
        }
    }
}

/// Returns whether this directory contains a journal.
pub(super) fn has_journal(dir: &Path) -> bool {
    journal_dir(dir).is_dir()
}
