//! Decides the outcome of each change of a batch, in order: each sees those before it.
//!
//! `again.rs` decides new states of stored events, and events whose patient was erased in the meantime.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::change::{EncodedEvent, EncodedKey, EncodedTask, Mutation, MutationDone, Put};
use super::ids::AnswerKey;
use super::load::{KnownAnswer, KnownErasure, LoadedRows, TaskRow};
use super::writes::Writes;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::TaskId;
use crate::model::task::{Task, TaskPatch};
use crate::store::erasure::content::erased;
use crate::store::error::StoreError;
use crate::store::id_time::received_ms;
use crate::store::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use crate::store::item::{Imported, StoredErasure, StoredItem};
use crate::store::write::{Committed, Updated};

/// Lane of imported queued events. Their own lanes are not known, so they are processed one after another.
const IMPORTED: i64 = 0;

/// Decides the changes of one batch.
pub(super) struct BatchDecider {
    pub(super) loaded: LoadedRows,
    pub(super) writes: Writes,
    /// Retention of idempotency keys.
    idempotency: chrono::Duration,
}

impl BatchDecider {
    pub(super) fn new(loaded: LoadedRows, idempotency: chrono::Duration) -> Self {
        let writes = Writes::new(loaded.number);
        Self { loaded, writes, idempotency }
    }

    /// Decides one change. The change itself is left as it is, because the batch may be repeated.
    ///
    /// # Errors
    /// Fails if this change cannot be encoded; nothing of it is written then.
    pub(super) fn decide(&mut self, change: &Mutation) -> Result<MutationDone, StoreError> {
        match change {
            Mutation::Put(put) => self.put(put).map(MutationDone::Committed),
            Mutation::Replace(replace, now) => self.again(replace, *now).map(MutationDone::Replaced),
            Mutation::Update { company, id, version, patch, now } => {
                self.update(company, *id, *version, patch.as_ref(), *now).map(MutationDone::Updated)
            }
            Mutation::GiveUp(event) => self.give_up(event).map(MutationDone::Replaced),
            Mutation::Erase { company, events, at } => self.erase(company, events, *at).map(MutationDone::Erased),
            Mutation::Import(items) => self.import(items).map(MutationDone::Imported),
        }
    }

    fn put(&mut self, put: &Put) -> Result<Committed, StoreError> {
        // Its ids are new: an attempt to store it was committed after its connection was lost.
        if put.events.iter().any(|it| self.loaded.events.contains_key(&(it.company.clone(), it.id.0))) {
            return Ok(Committed::Stored);
        }
        if let Some(first) = self.repeated(put) {
            return Ok(Committed::Repeated(first));
        }
        if let Some(at) = self.erased_meanwhile(put)? {
            // A batch is not stored at all, because its tasks were promised together.
            if let [only] = &put.events[..] {
                self.writes.event(Arc::new(EncodedEvent::of(erased(only.event()?, at))?), None);
            }
            return Ok(Committed::Erased);
        }
        if let Some(entry) = &put.audit {
            self.writes.audit(entry)?;
        }
        for event in &put.events {
            self.writes.event(Arc::clone(event), put.lane);
        }
        for task in &put.tasks {
            self.writes.task(Arc::clone(task));
        }
        if let Some(EncodedKey { key, document }) = &put.key {
            self.writes.key(EncodedKey { key: key.clone(), document: document.clone() });
        }
        if let Some(guard) = &put.guard {
            let is_new = put.events.iter().any(|it| Some(it.id) == guard.answer.event_id && it.may_come_again);
            self.remember(guard, is_new);
        }
        Ok(Committed::Stored)
    }

    /// Returns when the patient of new events and tasks was erased, if that was after the oldest event was received.
    fn erased_meanwhile(&self, put: &Put) -> Result<Option<DateTime<Utc>>, StoreError> {
        let Some(oldest) = put.events.iter().map(|it| it.id.0).min() else { return Ok(None) };
        if !self.loaded.erasures.iter().any(|it| received_ms(oldest) <= it.at.timestamp_millis()) {
            return Ok(None);
        }
        let events = put.events.iter().map(|it| it.event()).collect::<Result<Vec<_>, _>>()?;
        let tasks = put.tasks.iter().map(|it| it.task()).collect::<Result<Vec<_>, _>>()?;
        let (events, tasks): (Vec<&Event>, Vec<&Task>) = (events.iter().collect(), tasks.iter().collect());
        Ok(self.erased_since(oldest, &events, &tasks))
    }

    /// Returns the stored response if the request is a repetition. A quarantined delivery may be sent again, but only
    /// another copy of it counts as an attempt of the same event, and only while that event is quarantined.
    fn repeated(&self, put: &Put) -> Option<FirstAnswer> {
        let guard = put.guard.as_ref()?;
        let known = self.known(&guard.id, guard.answer.at)?;
        let first = &known.first;
        let is_copy = guard.answer.refused && first.fingerprint == guard.answer.fingerprint;
        let repeats = !first.refused || (is_copy && known.may_come_again);
        repeats.then(|| first.clone())
    }

    /// Returns the response that is stored for an idempotency key, and has not expired at this time.
    pub(super) fn known(&self, id: &IdempotencyId, at: DateTime<Utc>) -> Option<&KnownAnswer> {
        let since = at - id.window.unwrap_or(self.idempotency);
        self.loaded.answers.get(&AnswerKey::of(id)).filter(|it| it.first.at > since)
    }

    pub(super) fn remember(&mut self, guard: &Idempotency, may_come_again: bool) {
        let Idempotency { id, answer } = guard;
        let key = AnswerKey::of(id);
        let expires_at = answer.at + id.window.unwrap_or(self.idempotency);
        self.loaded.answers.insert(key.clone(), KnownAnswer { first: answer.clone(), may_come_again });
        self.writes.answer(key, answer.clone(), expires_at);
    }

