//! What a change comes to, against what is stored: versions, idempotency keys, rows.
//!
//! `decide/again.rs` decides events that are stored again, and those whose patient was erased meanwhile.

mod again;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::change::{Change, Done, Guard, Written};
use super::journal::Kind;
use super::shared::Shared;
use super::{failure, keys, record, task_record};
use crate::auth::CompanyId;
use crate::store::{Committed, FirstAnswer, IdempotencyId, StoreError, Updated};
use crate::task::{Task, TaskId, TaskPatch};

/// Decides the changes of one group, in order: each sees those before it.
pub(super) struct Decider<'a> {
    shared: &'a Shared,
    rows: &'a mut HashMap<CompanyId, u32>,
    /// What this group has changed so far, of what is looked up.
    changed: HashMap<Vec<u8>, Option<Bytes>>,
    /// Events that this group stores again: they are not as anybody has read them.
    replaced: HashSet<Uuid>,
    settled: bool,
}

type Decided = (Vec<Written>, Done);

impl<'a> Decider<'a> {
    pub(super) fn new(shared: &'a Shared, rows: &'a mut HashMap<CompanyId, u32>) -> Self {
        Self { shared, rows, changed: HashMap::new(), replaced: HashSet::new(), settled: false }
    }

    pub(super) fn decide(&mut self, change: Change) -> Result<Decided, StoreError> {
        match change {
            Change::Put { events, tasks, api_key, audit, guard, queue } => {
                if let Some(first) = self.repeated(guard.as_ref())? {
                    return Ok((Vec::new(), Done::Committed(Committed::Repeated(first))));
                }
                if let Some(erased) = self.erased_meanwhile(&events, &tasks)? {
                    return Ok((erased, Done::Committed(Committed::Erased)));
                }
                let mut written: Vec<Written> = Vec::with_capacity(events.len() + tasks.len() + 1);
                written.extend(events.into_iter().map(|(key, value)| Written::new(Kind::Event, key, value)));
                self.write_tasks(tasks, &mut written);
                if let Some((key, value)) = api_key {
                    written.push(self.put(key, value.into())?);
                }
                // Its id is new, so nothing need be looked up.
                written.extend(audit.map(|(key, value)| Written::new(Kind::Insert, key, value)));
                written.extend(queue.into_iter().map(|(key, value)| Written::new(Kind::Insert, key, value)));
                self.remember(guard, &mut written)?;
                Ok((written, Done::Committed(Committed::Stored)))
            }
            Change::Replace(again) => self.again(*again),
            Change::GiveUp(event) => self.give_up(&event),
            Change::Update { company, id, version, patch, now } => {
                let key = keys::task(&company, id);
                let Some((task, row)) = self.task(&key, &company, id)? else {
                    return Ok((Vec::new(), Done::Updated(Updated::Missing)));
                };
                if version.is_some_and(|it| it != task.version) {
                    return Ok((Vec::new(), Done::Updated(Updated::Stale { version: task.version })));
                }
                let task = changed(task, patch, now);
                let mut value = task_record::encode(&task)?;
                task_record::set_row(&mut value, row);
                Ok((vec![self.put(key, value.into())?], Done::Updated(Updated::Done(Box::new(task)))))
            }
            Change::Import { events, tasks, others } => self.import(events, tasks, others),
            Change::Remove(keys) => Ok((keys.into_iter().map(|key| self.gone(key)).collect(), Done::Removed)),
            Change::Roll { .. } | Change::SwapSegment { .. } | Change::Prune { .. } => Ok((Vec::new(), Done::Removed)),
        }
    }

