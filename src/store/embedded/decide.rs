//! Decides the outcome of a change by comparing it with what is stored: versions, idempotency keys, rows.
//!
//! `decide/again.rs` decides new states of stored events, and events whose patient was erased in the meantime.

mod again;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::answers::{self, GroupAnswers, Placed};
use super::change::{Change, Done, Guard, KeyValue, OwnedOp, Purged};
use super::journal::OpKind;
use super::keys::AnswerDay;
use super::last_change::LastChange;
use super::names::AnswerPlace;
use super::recent::{Changes, Recent};
use super::shared::SharedStore;
use super::tally::TalliedEvent;
use super::{answer_record, event_record, failure, keys, record, task_record};
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::model::ids::EventId;
use crate::model::ids::TaskId;
use crate::model::task::{Task, TaskPatch};
use crate::store::error::StoreError;
use crate::store::idempotency::{FirstAnswer, IdempotencyId};
use crate::store::item::Imported;
use crate::store::write::{Committed, Updated};

/// What the writer knows about the store without reading the read view.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The next row of each company.
    pub(super) rows: HashMap<CompanyId, u32>,
    pub(super) recent: Recent,
}

/// Decides the changes of one group in order. Each change sees those before it.
pub(super) struct Decider<'a> {
    shared: &'a SharedStore,
    stored: &'a mut Stored,
    /// Changes of this group so far.
    group: Changes,
    /// Changes of the request that is being decided.
    change: Changes,
    /// Events of which this group stores a new state, so that every version read earlier is outdated.
    replaced: HashSet<Uuid>,
    answers: GroupAnswers,
    /// Imported responses.
    own: Placed,
    late: Vec<Uuid>,
    /// Events that the change being decided replaces, with their status before it.
    was: Vec<(Uuid, EventStatus)>,
    /// Events of this group to count; none if they are not counted.
    tallied: Option<Vec<TalliedEvent>>,
    /// Sequence of the next record of the journal.
    sequence: u64,
}

/// The outcome of a group apart from its records, to be published when the group is durable.
#[derive(Debug)]
pub(super) struct Decisions {
    pub(super) changes: Changes,
    pub(super) placed: Placed,
    /// Days whose stored responses have expired and are being removed.
    pub(super) expired: HashSet<AnswerDay>,
    /// Events that are stored as erased, but whose earlier records still have what was sent.
    pub(super) late: Vec<Uuid>,
    /// Events to count.
    pub(super) tallied: Vec<TalliedEvent>,
}

type Decided = (Vec<OwnedOp>, Done);

impl<'a> Decider<'a> {
    /// Starts a group whose first record gets the sequence `first`.
    pub(super) fn new(shared: &'a SharedStore, stored: &'a mut Stored, first: u64, counts: bool) -> Self {
        stored.recent.forget(shared.applied());
        let (group, change, answers) = (Changes::new(), Changes::new(), GroupAnswers::default());
        let (replaced, own, late) = (HashSet::new(), Vec::new(), Vec::new());
        let (was, tallied) = (Vec::new(), counts.then(Vec::new));
        Self { shared, stored, group, change, replaced, answers, own, late, was, tallied, sequence: first }
    }

    /// Ends the group. Returns the blocks of its responses, numbered from `number`, and what to publish.
    pub(super) fn end(mut self, number: u64) -> Result<(Vec<OwnedOp>, Decisions), StoreError> {
        let (blocks, mut placed) = self.answers.into_blocks(number)?;
        placed.append(&mut self.own);
        let removed = self.group.iter().filter(|(_, value)| value.is_none());
        let expired = removed.filter_map(|(key, _)| keys::answers_in(key)).collect();
        self.group.extend(blocks.iter().map(|it| (it.key.clone(), Some(it.value.clone()))));
        let tallied = self.tallied.unwrap_or_default();
        Ok((blocks, Decisions { changes: self.group, placed, expired, late: self.late, tallied }))
    }

