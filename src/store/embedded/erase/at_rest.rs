//! Erases what was sent of a patient from a directory without a server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::answers;
use super::late::Erasures;
use crate::store::dir_lock::DirLock;
use crate::store::embedded::data_dir::{journal_dir, refuse_unfinished, snapshot_dir};
use crate::store::embedded::journal::{JournalFiles, Op, OpKind, put_in_place};
use crate::store::embedded::snapshot;
use crate::store::erasure::patient::Patient;
use crate::store::erasure::report::Erased;
use crate::store::error::StoreError;

/// Erases a patient in a backup or a data directory without a running server. `read` is called with the number of
/// journal bytes read so far.
///
/// # Errors
/// Fails if a server holds the directory, or as [`Upkeep::erase`](crate::store::Upkeep::erase) does.
pub fn erase(
    dir: &Path,
    patient: &Patient,
    now: DateTime<Utc>,
    dry_run: bool,
    read: &mut dyn FnMut(u64),
) -> Result<Erased, StoreError> {
    refuse_unfinished(dir)?;
    let _held = DirLock::take(dir)?;
    let journal = journal_dir(dir);
    let failed = |e: std::io::Error| StoreError::Read(format!("{}: {e}", journal.display()));
    let files = JournalFiles::at_rest(&journal).map_err(failed)?;
    let found = files.find(patient, BTreeMap::new(), read)?;
    if !dry_run {
        // Queued events are processed when a server is started, so it must know about this erasure.
        let noted = Erasures::read(&journal).and_then(|it| it.begin(Arc::new(patient.clone()), now));
        noted.map_err(|e| StoreError::Write(format!("{}: {e}", journal.display())))?;
        files.erase(&found, patient, now, &|first, copy| {
            let segment = files.segments.iter().find(|(it, _)| *it == first);
            let put = segment.map_or(Ok(()), |(_, segment)| put_in_place(&copy, segment));
            put.map_err(|e| StoreError::Write(e.to_string()))
        })?;
        let newest = snapshot::newest(&snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
        if let Some(newest) = newest {
            let mut change = |key: &[u8], value: &[u8]| {
                answers::erased(&Op { kind: OpKind::Insert, key, value }, patient, &found.known, &mut 0)
            };
            snapshot::rewrite(&newest, &mut change)?;
        }
    }
    Ok(found.into())
}
