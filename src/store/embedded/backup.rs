//! Backups, restoring them, and compaction.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::PoisonError;

use super::backend::Embedded;
use super::check;
use super::data_dir::{UNFINISHED, journal_dir, snapshot_dir};
use super::journal::{companions, mark_copy, sync_dir};
use super::private::{create_private_dir, make_private};
use super::report::CheckReport;
use super::{failure, rebuild};
use crate::metrics::store::STORE;
use crate::store::error::StoreError;
use crate::system::clock;

impl Embedded {
    /// Copies everything acknowledged to a new directory while writes continue: a snapshot, and the journal with
    /// the events. The copy is a data directory of its own. Blocking.
    ///
    /// # Errors
    /// Fails if `to` is not empty, or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<CheckReport, StoreError> {
        let report = self.copy_to(to);
        STORE.backups.ended(report.is_ok());
        if report.is_ok() {
            STORE.backup_ms.set(u64::try_from(clock::now().timestamp_millis()).unwrap_or(0));
        }
        report
    }

    fn copy_to(&self, to: &Path) -> Result<CheckReport, StoreError> {
        let failed =
            |e: std::io::Error| failure::io(&e, |cause| StoreError::Write(format!("{}: {cause}", to.display())));
        empty_dir(to)?;
        // The marker exists during the whole copy, so that an interrupted backup is not taken for a complete one.
        let unfinished = to.join(UNFINISHED);
        File::create_new(&unfinished).and_then(|it| it.sync_all()).and_then(|()| sync_dir(to)).map_err(failed)?;
        let (journal, snapshots) = (journal_dir(to), snapshot_dir(to));
        for dir in [&journal, &snapshots] {
            create_private_dir(dir).map_err(failed)?;
        }
        // Held until the end, so that no segment is removed that this snapshot does not cover.
        let held = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        {
            // A newer snapshot would remove this one's file.
            let mut current = self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshot = self.shared.take_snapshot_into(&mut current, self.shared.acked())?;
            copy(&snapshot.path, &snapshots, u64::MAX).map_err(failed)?;
        }
        self.shared.settle()?;
        let (files, next) = self.shared.segments.files();
        let mut oldest = None;
        for (first, file, end) in &files {
            match copy(file, &journal, *end) {
                Ok(_) => oldest = oldest.or(Some(*first)),
                // The segment has expired in the meantime; the snapshot has the rest of it.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && oldest.is_none() => {}
                Err(e) => return Err(failed(e)),
            }
        }
        for file in companions(&journal_dir(&self.shared.dir)) {
            copy(&file, &journal, u64::MAX).map_err(failed)?;
        }
        drop(held);
        mark_copy(&journal, oldest.unwrap_or(1), next - 1).map_err(failed)?;
        for dir in [journal.as_path(), &snapshots, to] {
            sync_dir(dir).map_err(failed)?;
        }
        std::fs::remove_file(&unfinished).and_then(|()| sync_dir(to)).map_err(failed)?;
        check::check(to)
    }

    /// Rebuilds the view while the store runs, which frees the space that sled keeps. The new view is built in
    /// parallel, catches up and takes over, so requests wait for the last step only. Blocking.
    ///
    /// # Errors
    /// Fails if there is not enough free space; the old view remains.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.shared.room_for_view()?;
        self.shared.take_snapshot(self.shared.acked())?;
        let built = rebuild::in_background(&self.shared).and_then(|built| self.writer.swap_view(built));
        built.inspect_err(|error| {
            if let StoreError::Journal(damages) = error {
                self.shared.found_damage(damages.clone());
            }
        })
    }
}

/// Creates a data directory from a backup, after reading all of it. Returns what the backup contains. The view is
/// built when the directory is opened.
///
/// # Errors
/// Fails if the backup is damaged, or if `to` is not empty.
pub fn restore(from: &Path, to: &Path) -> Result<CheckReport, StoreError> {
    let failed = |e: std::io::Error| failure::io(&e, |cause| StoreError::Write(format!("{}: {cause}", to.display())));
    let report = check::check(from)?;
    if !report.damages.is_empty() {
        return Err(StoreError::Damaged { what: "backup", cause: report.damages.join("; ") });
    }
    empty_dir(to)?;
    for part in [journal_dir as fn(&Path) -> _, snapshot_dir] {
        let (from, to) = (part(from), part(to));
        create_private_dir(&to).map_err(failed)?;
        for entry in std::fs::read_dir(&from).map_err(failed)? {
            copy(&entry.map_err(failed)?.path(), &to, u64::MAX).map_err(failed)?;
        }
        sync_dir(&to).map_err(failed)?;
    }
    sync_dir(to).map_err(failed)?;
    Ok(report)
}

fn empty_dir(dir: &Path) -> Result<(), StoreError> {
    let refused = |cause: String| StoreError::Open { dir: dir.display().to_string(), cause };
    create_private_dir(dir).map_err(|e| refused(e.to_string()))?;
    // The empty directory may have been created with other permissions.
    make_private(dir, false).map_err(|e| refused(e.to_string()))?;
    let mut entries = std::fs::read_dir(dir).map_err(|e| refused(e.to_string()))?;
    if entries.next().is_some() { Err(refused("it is not empty; name a new directory".into())) } else { Ok(()) }
}

/// Copies the first bytes of a file, durably.
fn copy(file: &Path, to: &Path, bytes: u64) -> std::io::Result<()> {
    let mut source = File::open(file)?.take(bytes);
    let mut target = File::create_new(to.join(file.file_name().unwrap_or_default()))?;
    std::io::copy(&mut source, &mut target)?;
    target.sync_all()
}