    /// Returns when the patient of these items was erased, if that was after the event with this id was received.
    pub(super) fn erased_since(&self, received: Uuid, events: &[&Event], tasks: &[&Task]) -> Option<DateTime<Utc>> {
        let later = self.loaded.erasures.iter().filter(|it| received_ms(received) <= it.at.timestamp_millis());
        let owns = |it: &&super::load::KnownErasure| {
            let patient = &it.patient;
            events.iter().any(|event| patient.is_of(event) && patient.named_in(event).is_some())
                || tasks.iter().any(|task| patient.is_of_company(&task.company_id) && patient.owns_task(task).is_some())
        };
        later.filter(owns).map(|it| it.at).next()
    }

    fn update(
        &mut self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        patch: Option<&TaskPatch>,
        now: DateTime<Utc>,
    ) -> Result<Updated, StoreError> {
        let Some((place, task)) = self.readable(company, id)? else { return Ok(Updated::Missing) };
        if version.is_some_and(|it| it != task.version) {
            return Ok(Updated::Stale { version: task.version });
        }
        let task = self.change(place, task, patch, now)?;
        Ok(Updated::Done(Box::new(task)))
    }

    /// Returns a task that is not deleted, and its place.
    pub(super) fn readable(&self, company: &CompanyId, id: TaskId) -> Result<Option<(i64, Task)>, StoreError> {
        let Some(row) = self.loaded.tasks.get(&(company.clone(), id.0)) else { return Ok(None) };
        let damaged = || StoreError::Damaged { what: "task", cause: "its document is not valid".into() };
        let task = row.task.as_ref().ok_or_else(damaged)?;
        Ok(task.deleted_at.is_none().then(|| (row.place, task.clone())))
    }

    /// Writes a task's change, or its deletion without a patch.
    pub(super) fn change(
        &mut self,
        place: i64,
        before: Task,
        patch: Option<&TaskPatch>,
        now: DateTime<Utc>,
    ) -> Result<Task, StoreError> {
        let deleted_at = if patch.is_none() { Some(now) } else { None };
        let task = Task { deleted_at, ..patch.cloned().unwrap_or_default().apply(before.clone(), now) };
        let encoded = EncodedTask::of(task.clone())?;
        self.writes.task_state(&before, encoded, place);
        let id = (task.company_id.clone(), task.id.0);
        self.loaded.tasks.insert(id, TaskRow { place, task: Some(task.clone()) });
        Ok(task)
    }

    fn import(&mut self, items: &[StoredItem]) -> Result<Imported, StoreError> {
        let mut imported = Imported::default();
        let mut there = |differs: bool, name: String| {
            imported.skipped += 1;
            imported.differing.extend(differs.then_some(name));
        };
        for item in items {
            match item {
                StoredItem::Event(event) => {
                    let id = event.id.0;
                    match self.loaded.stored.events.get(&id) {
                        Some(stored) => there(stored != &**event, format!("event {id}")),
                        None if self.writes.stored.contains(&id) => there(true, format!("event {id}")),
                        None => {
                            self.writes.event(Arc::new(EncodedEvent::of((**event).clone())?), Some(IMPORTED));
                            self.writes.forget_later(event);
                        }
                    }
                }
                StoredItem::Task(task) => {
                    let id = (task.company_id.clone(), task.id.0);
                    match self.loaded.tasks.get(&id) {
                        Some(stored) => there(stored.task.as_ref() != Some(&**task), format!("task {}", task.id)),
                        None => {
                            self.writes.task(Arc::new(EncodedTask::of((**task).clone())?));
                            let row = TaskRow { place: 0, task: Some((**task).clone()) };
                            self.loaded.tasks.insert(id, row);
                        }
                    }
                }
                StoredItem::Key(key) => {
                    let name = || format!("api_key {}", key.id);
                    let stored = &mut self.loaded.stored;
                    if *stored.owners.entry(key.hash).or_insert_with(|| key.id.0.clone()) != key.id.0 {
                        // It would grant the other key's access.
                        there(true, name());
                    } else if let Some(known) = stored.keys.get(&key.id.0) {
                        there(known != &**key, name());
                    } else {
                        stored.keys.insert(key.id.0.clone(), (**key).clone());
                        self.writes.key(EncodedKey::of((**key).clone())?);
                    }
                }
                StoredItem::Audit(entry) => match self.loaded.stored.audit.get(&entry.id) {
                    Some(stored) => there(stored != &**entry, format!("audit {}", entry.id)),
                    None => {
                        self.loaded.stored.audit.insert(entry.id, (**entry).clone());
                        self.writes.audit(entry)?;
                    }
                },
                StoredItem::Answer(answer) => {
                    let key = AnswerKey::imported(answer);
                    if let Some(stored) = self.loaded.answers.get(&key) {
                        let name = format!("answer {}", Uuid::from_bytes(answer.name).simple());
                        there(stored.first != answer.first, name);
                    } else {
                        let first = answer.first.clone();
                        // Nothing else of this batch is a copy of it.
                        let known = KnownAnswer { first: first.clone(), may_come_again: false };
                        self.loaded.answers.insert(key.clone(), known);
                        self.writes.answer(key, first, answer.expires_at);
                    }
                }
                StoredItem::Erasure(erasure) => {
                    let StoredErasure { patient, at } = &**erasure;
                    if self.loaded.erasures.iter().any(|it| it.patient.is_same(patient) && it.at >= *at) {
                        there(false, String::new());
                    } else {
                        self.writes.erasure(patient, *at);
                        self.loaded.erasures.push(KnownErasure { patient: patient.clone(), at: *at });
                    }
                }
            }
        }
        Ok(imported)
    }
}
