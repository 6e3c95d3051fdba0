//! What a change comes to, against what is stored: versions, idempotency keys, rows.
//!
//! `decide/again.rs` decides events that are stored again, and those whose patient was erased meanwhile.

mod again;

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::answers::{self, GroupAnswers, Placed};
use super::change::{Change, Done, Guard, Imported, KeyValue, Written};
use super::journal::Kind;
use super::keys::AnswerDay;
use super::recent::{Changes, Recent};
use super::shared::Shared;
use super::{event_record, failure, keys, record, task_record};
use crate::auth::CompanyId;
use crate::event::EventId;
use crate::store::{Committed, FirstAnswer, IdempotencyId, StoreError, Updated};
use crate::task::{Task, TaskId, TaskPatch};

/// What the writer knows of the store without a read of the view.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The next row of each company.
    pub(super) rows: HashMap<CompanyId, u32>,
    pub(super) recent: Recent,
}

/// Decides the changes of one group, in order: each sees those before it.
pub(super) struct Decider<'a> {
    shared: &'a Shared,
    stored: &'a mut Stored,
    /// What this group has changed so far.
    group: Changes,
    /// What the change that is being decided would change.
    change: Changes,
    /// Events that this group stores again: they are not as anybody has read them.
    replaced: HashSet<Uuid>,
    answers: GroupAnswers,
    late: Vec<Uuid>,
}

/// What a group comes to beside its records, for when it is durable.
#[derive(Debug)]
pub(super) struct Decisions {
    pub(super) changes: Changes,
    pub(super) placed: Placed,
    /// Days whose answers are being removed: they have expired.
    pub(super) expired: HashSet<AnswerDay>,
    /// Events that are stored as erased, and whose earlier records have what was sent.
    pub(super) late: Vec<Uuid>,
}

type Decided = (Vec<Written>, Done);

impl<'a> Decider<'a> {
    pub(super) fn new(shared: &'a Shared, stored: &'a mut Stored) -> Self {
        stored.recent.forget(shared.applied());
        let (group, change, answers) = (Changes::new(), Changes::new(), GroupAnswers::default());
        Self { shared, stored, group, change, replaced: HashSet::new(), answers, late: Vec::new() }
    }

    /// Ends the group: the blocks of its answers, numbered from `number` on, and what to remember of it.
    pub(super) fn end(mut self, number: u64) -> Result<(Vec<Written>, Decisions), StoreError> {
        let (blocks, placed) = self.answers.into_blocks(number)?;
        let removed = self.group.iter().filter(|(_, value)| value.is_none());
        let expired = removed.filter_map(|(key, _)| keys::answers_in(key)).collect();
        self.group.extend(blocks.iter().map(|it| (it.key.clone(), Some(it.value.clone()))));
        Ok((blocks, Decisions { changes: self.group, placed, expired, late: self.late }))
    }

    pub(super) fn decide(&mut self, change: Change) -> Result<Decided, StoreError> {
        change.fits()?;
        let decided = self.decide_one(change);
        match decided {
            Ok(_) => self.group.extend(self.change.drain()),
            // Nothing of it is written, so the changes after it must not see any of it.
            Err(_) => self.change.clear(),
        }
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
                let mut written: Vec<Written> = Vec::with_capacity(events.len() + tasks.len() + 1);
                written.extend(events.into_iter().map(|(key, value)| Written::new(Kind::Event, key, value)));
                self.write_tasks(tasks, &mut written)?;
                if let Some((key, value)) = api_key {
                    written.push(self.put(key, value.into())?);
                }
                // Their ids are new, so nothing need be looked up.
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
            Change::Remove(keys) => Ok((self.remove(keys)?, Done::Removed)),
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
    ) -> Result<Decided, StoreError> {
        let (mut written, mut imported) = (Vec::new(), Imported::default());
        let mut there = |differs: bool, name: &dyn Fn() -> String| {
            imported.skipped += 1;
            imported.differing.extend(differs.then(name));
        };
        let mut ids = HashSet::new();
        for ((key, value), waits) in events {
            let id = keys::parse_event(&key).map(|(_, id)| id).unwrap_or_default();
            // Events are found by their ids alone: another company's must not take this one's place.
            let known = self.shared.segments.any_event(id).map_err(|e| StoreError::Read(e.to_string()))?;
            if known.is_some() || !ids.insert(id) {
                let same =
                    known.is_some_and(|(found, stored)| found == key && self.is_same(&key, &stored.value, &value));
                there(!same, &|| format!("event {id}"));
            } else {
                written.push(Written { kind: Kind::Event, key, value: value.into() });
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
            task_record::set_row(&mut value, self.next_row(company)?);
            written.push(self.put(key, value.into())?);
        }
        for (key, value) in others {
            if let Some(stored) = self.get(&key)? {
                there(*stored != *value, &|| keys::name_of(&key));
                continue;
            }
            written.push(self.put(key, value.into())?);
        }
        Ok((written, Done::Imported(imported)))
    }

    /// Whether an event is as this value says, which may be in another format.
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
        written: &mut Vec<Written>,
    ) -> Result<(), StoreError> {
        for (company, key, mut value) in tasks {
            task_record::set_row(&mut value, self.next_row(company)?);
            written.push(self.insert(key, value.into()));
        }
        Ok(())
    }

