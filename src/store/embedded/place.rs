//! Checks for `/readyz` that the data directory is still in place and accepts writes.
//!
//! An open file accepts writes after its name has been removed, so a server whose directory was removed would look
//! healthy. The last write shows whether the next one will succeed. If it is too long ago, a small file is written;
//! if it failed, only a write to the journal itself can show whether writes work again.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::backend::Embedded;
use super::change::Change;
use super::data_dir::journal_dir;
use super::failure;
use crate::store::error::StoreError;

/// How long a successful write counts as proof that writes succeed.
const PROVED: Duration = Duration::from_secs(10);
/// How long after a failed write the next attempt is made.
const AGAIN: Duration = Duration::from_secs(1);
const PROBE: &str = "probe.tmp";

impl Embedded {
    /// Checks that writes succeed, from the last write or with a new one. Blocking.
    pub(super) fn takes_writes(&self) -> Result<(), StoreError> {
        self.lock.is_in_place(&self.shared.dir)?;
        match self.shared.last_write() {
            (true, ago) if ago < PROVED => Ok(()),
            (true, _) => self.probe(),
            (false, ago) if ago < AGAIN => Err(StoreError::Write("the last write failed".into())),
            // Starting a segment fails if the cause of the last failure persists.
            (false, _) => self.writer.write_blocking(Change::Roll { before_ms: i64::MAX }).map(drop),
        }
    }
}

impl Embedded {
    /// Writes a small file, for one caller at a time.
    fn probe(&self) -> Result<(), StoreError> {
        let _one_by_one = self.shared.probing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.shared.last_write() {
            // Another caller's probe, or a write, has succeeded in the meantime.
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
    use crate::store::embedded::StoreOptions;

    /// Two load balancers that probe at the same time would make a healthy server unready.
    #[test]
    fn probes_at_the_same_time_do_not_fail_each_other() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(dir.path(), &StoreOptions::default()).unwrap();
        for _ in 0..20 {
            store.shared.forget_last_write(PROVED);
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| store.takes_writes())).collect();
                all.into_iter().for_each(|it| it.join().unwrap().unwrap());
            });
        }
    }
}
