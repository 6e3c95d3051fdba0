//! Erases what was sent: of one patient, or of an integration's events that are older than `keep_days`. The events
//! remain and are marked as erased.
//!
//! `erase/patient.rs` decides what belongs to a patient, with `words.rs` and `escapes.rs` for the spellings of an
//! id; `erase/answers.rs` handles stored responses; `erase/late.rs` handles events that are stored after the
//! erasure began; `erase/forget.rs` implements `keep_days`.

mod answers;
mod escapes;
mod forget;
mod late;
mod patient;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::backend::Embedded;
use super::change::Change;
use super::check::refuse_unfinished;
use super::journal::{Files, Kind, Op, Rewritten, put_in_place, rewrite};
use super::lock::DirLock;
use super::shared::{journal_dir, snapshot_dir};
use super::{event_record, failure, keys, snapshot};
use crate::model::event::{Event, EventStatus};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::Task;
use crate::store::error::StoreError;

pub(super) use forget::Forgotten;
pub use forget::Keep;
pub(super) use late::Erasures;
pub use patient::{FoundBy, Match, Patient};
pub use words::Form;

/// Maximum number of rounds that look for newly stored events. Two rounds find everything, unless new events of the
/// patient are stored all the time.
const ROUNDS: usize = 10;

/// What an erasure erased, or what a dry run would erase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Erased {
    /// The events, each once, oldest first.
    pub events: Vec<ErasedEvent>,
    /// Size of their bodies, in bytes.
    pub body_bytes: u64,
    /// Number of unreadable places in the journal. They may contain more data of the patient.
    pub damaged: u64,
    /// Number of stored responses that concern the patient.
    #[serde(default)]
    pub remembered_responses: u64,
    /// Tasks that name the patient. They are not erased: delete them through the API.
    #[serde(default)]
    pub tasks: Vec<NamingTask>,
}

/// A task that names the patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NamingTask {
    /// Id of the task.
    pub id: TaskId,
    /// The fields that name the patient, and how.
    pub matches: Vec<Match>,
}

/// An event that was erased, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErasedEvent {
    /// Id of the event.
    pub id: EventId,
    /// Integration that received the event.
    pub integration: IntegrationName,
    /// Time of receipt.
    pub received_at: DateTime<Utc>,
    /// Status of the event.
    pub status: EventStatus,
    /// How the event was found to belong to the patient.
    pub found_by: FoundBy,
    /// Where the event names the patient, and how.
    #[serde(default)]
    pub matches: Vec<Match>,
    /// Size of the body, in bytes.
    pub body_bytes: u64,
}

/// Replaces the segment with this first sequence by a rewritten copy.
type Replace<'a> = &'a dyn Fn(u64, PathBuf) -> Result<(), StoreError>;

impl Embedded {
    /// Erases what was sent about a patient from all segments while the server runs; with `dry_run`, only reports
    /// it. An event that was received before `now` and is stored later (its plugin may still be running) is erased
    /// when it is stored. Blocking.
    ///
    /// # Errors
    /// Fails if the journal cannot be read or written. What was erased by then stays erased; call it again to erase
    /// the rest.
    pub fn erase(&self, patient: &Patient, now: DateTime<Utc>, dry_run: bool) -> Result<Erased, StoreError> {
        if dry_run {
            let found = self.files(true).find(patient, BTreeMap::new(), &mut |_| {})?;
            let (_, remembered_responses) = self.answers_about(patient, &found.known)?;
            let tasks = self.tasks_naming(patient)?;
            return Ok(Erased { remembered_responses, tasks, ..found.into() });
        }
        // Registered first, so that every commit is either in a segment that is searched below, or decided with the
        // erasure known.
        let failed = |e: std::io::Error| super::failure::io(&e, StoreError::Write);
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
        Ok(Erased { remembered_responses, tasks, ..Found { events: erased, damaged, ..Found::default() }.into() })
    }