    /// Removes keys. Where tasks are among them, the company's next row is stored as well: after a restart, the rows
    /// that remain do not show it, and a row must never be given twice (an old cursor would lead to newer tasks).
    fn remove(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Written>, StoreError> {
        let companies: BTreeSet<CompanyId> =
            keys.iter().filter_map(|it| keys::parse_task(it)).map(|(company, _)| company).collect();
        let mut written: Vec<Written> = keys.into_iter().map(|key| self.gone(key)).collect();
        for company in companies {
            let next = self.stored.rows.get(&company).copied().unwrap_or(0);
            let key = keys::rows(&company);
            let stored = self.get(&key)?.map(|it| record::decode_rows(&it)).transpose()?;
            if stored.unwrap_or(0) < next {
                written.push(self.put(key, record::encode_rows(next)?.into())?);
            }
        }
        Ok(written)
    }

    fn next_row(&mut self, company: CompanyId) -> Result<u32, StoreError> {
        let next = self.stored.rows.get(&company).copied().unwrap_or(0);
        let after = next.checked_add(1).ok_or_else(|| StoreError::OutOfRows { company: company.to_string() })?;
        self.stored.rows.insert(company, after);
        Ok(next)
    }

    /// A key that is known to be new.
    fn insert(&mut self, key: Vec<u8>, value: Bytes) -> Written {
        self.change.insert(key.clone(), Some(value.clone()));
        Written { kind: Kind::Insert, key, value }
    }

    /// A key's new value; whether it had one decides how that is written.
    fn put(&mut self, key: Vec<u8>, value: Bytes) -> Result<Written, StoreError> {
        let kind = if self.get(&key)?.is_some() { Kind::Replace } else { Kind::Insert };
        self.change.insert(key.clone(), Some(value.clone()));
        Ok(Written { kind, key, value })
    }

    fn gone(&mut self, key: Vec<u8>) -> Written {
        self.change.insert(key.clone(), None);
        Written { kind: Kind::Delete, key, value: Bytes::new() }
    }

    /// A key's newest value: of this change, this group, the groups before it, or the view.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let changed = self.change.get(key).or_else(|| self.group.get(key)).or_else(|| self.stored.recent.get(key));
        if let Some(value) = changed {
            return Ok(value.clone());
        }
        let value = self.shared.view(|tree| tree.get(key).map_err(failure::read))?;
        Ok(value.map(|it| Bytes::copy_from_slice(&it)))
    }

