//! The lineage of a data directory: a random number that says which history its sequences belong to.
//!
//! Sequences of the journal order a company's changes, so a client may keep one in a cursor. After a restore, or after an
//! accepted loss, the same sequences are given to other changes: a cursor from before would skip some of them. So a cursor
//! also has the lineage, and expires with it. The file is not in the journal's folder, and no backup has it: a directory
//! without one begins a lineage of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::journal::sync_dir;

/// Eight random bytes and their CRC-32.
const FILE: &str = "lineage";
const BYTES: usize = 12;

/// Ends the directory's lineage, durably: changes of the journal are lost. The next one begins with [`of`].
pub(super) fn end(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(dir.join(FILE)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => sync_dir(dir),
    }
}

/// The directory's lineage; another one where there is none.
pub(super) fn of(dir: &Path) -> std::io::Result<u64> {
    if let Some(lineage) = read(dir) {
        return Ok(lineage);
    }
    let lineage = getrandom::u64().map_err(|e| std::io::Error::other(e.to_string()))?;
    if let Err(error) = write(dir, lineage) {
        // The disk may be full, and everything else can be served.
        tracing::warn!(cause = %error, "the lineage cannot be written: cursors of task changes expire at the next start");
    }
    Ok(lineage)
}

fn read(dir: &Path) -> Option<u64> {
    let bytes: [u8; BYTES] = std::fs::read(dir.join(FILE)).ok()?.try_into().ok()?;
    let (lineage, crc) = bytes.split_first_chunk::<8>()?;
    (*crc == crc32fast::hash(lineage).to_le_bytes()).then(|| u64::from_le_bytes(*lineage))
}

fn write(dir: &Path, lineage: u64) -> std::io::Result<()> {
    let temporary = dir.join("lineage.tmp");
    let bytes = lineage.to_le_bytes();
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes).and_then(|()| file.write_all(&crc32fast::hash(&bytes).to_le_bytes()))?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(FILE))?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lineage that changed at every start would make every client read everything again.
    #[test]
    fn a_lineage_stays_until_changes_are_lost_or_its_file_is() {
        let dir = tempfile::TempDir::new().unwrap();
        let first = of(dir.path()).unwrap();
        assert_eq!(of(dir.path()).unwrap(), first);
        end(dir.path()).unwrap();
        end(dir.path()).unwrap();
        let second = of(dir.path()).unwrap();
        assert_ne!(second, first);
        assert_eq!(of(dir.path()).unwrap(), second);
        std::fs::write(dir.path().join(FILE), "damaged").unwrap();
        assert_ne!(of(dir.path()).unwrap(), second);
    }

    /// The disk is full: the next one is in memory only. After a restart, cursors from before the loss must not apply again.
    #[test]
    fn a_lineage_that_has_ended_does_not_come_back_if_the_next_one_cannot_be_written() {
        let dir = tempfile::TempDir::new().unwrap();
        let first = of(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("lineage.tmp")).unwrap();
        end(dir.path()).unwrap();
        let second = of(dir.path()).unwrap();
        assert_ne!(second, first);
        assert_ne!(of(dir.path()).unwrap(), first);
    }
}