    /// Erases the earlier records of events that were recognized as the patient's only when their result was
    /// stored: queued events without an earlier sign of the patient. Does nothing if there are none. Blocking.
    ///
    /// # Errors
    /// Fails as [`Embedded::erase`] does; the next call tries again.
    pub fn erase_late(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let late = self.shared.erasures.late().clone();
        if !late.is_empty() {
            self.erase_records(&late, now)?;
        }
        self.shared.erasures.settle(&late).map_err(|e| super::failure::io(&e, StoreError::Write))
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
                let task = patient.task(&Op { kind: Kind::Insert, key: &key, value: &value });
                found.extend(task.and_then(|it| naming(patient, &it)));
            }
            Ok(found)
        })
    }

    fn files(&self, with_last: bool) -> Files {
        let mut files = self.shared.segments.files().0;
        if !with_last {
            files.pop();
        }
        Files { segments: files.into_iter().map(|(first, path, _)| (first, path)).collect(), salt: self.shared.salt }
    }

    fn put_copy(&self, first: u64, copy: PathBuf) -> Result<(), StoreError> {
        self.writer.write_blocking(Change::SwapSegment { first, copy }).map(drop)
    }
}

/// Erases a patient in a backup or a data directory without a running server. `read` is called with the number of
/// journal bytes read so far.
///
/// # Errors
/// Fails if a server holds the directory, or as [`Embedded::erase`] does.
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
    let files = Files::at_rest(&journal).map_err(failed)?;
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
                answers::erased(&Op { kind: Kind::Insert, key, value }, patient, &found.known, &mut 0)
            };
            snapshot::rewrite(&newest, &mut change)?;
        }
    }
    Ok(found.into())
}

/// A patient's events, as found.
#[derive(Default)]
struct Found {
    /// Events that are not erased yet.
    events: BTreeMap<Uuid, ErasedEvent>,
    /// All of the patient's events, and how each was found.
    known: BTreeMap<Uuid, FoundBy>,
    /// Number of stored responses in the journal, counting each record.
    answers: u64,
    /// The newest state of tasks that name the patient.
    tasks: BTreeMap<TaskId, NamingTask>,
    damaged: u64,
}

impl From<Found> for Erased {
    fn from(found: Found) -> Self {
        let events: Vec<_> = found.events.into_values().collect();
        Self {
            body_bytes: events.iter().map(|it| it.body_bytes).sum(),
            damaged: found.damaged,
            events,
            remembered_responses: found.answers,
            tasks: found.tasks.into_values().collect(),
        }
    }
}

impl Files {
    /// Searches everything twice, because a task may be in another segment than its event. `known` are events found
    /// before.
    fn find(
        &self,
        patient: &Patient,
        known: BTreeMap<Uuid, FoundBy>,
        read: &mut dyn FnMut(u64),
    ) -> Result<Found, StoreError> {
        let (mut by, mut found) = (known, Found::default());
        let mut places: BTreeMap<Uuid, BTreeSet<Match>> = BTreeMap::new();
        for (first, path) in &self.segments {
            let mut look = |op: &Op<'_>| {
                if let Some((id, how, matches)) = patient.named_by(op) {
                    // A task is the strongest evidence.
                    let known = by.entry(id).or_insert(how);
                    *known = how.min(*known);
                    places.entry(id).or_default().extend(matches);
                }
                found.note_task(patient, op);
                None
            };
            found.damaged += rewritten(path, self.salt, *first, &mut look)?.damaged;
            read(path.metadata().map_or(0, |it| it.len()));
        }
        for (first, path) in &self.segments {
            let mut note = |op: &Op<'_>| {
                let Some(id) = event_id(op) else {
                    answers::erased(op, patient, &by, &mut found.answers);
                    return None;
                };
                let how = *by.get(&id)?;
                // The newest state counts. An event that is already erased needs no further work.
                let event = decode(op, id).map(|it| it.event);
                if let Some(event) = event.filter(|it| patient.is_of(it) && it.erased_at.is_none()) {
                    let matches = places.get(&id).into_iter().flatten().cloned().collect();
                    found.events.insert(id, ErasedEvent::of(&event, how, matches));
                }
                None
            };
            rewritten(path, self.salt, *first, &mut note)?;
        }
        found.known = by;
        Ok(found)
    }

    fn erase(
        &self,
        found: &Found,
        patient: &Patient,
        now: DateTime<Utc>,
        replace: Replace<'_>,
    ) -> Result<(), StoreError> {
        if found.events.is_empty() && found.answers == 0 {
            return Ok(());
        }
        let is_erased = |id| found.events.contains_key(&id);
        let mut other = |op: &Op<'_>| answers::erased(op, patient, &found.known, &mut 0);
        for (first, path) in &self.segments {
            let copy = overwritten(path, self.salt, *first, now, &is_erased, &mut other)?;
            if let Some(copy) = copy {
                replace(*first, copy)?;
            }
        }
        Ok(())
    }
}

