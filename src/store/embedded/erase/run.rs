//! Erases what was sent of a patient while the server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::find::FoundData;
use super::overwrite::overwritten;
use crate::store::embedded::backend::Embedded;
use crate::store::embedded::change::Change;
use crate::store::embedded::journal::{JournalFiles, Op, OpKind};
use crate::store::embedded::{failure, keys};
use crate::store::erasure::patient::Patient;
use crate::store::erasure::report::{Erased, NamingTask};
use crate::store::error::StoreError;

/// Maximum number of rounds that look for newly stored events. Two rounds find everything, unless new events of the
/// patient are stored all the time.
const ROUNDS: usize = 10;

impl Embedded {
    /// Erases what was sent about a patient from all segments while the server runs; with `dry_run`, only reports
    /// it. An event that was received before `now` and is stored later (its plugin may still be running) is erased
    /// when it is stored. Blocking.
    ///
    /// # Errors
    /// Fails if the journal cannot be read or written. What was erased by then stays erased; call it again to erase
    /// the rest.
    pub(in crate::store::embedded) fn erase_patient(
        &self,
        patient: &Patient,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<Erased, StoreError> {
        if dry_run {
            let found = self.files(true).find(patient, BTreeMap::new(), &mut |_| {})?;
            let (_, remembered_responses) = self.answers_about(patient, &found.known)?;
            let tasks = self.tasks_naming(patient)?;
            return Ok(Erased { remembered_responses, tasks, ..found.into() });
        }
        // Registered first, so that every commit is either in a segment that is searched below, or decided with the
        // erasure known.
        let failed = |e: std::io::Error| failure::io(&e, StoreError::Write);
        self.shared.erasures.begin(Arc::new(patient.clone()), now).map_err(failed)?;
        // Excludes backups, which would copy what is being erased.
        let _alone = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut erased = BTreeMap::new();
        let mut known = BTreeMap::new();
        let (mut damaged, mut remembered_responses) = (0, 0);
        for _ in 0..ROUNDS {
            // Close the current segment, because only closed segments can be rewritten.
            self.writer.write_blocking(Change::Roll { before_ms: i64::MAX })?;
            let files = self.files(false);
            // Keep the events found so far: one that was stored again since the last round no longer has the text
            // by which it was found.
            let found = files.find(patient, std::mem::take(&mut known), &mut |_| {})?;
            let (answers, count) = self.answers_about(patient, &found.known)?;
            if count > 0 {
                self.overwrite_answers(answers)?;
                // The previous snapshot contains the erased responses.
                self.shared.take_snapshot(self.shared.acked())?;
                remembered_responses += count;
            }
            files.erase(&found, patient, now, &|first, copy| self.put_copy(first, copy))?;
            damaged = found.damaged;
            let nothing = found.events.is_empty() && found.answers == 0 && count == 0;
            known = found.known;
            for (id, it) in found.events {
                erased.entry(id).or_insert(it);
            }
            if nothing {
                break;
            }
        }
        let tasks = self.tasks_naming(patient)?;
        Ok(Erased {
            remembered_responses,
            tasks,
            ..FoundData { events: erased, damaged, ..FoundData::default() }.into()
        })
    }

    /// Erases the earlier records of events that were recognized as the patient's only when their result was
    /// stored: queued events without an earlier sign of the patient. Does nothing if there are none. Blocking.
    ///
    /// # Errors
    /// Fails as [`Upkeep::erase`](crate::store::Upkeep::erase) does; the next call tries again.
    pub(in crate::store::embedded) fn finish_erasures(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let late = self.shared.erasures.late().clone();
        if !late.is_empty() {
            self.erase_records(&late, now)?;
        }
        self.shared.erasures.settle(&late).map_err(|e| failure::io(&e, StoreError::Write))
    }

    fn erase_records(&self, ids: &BTreeSet<Uuid>, now: DateTime<Utc>) -> Result<(), StoreError> {
        let _alone = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.writer.write_blocking(Change::Roll { before_ms: i64::MAX })?;
        let failed = |e: std::io::Error| StoreError::Read(e.to_string());
        for (first, path) in self.shared.segments.closed_with(ids).map_err(failed)? {
            let copy = overwritten(&path, self.shared.salt, first, now, &|id| ids.contains(&id), &mut |_| None)?;
            if let Some(copy) = copy {
                self.put_copy(first, copy)?;
            }
        }
        Ok(())
    }

    /// Returns the company's readable tasks that name the patient.
    fn tasks_naming(&self, patient: &Patient) -> Result<Vec<NamingTask>, StoreError> {
        self.shared.settle()?;
        self.shared.view(|tree| {
            let mut found = Vec::new();
            for entry in tree.scan_prefix(keys::tasks_of(&patient.company)) {
                let (key, value) = entry.map_err(failure::read)?;
                let task = patient.task(&Op { kind: OpKind::Insert, key: &key, value: &value });
                found.extend(task.and_then(|it| NamingTask::of(patient, &it)));
            }
            Ok(found)
        })
    }

    fn files(&self, with_last: bool) -> JournalFiles {
        let mut files = self.shared.segments.files().0;
        if !with_last {
            files.pop();
        }
        JournalFiles {
            segments: files.into_iter().map(|(first, path, _)| (first, path)).collect(),
            salt: self.shared.salt,
        }
    }

    pub(super) fn put_copy(&self, first: u64, copy: PathBuf) -> Result<(), StoreError> {
        self.writer.write_blocking(Change::SwapSegment { first, copy }).map(drop)
    }
}
