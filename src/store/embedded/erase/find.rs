//! Finds a patient's events, responses and tasks in segments of the journal, and erases them there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::answers;
use super::overwrite::{decode, event_id, overwritten, rewritten};
use crate::model::ids::TaskId;
use crate::store::embedded::journal::{JournalFiles, Op, OpKind};
use crate::store::embedded::keys;
use crate::store::erasure::patient::{FoundBy, Match, Patient};
use crate::store::erasure::report::{Erased, ErasedEvent, NamingTask};
use crate::store::error::StoreError;

/// Replaces the segment with this first sequence by a rewritten copy.
pub(super) type PutCopy<'a> = &'a dyn Fn(u64, PathBuf) -> Result<(), StoreError>;

/// A patient's events, as found.
#[derive(Default)]
pub(super) struct FoundData {
    /// Events that are not erased yet.
    pub(super) events: BTreeMap<Uuid, ErasedEvent>,
    /// All of the patient's events, and how each was found.
    pub(super) known: BTreeMap<Uuid, FoundBy>,
    /// Number of stored responses in the journal, counting each record.
    pub(super) answers: u64,
    /// The newest state of tasks that name the patient.
    pub(super) tasks: BTreeMap<TaskId, NamingTask>,
    pub(super) damaged: u64,
}

impl From<FoundData> for Erased {
    fn from(found: FoundData) -> Self {
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

impl JournalFiles {
    /// Searches everything twice, because a task may be in another segment than its event. `known` are events found
    /// before.
    pub(super) fn find(
        &self,
        patient: &Patient,
        known: BTreeMap<Uuid, FoundBy>,
        read: &mut dyn FnMut(u64),
    ) -> Result<FoundData, StoreError> {
        let (mut by, mut found) = (known, FoundData::default());
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

    pub(super) fn erase(
        &self,
        found: &FoundData,
        patient: &Patient,
        now: DateTime<Utc>,
        put: PutCopy<'_>,
    ) -> Result<(), StoreError> {
        if found.events.is_empty() && found.answers == 0 {
            return Ok(());
        }
        let is_erased = |id| found.events.contains_key(&id);
        let mut other = |op: &Op<'_>| answers::erased(op, patient, &found.known, &mut 0);
        for (first, path) in &self.segments {
            let copy = overwritten(path, self.salt, *first, now, &is_erased, &mut other)?;
            if let Some(copy) = copy {
                put(*first, copy)?;
            }
        }
        Ok(())
    }
}

impl FoundData {
    /// Updates the tasks found, from one operation of the journal.
    fn note_task(&mut self, patient: &Patient, op: &Op<'_>) {
        if op.kind == OpKind::Event {
            return;
        }
        let Some((company, id)) = keys::parse_task(op.key) else { return };
        if company == patient.company {
            self.tasks.remove(&id);
            let written = (op.kind != OpKind::Delete).then(|| patient.task(op)).flatten();
            self.tasks.extend(written.and_then(|it| NamingTask::of(patient, &it)).map(|it| (id, it)));
        }
    }
}