    fn import(
        &mut self,
        events: Vec<(Vec<u8>, Vec<u8>, Option<(Vec<u8>, Vec<u8>)>)>,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        others: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Decided, StoreError> {
        let (mut written, mut skipped) = (Vec::new(), 0);
        for (key, value, waits) in events {
            let id = keys::parse_event(&key).map(|(_, id)| id).unwrap_or_default();
            let known = self.stored(&key, id)?;
            if known.is_some() {
                skipped += 1;
            } else {
                written.push(Written { kind: Kind::Event, key, value: value.into() });
                if let Some((key, value)) = waits {
                    written.push(self.put(key, value.into())?);
                }
            }
        }
        for (company, key, mut value) in tasks {
            if self.get(&key)?.is_some() {
                skipped += 1;
                continue;
            }
            task_record::set_row(&mut value, self.next_row(company));
            written.push(self.put(key, value.into())?);
        }
        for (key, value) in others {
            if self.get(&key)?.is_some() {
                skipped += 1;
                continue;
            }
            written.push(self.put(key, value.into())?);
        }
        Ok((written, Done::Imported { skipped }))
    }

    fn write_tasks(&mut self, tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>, written: &mut Vec<Written>) {
        for (company, key, mut value) in tasks {
            task_record::set_row(&mut value, self.next_row(company));
            written.push(Written::new(Kind::Insert, key, value));
        }
    }

    fn remember(&mut self, guard: Option<Guard>, written: &mut Vec<Written>) -> Result<(), StoreError> {
        if let Some(guard) = guard {
            written.push(self.put(keys::answer(guard.id, guard.at), guard.value.into())?);
        }
        Ok(())
    }

    fn next_row(&mut self, company: CompanyId) -> u32 {
        let row = self.rows.entry(company).or_default();
        *row += 1;
        *row - 1
    }

    /// A key's new value; whether it had one decides how that is written.
    fn put(&mut self, key: Vec<u8>, value: Bytes) -> Result<Written, StoreError> {
        let kind = if self.get(&key)?.is_some() { Kind::Replace } else { Kind::Insert };
        self.changed.insert(key.clone(), Some(value.clone()));
        Ok(Written { kind, key, value })
    }

    fn gone(&mut self, key: Vec<u8>) -> Written {
        self.changed.insert(key.clone(), None);
        Written { kind: Kind::Delete, key, value: Bytes::new() }
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = self.changed.get(key) {
            return Ok(value.clone());
        }
        if !self.settled {
            // The view has to have the groups before this one.
            self.shared.settle()?;
            self.settled = true;
        }
        let value = self.shared.view(|tree| tree.get(key).map_err(failure::read))?;
        Ok(value.map(|it| Bytes::copy_from_slice(&it)))
    }

    fn task(&mut self, key: &[u8], company: &CompanyId, id: TaskId) -> Result<Option<(Task, u32)>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let (task, row) = task_record::decode(&value, id, company.clone())?;
        Ok(task.deleted_at.is_none().then_some((task, row)))
    }

    /// The first answer to the same request, where that is to be given again. A delivery that was quarantined may come
    /// again; only another copy of it is an attempt of the same event.
    fn repeated(&mut self, guard: Option<&Guard>) -> Result<Option<FirstAnswer>, StoreError> {
        let Some(guard) = guard else { return Ok(None) };
        let first = self.first(guard.id, guard.at)?.map(|(_, first)| first);
        let copy = |first: &FirstAnswer| guard.refused && first.fingerprint == guard.fingerprint;
        Ok(first.filter(|it| !it.refused || copy(it)))
    }

    /// What is remembered under an idempotency key, and where.
    fn first(&mut self, id: IdempotencyId, at: DateTime<Utc>) -> Result<Option<(Vec<u8>, FirstAnswer)>, StoreError> {
        let (since, places) = keys::answers(id, at, self.shared.options.idempotency);
        for key in places {
            if let Some(value) = self.get(&key)? {
                let first = record::decode_answer(&value)?;
                if first.at > since {
                    return Ok(Some((key, first)));
                }
            }
        }
        Ok(None)
    }
}

fn changed(task: Task, patch: Option<TaskPatch>, now: DateTime<Utc>) -> Task {
    let deleted_at = if patch.is_none() { Some(now) } else { None };
    Task { deleted_at, ..patch.unwrap_or_default().apply(task, now) }
}
