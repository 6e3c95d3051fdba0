//! Disk space that is reserved for sled's file beyond its end.
//!
//! sled also writes during reads, when it evicts changed pages. With reserved space, reading and deleting remain
//! possible when the disk is full.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// Reserved space in bytes: four of sled's segments.
pub(super) const BYTES: u64 = 16 << 20;

#[derive(Debug, Clone)]
pub(super) struct Headroom {
    file: Arc<File>,
    /// Offset at which the reserved space ends.
    until: u64,
}

impl Headroom {
    /// Creates the reserve for a view's directory that sled has open.
    pub(super) fn of(view: &Path) -> std::io::Result<Self> {
        let file = Arc::new(File::options().read(true).write(true).open(view.join("db"))?);
        let mut headroom = Self { file, until: 0 };
        headroom.keep();
        Ok(headroom)
    }

    /// Frees the whole file's disk space, even if the file is still open.
    pub(super) fn give_back(&self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(cause = %error, "the disk space of a failed read view cannot be freed");
        }
    }

    /// Extends the reserve if necessary. A full disk, or a file system without support for it, is not an error:
    /// then there is no reserve.
    pub(super) fn keep(&mut self) {
        let Ok(length) = self.file.metadata().map(|it| it.len()) else { return };
        // If sled has truncated its file, the reserved space is gone too.
        let cut = self.until > length + BYTES;
        if cut || self.until < length + BYTES / 2 {
            let kept = rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, BYTES);
            self.until = if kept.is_ok() { length + BYTES } else { 0 };
        }
    }
}
