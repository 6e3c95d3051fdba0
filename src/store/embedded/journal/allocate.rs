//! Space for segments.

use std::fs::File;
use std::path::{Path, PathBuf};

/// Creates a segment's file that was not prepared.
pub(super) fn fresh(dir: &Path, bytes: u64) -> std::io::Result<(File, PathBuf)> {
    let path = dir.join("fresh.tmp");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    if let Err(error) = allocate(&file, bytes) {
        let _frees_the_space = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok((file, path))
}

/// Allocates disk space for a file. If the file system does not support that (ext2), only sets the file's length.
pub(super) fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        result => result.map_err(Into::into),
    }
}