    fn task(&self, key: &[u8], company: &CompanyId, id: TaskId) -> Result<Option<(Task, u32)>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let (task, row) = task_record::decode(&value, id, company.clone())?;
        Ok(task.deleted_at.is_none().then_some((task, row)))
    }

    /// The first answer to the same request, where that is to be given again. A delivery that was quarantined may come
    /// again; only another copy of it is an attempt of the same event, and only while that is in quarantine.
    fn repeated(&self, guard: Option<&Guard>, events: &[KeyValue]) -> Result<Option<FirstAnswer>, StoreError> {
        let Some(guard) = guard else { return Ok(None) };
        let Some(first) = self.first(guard.id, guard.at)? else { return Ok(None) };
        if !first.refused {
            return Ok(Some(first));
        }
        let is_copy = guard.refused && first.fingerprint == guard.fingerprint;
        Ok(Some(first).filter(|it| is_copy && self.may_come_again(it, events)))
    }

    fn may_come_again(&self, first: &FirstAnswer, events: &[KeyValue]) -> bool {
        let company = events.first().and_then(|(key, _)| keys::parse_event(key)).map(|(company, _)| company);
        let Some((company, id)) = company.zip(first.event_id()) else { return false };
        match super::events::one(self.shared, &company, id) {
            Ok(Some(first)) => first.event.may_come_again(),
            // It is not durable yet, as it is in this group, or it has expired.
            Ok(None) => !self.shared.is_expired(id.0),
            // What comes now is not refused for that.
            Err(_) => false,
        }
    }

    /// What is remembered under an idempotency key.
    fn first(&self, id: IdempotencyId, at: DateTime<Utc>) -> Result<Option<FirstAnswer>, StoreError> {
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
mod tests {
    use super::*;
    use crate::event::{Event, EventStatus, IntegrationName, new_id};
    use crate::store::embedded::{Embedded, Options, check};
    use crate::store::{Commit, Idempotency, Ingested, Store as _};
    use crate::task::NewTask;
    use std::time::Duration;

    fn made(company: &str) -> Ingested {
        let now = Utc::now();
        let new: NewTask = serde_json::from_value(serde_json::json!({
            "title": "t", "description": "d", "assigned_user_ids": ["u"], "created_by_id": "u",
            "deadline": "2026-12-01T09:00:00Z",
        }))
        .unwrap();
        let company = CompanyId::parse(company).unwrap();
        let event_id = EventId(new_id(now));
        let task = new.into_task(TaskId(new_id(now)), event_id, company.clone(), now);
        let event = Event {
            id: event_id,
            integration: IntegrationName("tasks".into()),
            company_id: company,
            received_at: now,
            status: EventStatus::Stored,
            reason: None,
            task_ids: vec![task.id],
            provenance: None,
            plugin_log: String::new(),
            content_type: None,
            headers: Vec::new(),
            stages: Vec::new(),
            redacted: Vec::new(),
            erased_at: None,
            attempts: 1,
            last_attempt_at: None,
            body_bytes: 2,
            body: "{}".into(),
        };
        Ingested { event, tasks: vec![task] }
    }

    fn keyed(company: &str, key: &str) -> Commit {
        let at = Utc::now();
        let answer = FirstAnswer {
            fingerprint: [1; 16],
            at,
            refused: false,
            status: 201,
            headers: Vec::new(),
            body: key.to_owned().into(),
        };
        let idempotency = Some(Idempotency { id: IdempotencyId::of("s", "/r", key), answer });
        Commit { ingested: vec![made(company)], idempotency }
    }

    fn changes(commit: &Commit) -> Change {
        Change::commit(commit).unwrap()
    }

    /// Under load the view is always some groups behind. What is decided then must be what would be decided after it
    /// has caught up, and must not wait for it.
    #[test]
    fn a_decision_sees_what_is_durable_while_the_view_is_behind() {
        let dir = tempfile::TempDir::new().unwrap();
        let data = dir.path().join("data");
        let store = Embedded::open(&data, &Options::default()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // The applier needs the index to go on.
        let behind = store.shared.index.read().unwrap();
        let (first, second) = (keyed("a", "k"), keyed("a", "k"));
        let task = first.ingested[0].tasks[0].clone();
        let a = task.company_id.clone();
        let decided = runtime.block_on(async {
            let all = async {
                assert_eq!(store.commit(first.clone()).await.unwrap(), Committed::Stored);
                let repeated = store.commit(second).await.unwrap();
                let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
                let updated = store.update_task(&a, task.id, 1, patch.clone(), Utc::now()).await.unwrap();
                let stale = store.update_task(&a, task.id, 1, patch, Utc::now()).await.unwrap();
                let deleted = store.delete_task(&a, task.id, Some(2), Utc::now()).await.unwrap();
                let missing = store.delete_task(&a, task.id, None, Utc::now()).await.unwrap();
                // Not in memory, so it is the view that is asked.
                let never = store.delete_task(&a, TaskId(new_id(Utc::now())), None, Utc::now()).await.unwrap();
                assert_eq!(never, Updated::Missing);
                (repeated, updated, stale, deleted, missing)
            };
            tokio::time::timeout(Duration::from_secs(60), all).await
        });
        assert_eq!(store.shared.applied(), 0, "the view has nothing yet");
        drop(behind);
        let (repeated, updated, stale, deleted, missing) = decided.expect("it waits for the view");
        assert_eq!(repeated, Committed::Repeated(first.idempotency.unwrap().answer));
        assert!(matches!(updated, Updated::Done(it) if it.title == "new" && it.version == 2));
        assert_eq!(stale, Updated::Stale { version: 2 });
        assert!(matches!(deleted, Updated::Done(_)));
        assert_eq!(missing, Updated::Missing);
        // Whether keys were new was decided correctly, or the view would not add up.
        drop(store);
        let report = check(&data).unwrap();
        assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
    }

    /// A row that is given twice would lead an old cursor to a newer task; the 4,294,967,296th is an error instead.
    #[test]
    fn rows_run_out_with_an_error_and_nothing_of_the_change_is_kept() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(&dir.path().join("data"), &Options::default()).unwrap();
        let a = CompanyId::parse("a").unwrap();
        let mut stored = Stored::default();
        stored.rows.insert(a.clone(), u32::MAX - 1);
        let mut decider = Decider::new(&store.shared, &mut stored);
        decider.decide(changes(&keyed("a", "last"))).unwrap();
        let refused = keyed("a", "none left");
        let error = decider.decide(changes(&refused)).unwrap_err();
        assert!(matches!(&error, StoreError::OutOfRows { company } if company == "a"), "{error}");
        // The same key for another company's task: the refused request has left nothing behind.
        let other = Commit { ingested: vec![made("b")], ..refused };
        let decided = decider.decide(changes(&other)).unwrap().1;
        assert!(matches!(decided, Done::Committed(Committed::Stored)), "{decided:?}");
    }
}
