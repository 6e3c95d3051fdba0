//! Whether the data directory is where it was, and takes writes: what `/readyz` asks.
//!
//! An open file takes writes after its name is gone, so a server whose directory was removed would look well. Whether a write
//! would succeed is known from the last one; where that is long ago, a small file is written, and where it failed, only the
//! journal itself can show that the next one will not.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Embedded;
use super::change::Change;
use super::failure;
use super::shared::journal_dir;
use crate::store::StoreError;

/// How long a write that succeeded says that the next one will.
const PROVED: Duration = Duration::from_secs(10);
/// How long after a write that failed the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);
const PROBE: &str = "probe.tmp";

/// Nothing, where a path still leads to the directory, or file, that is open.
pub(super) fn is_in_place(path: &Path, open: &File) -> Result<(), StoreError> {
    let failed = |e: std::io::Error| StoreError::Write(format!("{}: {e}", path.display()));
    let (open, named) = (open.metadata().map_err(failed)?, std::fs::metadata(path).map_err(failed)?);
    if (open.dev(), open.ino()) == (named.dev(), named.ino()) {
        return Ok(());
    }
    Err(StoreError::Write(format!("{} is not the one that was opened; restart the server", path.display())))
}

impl Embedded {
    /// Nothing, where a write is known to succeed, or does so now. Blocking.
    pub(super) fn takes_writes(&self) -> Result<(), StoreError> {
        self.lock.is_in_place(&self.shared.dir)?;
        match self.shared.last_write() {
            (true, ago) if ago < PROVED => Ok(()),
            (true, _) => self.probe(),
            (false, ago) if ago < AGAIN => Err(StoreError::Write("the last write failed".into())),
            // Begins a segment: what fails as the last write did, fails again.
            (false, _) => self.writer.write_blocking(Change::Roll { before_ms: i64::MAX }).map(drop),
        }
    }
}

impl Embedded {
    /// Writes a small file, one caller at a time.
    fn probe(&self) -> Result<(), StoreError> {
        let _one_by_one = self.shared.probing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.shared.last_write() {
            // Another caller's probe, or a write, has shown it meanwhile.
            (true, ago) if ago < PROVED => return Ok(()),
            (true, _) => {}
            (false, _) => return Err(StoreError::Write("the last write failed".into())),
        }
        let began = Instant::now();
        let probed = probe(&journal_dir(&self.shared.dir));
        self.shared.probed(probed.is_ok(), began);
        probed.map_err(|e| failure::io(&e, StoreError::Write))
    }
}

fn probe(journal: &Path) -> std::io::Result<()> {
    let path = journal.join(PROBE);
    let mut file = File::create(&path)?;
    let written = file.write_all(&[0; 4096]).and_then(|()| file.sync_data());
    std::fs::remove_file(&path)?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::Options;

    /// Two load balancers that ask at once would make a healthy server unready.
    #[test]
    fn probes_at_the_same_time_do_not_fail_each_other() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(dir.path(), &Options::default()).unwrap();
        for _ in 0..20 {
            store.shared.forget_last_write(PROVED);
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| store.takes_writes())).collect();
                all.into_iter().for_each(|it| it.join().unwrap().unwrap());
            });
        }
    }
}
