//! Space that belongs to sled's file already, behind its end.
//!
//! sled writes while it is read: what was changed and not yet written goes out when other pages need its place. With
//! some space set aside, reading and deleting go on where others have taken the disk's last byte.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// Bytes set aside: four of sled's segments.
pub(super) const BYTES: u64 = 16 << 20;

#[derive(Debug, Clone)]
pub(super) struct Headroom {
    file: Arc<File>,
    /// Where in the file the space ends.
    until: u64,
}

impl Headroom {
    /// For a view's directory, which sled has open.
    pub(super) fn of(view: &Path) -> std::io::Result<Self> {
        let file = Arc::new(File::options().read(true).write(true).open(view.join("db"))?);
        let mut headroom = Self { file, until: 0 };
        headroom.keep();
        Ok(headroom)
    }

    /// Gives the whole file's space back, though somebody may have it open still.
    pub(super) fn give_back(&self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(cause = %error, "the space of a view that failed cannot be given back");
        }
    }

    /// Sets aside what is missing. On a disk that is full, or that cannot do it, there is none, and that is no error.
    pub(super) fn keep(&mut self) {
        let Ok(length) = self.file.metadata().map(|it| it.len()) else { return };
        // Where sled has cut its file, the space behind it has gone with that.
        let cut = self.until > length + BYTES;
        if cut || self.until < length + BYTES / 2 {
            let kept = rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, BYTES);
            self.until = if kept.is_ok() { length + BYTES } else { 0 };
        }
    }
}
