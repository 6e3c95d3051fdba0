//! Space on the disk: what is used, and what is free.

use std::path::Path;

use crate::store::error::StoreError;

/// Returns the disk space of a file or a directory, in bytes.
pub(super) fn size_of(path: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = match std::fs::symlink_metadata(path) {
        // Segments and sled's files appear and disappear during this.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    std::fs::read_dir(path)?.map(|entry| size_of(&entry?.path())).sum()
}

/// Checks that this much space is free on a file's disk, in bytes.
pub(super) fn room(file: impl rustix::fd::AsFd, needed: u64) -> Result<(), StoreError> {
    enough(free(file)?, needed)
}

/// Returns the free space on a file's disk, in bytes.
pub(super) fn free(file: impl rustix::fd::AsFd) -> Result<u64, StoreError> {
    let free = rustix::fs::fstatvfs(file).map_err(|e| StoreError::Write(e.to_string()))?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}

pub(super) fn enough(free: u64, needed: u64) -> Result<(), StoreError> {
    if free < needed { Err(StoreError::Full { free, needed }) } else { Ok(()) }
}
