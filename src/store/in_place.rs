//! Whether a path still refers to the file that is open.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::store::error::StoreError;

/// Checks that a path still refers to the open directory or file.
pub(in crate::store) fn is_in_place(path: &Path, open: &File) -> Result<(), StoreError> {
    let failed = |e: std::io::Error| StoreError::Write(format!("{}: {e}", path.display()));
    let (open, named) = (open.metadata().map_err(failed)?, std::fs::metadata(path).map_err(failed)?);
    if (open.dev(), open.ino()) == (named.dev(), named.ino()) {
        return Ok(());
    }
    Err(StoreError::Write(format!("{} has been replaced since it was opened; restart the server", path.display())))
}