    /// Decides one change. Its operations become one record of the journal; a change without operations becomes none.
    pub(super) fn decide(&mut self, change: Change) -> Result<Decided, StoreError> {
        change.fits()?;
        let decided = self.decide_one(change);
        match &decided {
            Ok((written, _)) => {
                self.sequence += u64::from(!written.is_empty());
                self.group.extend(self.change.drain());
                if let Some(tallied) = &mut self.tallied {
                    let events = written.iter().filter(|it| it.kind == OpKind::Event);
                    tallied.extend(events.filter_map(|it| {
                        let was = self.was.iter().find(|(id, _)| it.key.ends_with(id.as_bytes())).map(|(_, was)| *was);
                        TalliedEvent::of(&it.key, &it.value, was)
                    }));
                }
            }
            // The change is not written, so later changes must not see any of it.
            Err(_) => self.change.clear(),
        }
        self.was.clear();
        decided
    }

    fn decide_one(&mut self, change: Change) -> Result<Decided, StoreError> {
        match change {
            Change::Put { events, tasks, api_key, audit, guard, queue } => {
                if let Some(first) = self.repeated(guard.as_ref(), &events)? {
                    return Ok((Vec::new(), Done::Committed(Committed::Repeated(first))));
                }
                if let Some(erased) = self.erased_meanwhile(&events, &tasks)? {
                    return Ok((erased, Done::Committed(Committed::Erased)));
                }
                let mut written: Vec<OwnedOp> = Vec::with_capacity(events.len() + tasks.len() + 1);
                written.extend(events.into_iter().map(|(key, value)| OwnedOp::new(OpKind::Event, key, value)));
                self.write_tasks(tasks, &mut written)?;
                if let Some((key, value)) = api_key {
                    written.push(self.put(key, value.into())?);
                }
                // The ids are new, so no lookup is needed.
                written.extend(audit.into_iter().chain(queue).map(|(key, value)| self.insert(key, value.into())));
                if let Some(guard) = guard {
                    self.answers.add(guard);
                }
                Ok((written, Done::Committed(Committed::Stored)))
            }
            Change::Replace(again) => self.again(*again),
            Change::GiveUp(event) => self.give_up(&event),
            Change::Update { company, id, version, patch, now } => {
                let key = keys::task(&company, id);
                let Some((task, LastChange { row, .. })) = self.task(&key, &company, id)? else {
                    return Ok((Vec::new(), Done::Updated(Updated::Missing)));
                };
                if version.is_some_and(|it| it != task.version) {
                    return Ok((Vec::new(), Done::Updated(Updated::Stale { version: task.version })));
                }
                let task = changed(task, patch, now);
                let mut value = task_record::encode(&task)?;
                task_record::set_last_change(&mut value, self.at(row));
                Ok((vec![self.put(key, value.into())?], Done::Updated(Updated::Done(Box::new(task)))))
            }
            Change::Import { events, tasks, others, answers } => self.import(events, tasks, others, answers),
            Change::Remove(keys) => Ok((keys.into_iter().map(|key| self.gone(key)).collect(), Done::Removed)),
            Change::Purge(tasks) => Ok((self.purge(tasks)?, Done::Removed)),
            Change::Overwrite(entries) => {
                let mut written = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    if self.get(&key)?.is_some() {
                        written.push(self.put(key, value.into())?);
                    }
                }
                Ok((written, Done::Removed))
            }
            Change::Roll { .. } | Change::SwapSegment { .. } | Change::Prune { .. } => Ok((Vec::new(), Done::Removed)),
        }
    }

    fn import(
        &mut self,
        events: Vec<(KeyValue, Option<KeyValue>)>,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        others: Vec<KeyValue>,
        answers: Vec<Guard>,
    ) -> Result<Decided, StoreError> {
        let (mut written, mut imported) = (Vec::new(), Imported::default());
        let mut there = |differs: bool, name: &dyn Fn() -> String| {
            imported.skipped += 1;
            imported.differing.extend(differs.then(name));
        };
        let mut ids = HashSet::new();
        for ((key, value), waits) in events {
            let id = keys::parse_event(&key).map(|(_, id)| id).unwrap_or_default();
            // Events are found by their ids alone, so an event of another company must not replace this one.
            let known = self.shared.segments.any_event(id).map_err(|e| StoreError::Read(e.to_string()))?;
            if known.is_some() || !ids.insert(id) {
                let same =
                    known.is_some_and(|(found, stored)| found == key && self.is_same(&key, &stored.value, &value));
                there(!same, &|| format!("event {id}"));
            } else {
                written.push(OwnedOp { kind: OpKind::Event, key, value: value.into() });
                if let Some((key, value)) = waits {
                    written.push(self.put(key, value.into())?);
                }
            }
        }
        for (company, key, mut value) in tasks {
            if let Some(stored) = self.get(&key)? {
                let name = || keys::parse_task(&key).map_or_else(String::new, |(_, id)| format!("task {id}"));
                there(!task_record::is_same(&stored, &value), &name);
                continue;
            }
            let row = self.next_row(company)?;
            task_record::set_last_change(&mut value, self.at(row));
            written.push(self.put(key, value.into())?);
        }
        for (key, value) in others {
            if let Some(stored) = self.get(&key)? {
                there(*stored != *value, &|| keys::name_of(&key));
                continue;
            }
            written.push(self.put(key, value.into())?);
        }
        for Guard { id, at, value, .. } in answers {
            let day = keys::answer_day(&id, at);
            let key = keys::own_answer(day, &id.name);
            let stored = match self.first(&id, at)? {
                Some(stored) => Some(stored),
                None => self.get(&key)?.map(|it| answer_record::decode_answer(&it)).transpose()?,
            };
            if let Some(stored) = stored {
                let differs = answer_record::decode_answer(&value)? != stored;
                there(differs, &|| format!("answer {}", Uuid::from_bytes(id.name).simple()));
                continue;
            }
            // Not in a block: an import may have more days than records, and each record gives a number for one block.
            self.own.push((day, id.name, AnswerPlace::Own));
            written.push(self.put(key, value.into())?);
        }
        Ok((written, Done::Imported(imported)))
    }

    /// Returns whether a stored event equals this value, which may have another format.
    fn is_same(&self, key: &[u8], stored: &[u8], value: &[u8]) -> bool {
        if stored == value {
            return true;
        }
        let Some((company, id)) = keys::parse_event(key) else { return false };
        let stored = super::events::one(self.shared, &company, EventId(id)).ok().flatten();
        let value = event_record::decode(value, EventId(id), company).ok();
        stored.zip(value).is_some_and(|(stored, value)| stored.event == value.event)
    }

    fn write_tasks(
        &mut self,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        written: &mut Vec<OwnedOp>,
    ) -> Result<(), StoreError> {
        for (company, key, mut value) in tasks {
            let row = self.next_row(company)?;
            task_record::set_last_change(&mut value, self.at(row));
            written.push(self.insert(key, value.into()));
        }
        Ok(())
    }

    /// Removes tasks, and writes two more entries for each of their companies. The next row: after a restart, the remaining
    /// rows do not show it, and a reused row would make an old cursor lead to newer tasks. The last change of the removed
    /// tasks: a change feed that is read from before it would lack a deletion.
    fn purge(&mut self, tasks: Vec<Purged>) -> Result<Vec<OwnedOp>, StoreError> {
        let mut companies: BTreeMap<CompanyId, LastChange> = BTreeMap::new();
        let mut written = Vec::with_capacity(tasks.len() + 2);
        for Purged { company, id, last_change } in tasks {
            written.push(self.gone(keys::task(&company, id)));
            let last = companies.entry(company).or_default();
            *last = last_change.max(*last);
        }
        for (company, last) in companies {
            let key = keys::purged(&company);
            let stored = self.get(&key)?.map(|it| record::decode_purged(&it)).transpose()?;
            if stored.is_none_or(|it| it < last) {
                written.push(self.put(key, record::encode_purged(last)?.into())?);
            }
            let next = self.stored.rows.get(&company).copied().unwrap_or(0);
            let key = keys::rows(&company);
            let stored = self.get(&key)?.map(|it| record::decode_rows(&it)).transpose()?;
            if stored.unwrap_or(0) < next {
                written.push(self.put(key, record::encode_rows(next)?.into())?);
            }
        }
        Ok(written)
    }

    /// Returns the place in the order of changes for a task of this row that is changed now.
    fn at(&self, row: u32) -> LastChange {
        LastChange { sequence: self.sequence, row }
    }

    fn next_row(&mut self, company: CompanyId) -> Result<u32, StoreError> {
        let next = self.stored.rows.get(&company).copied().unwrap_or(0);
        let after = next.checked_add(1).ok_or_else(|| StoreError::OutOfRows { company: company.to_string() })?;
        self.stored.rows.insert(company, after);
        Ok(next)
    }

    /// Inserts a key that is known to be new.
    fn insert(&mut self, key: Vec<u8>, value: Bytes) -> OwnedOp {
        self.change.insert(key.clone(), Some(value.clone()));
        OwnedOp { kind: OpKind::Insert, key, value }
    }

    /// Writes a key's new value, as an insert or a replacement.
    fn put(&mut self, key: Vec<u8>, value: Bytes) -> Result<OwnedOp, StoreError> {
        let kind = if self.get(&key)?.is_some() { OpKind::Replace } else { OpKind::Insert };
        self.change.insert(key.clone(), Some(value.clone()));
        Ok(OwnedOp { kind, key, value })
    }

    fn gone(&mut self, key: Vec<u8>) -> OwnedOp {
        self.change.insert(key.clone(), None);
        OwnedOp { kind: OpKind::Delete, key, value: Bytes::new() }
    }

    /// Returns the newest value of a key: from this change, this group, the recent groups, or the read view.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let changed = self.change.get(key).or_else(|| self.group.get(key)).or_else(|| self.stored.recent.get(key));
        if let Some(value) = changed {
            return Ok(value.clone());
        }
        let value = self.shared.view(|tree| tree.get(key).map_err(failure::read))?;
        Ok(value.map(|it| Bytes::copy_from_slice(&it)))
    }

    fn task(&self, key: &[u8], company: &CompanyId, id: TaskId) -> Result<Option<(Task, LastChange)>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let (task, change) = task_record::decode(&value, id, company.clone())?;
        Ok(task.deleted_at.is_none().then_some((task, change)))
    }

    /// Returns the stored response if the request is a repetition. A quarantined delivery may be sent again, but
    /// only another copy of it counts as an attempt of the same event, and only while that event is quarantined.
    fn repeated(&self, guard: Option<&Guard>, events: &[KeyValue]) -> Result<Option<FirstAnswer>, StoreError> {
        let Some(guard) = guard else { return Ok(None) };
        let Some(first) = self.first(&guard.id, guard.at)? else { return Ok(None) };
        if !first.refused {
            return Ok(Some(first));
        }
        let is_copy = guard.refused && first.fingerprint == guard.fingerprint;
        Ok(Some(first).filter(|it| is_copy && self.may_come_again(it, events)))
    }

    fn may_come_again(&self, first: &FirstAnswer, events: &[KeyValue]) -> bool {
        let company = events.first().and_then(|(key, _)| keys::parse_event(key)).map(|(company, _)| company);
        let Some((company, id)) = company.zip(first.event_id) else { return false };
        match super::events::one(self.shared, &company, id) {
            Ok(Some(first)) => first.event.may_come_again(),
            // The event is not durable yet because it is in this group, or it has expired.
            Ok(None) => !self.shared.is_expired(id.0),
            // An unreadable event is no reason to refuse the new delivery.
            Err(_) => false,
        }
    }

    /// Returns the response that is stored for an idempotency key.
    fn first(&self, id: &IdempotencyId, at: DateTime<Utc>) -> Result<Option<FirstAnswer>, StoreError> {
        match self.answers.first(self.shared, id, at)? {
            Some(of_this_group) => Ok(of_this_group),
            None => answers::first(self.shared, id, at, &|key| self.get(key)),
        }
    }
}

fn changed(task: Task, patch: Option<TaskPatch>, now: DateTime<Utc>) -> Task {
    let deleted_at = if patch.is_none() { Some(now) } else { None };
    Task { deleted_at, ..patch.unwrap_or_default().apply(task, now) }
}

#[cfg(test)]
mod tests;
