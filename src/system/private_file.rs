//! Files that only their owner may read, such as those with secrets.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Replaces a file in one step; only its owner can read it, who stays the same.
///
/// # Errors
/// Fails if it cannot be written.
pub(crate) fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    drop(std::fs::remove_file(&new));
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    written.write_all(bytes)?;
    // A file that root writes for the server must stay the server's.
    if let Ok(before) = std::fs::metadata(file)
        && written.metadata()?.uid() != before.uid()
    {
        std::os::unix::fs::fchown(&written, Some(before.uid()), Some(before.gid()))?;
    }
    written.sync_all()?;
    std::fs::rename(&new, file)
}

/// Locks the folder of a file until the result is dropped, so that two processes do not change the file at once.
///
/// # Errors
/// Fails if the folder cannot be opened.
pub(crate) fn lock_folder_of(file: &Path) -> std::io::Result<std::fs::File> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::File::open(folder)?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(folder)
}
