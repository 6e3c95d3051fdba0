//! The mark: a small file with the last acknowledged sequence and the oldest segment.
//!
//! It is written after every fdatasync of the journal, and not synced itself: after a kill it is exact, after a
//! power cut it may be behind. It distinguishes a torn last group (never acknowledged) from a damaged one.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const FILE: &str = "mark";
const BYTES: usize = 20;

#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// The last sequence that was acknowledged.
    pub(super) acked: u64,
    /// The first sequence that is still stored.
    pub(super) oldest: u64,
}

impl Mark {
    /// Reads the file; both values are zero if its content is invalid.
    pub(super) fn open(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join(FILE);
        let file = match File::options().read(true).write(true).create(true).truncate(false).open(&path) {
            // A read-only backup.
            Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                File::open(&path)?
            }
            other => other?,
        };
        let mut bytes = [0; BYTES];
        let whole =
            file.read_exact_at(&mut bytes, 0).is_ok() && bytes[16..] == crc32fast::hash(&bytes[..16]).to_le_bytes();
        let number = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let (acked, oldest) = if whole { (number(0), number(8)) } else { (0, 0) };
        Ok(Self { file, acked, oldest })
    }

    pub(super) fn set_acked(&mut self, acked: u64) -> std::io::Result<()> {
        self.acked = acked;
        self.write()
    }

    /// Sets the oldest sequence durably, before earlier segments are removed: otherwise their absence would look
    /// like damage.
    pub(super) fn set_oldest(&mut self, oldest: u64) -> std::io::Result<()> {
        self.oldest = oldest;
        self.write()?;
        self.file.sync_data()
    }

    fn write(&self) -> std::io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.acked.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.oldest.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..16]).to_le_bytes();
        bytes[16..].copy_from_slice(&crc);
        self.file.write_all_at(&bytes, 0)
    }
}

/// Writes the mark of a copied journal: everything in it counts as acknowledged.
pub(in super::super) fn mark_copy(dir: &Path, oldest: u64, last: u64) -> std::io::Result<()> {
    let mut mark = Mark::open(dir)?;
    mark.set_acked(last)?;
    mark.set_oldest(oldest)
}