impl Found {
    /// Updates the tasks found, from one operation of the journal.
    fn note_task(&mut self, patient: &Patient, op: &Op<'_>) {
        if op.kind == Kind::Event {
            return;
        }
        let Some((company, id)) = keys::parse_task(op.key) else { return };
        if company == patient.company {
            self.tasks.remove(&id);
            let written = (op.kind != Kind::Delete).then(|| patient.task(op)).flatten();
            self.tasks.extend(written.and_then(|it| naming(patient, &it)).map(|it| (id, it)));
        }
    }
}

/// Returns the match if this task is readable and names the patient.
fn naming(patient: &Patient, task: &Task) -> Option<NamingTask> {
    if task.deleted_at.is_some() {
        return None;
    }
    let matches = patient.in_task(task);
    (!matches.is_empty()).then_some(NamingTask { id: task.id, matches })
}

/// Writes a copy of a segment in which the content of these events is overwritten; `other` returns the new values
/// of other entries. `None` if the segment contains nothing to erase.
fn overwritten(
    path: &Path,
    salt: u32,
    first: u64,
    now: DateTime<Utc>,
    is_erased: &dyn Fn(Uuid) -> bool,
    other: &mut dyn FnMut(&Op<'_>) -> Option<Vec<u8>>,
) -> Result<Option<PathBuf>, StoreError> {
    let mut failed = None;
    let mut change = |op: &Op<'_>| {
        let Some(id) = event_id(op) else { return other(op) };
        if !is_erased(id) {
            return None;
        }
        let event = decode(op, id).filter(|it| it.event.erased_at.is_none())?;
        event_record::encode_erased(event, now, op.value.len()).map_err(|e| failed = Some(e)).ok()
    };
    let copy = rewritten(path, salt, first, &mut change)?.copy;
    failed.map_or(Ok(copy), Err)
}

impl ErasedEvent {
    fn of(event: &Event, found_by: FoundBy, matches: Vec<Match>) -> Self {
        Self {
            id: event.id,
            integration: event.integration.clone(),
            received_at: event.received_at,
            status: event.status,
            found_by,
            matches,
            body_bytes: event.body_bytes,
        }
    }
}

fn rewritten(
    segment: &Path,
    salt: u32,
    first: u64,
    change: &mut dyn FnMut(&Op<'_>) -> Option<Vec<u8>>,
) -> Result<Rewritten, StoreError> {
    match rewrite(segment, salt, first, change) {
        // The segment has expired in the meantime.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Rewritten { copy: None, damaged: 0 }),
        other => other.map_err(|e| super::failure::io(&e, |it| StoreError::Write(format!("the journal: {it}")))),
    }
}

fn event_id(op: &Op<'_>) -> Option<Uuid> {
    let id = op.key.last_chunk::<16>().filter(|_| op.kind == Kind::Event)?;
    Some(Uuid::from_bytes(*id))
}

/// Decodes the event in this record; `None` if it cannot be read.
fn decode(op: &Op<'_>, id: Uuid) -> Option<event_record::Decoded> {
    let (company, _) = keys::parse_event(op.key)?;
    event_record::decode(op.value, EventId(id), company).ok()
}
