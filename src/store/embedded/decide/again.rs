//! New states of stored events: the newest state wins, and what was erased stays erased.
//!
//! Each of these writes names the version that it read. Only the writer thread can check whether the event is still
//! in this state, because it decides changes one after another. So concurrent replays, late results of the queue
//! and erasures cannot undo each other.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Decided, Decider, changed};
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::EventId;
use crate::store::embedded::change::{Again, Done, Guard, KeyValue, OwnedOp};
use crate::store::embedded::event_record::{self, Base, Decoded};
use crate::store::embedded::events;
use crate::store::embedded::journal::{Op, OpKind, StoredEvent};
use crate::store::embedded::{failure, keys, task_record};
use crate::store::erasure::content::{erased, without_content};
use crate::store::error::StoreError;
use crate::store::idempotency::FirstAnswer;
use crate::store::write::{EventVersion, Replaced};

impl StoredEvent {
    /// Returns the version of this state: where it is stored. An erasure overwrites a state in place; `erased_at`
    /// tells these apart.
    pub(in crate::store::embedded) fn version(&self) -> EventVersion {
        EventVersion(u128::from(self.segment) << 64 | u128::from(self.place.offset))
    }

    /// Returns the position of the record with what was sent.
    fn base(&self, known: Option<Base>) -> Base {
        known.unwrap_or_else(|| Base::new(self.segment, self.place))
    }
}

impl Decider<'_> {
    pub(super) fn again(&mut self, again: Again) -> Result<Decided, StoreError> {
        let (company, id) = (again.event.company_id.clone(), again.event.id);
        let key = keys::event(&company, id);
        let not_stored = |how| Ok((Vec::new(), Done::Replaced(how)));
        if self.replaced.contains(&id.0) {
            return not_stored(Replaced::Changed);
        }
        let Some(stored) = events::newest(self.shared, &key, id.0)? else {
            // The event has expired, so it must not stay in the queue.
            return Ok((vec![self.gone(keys::queued(&company, id))], Done::Replaced(Replaced::Changed)));
        };
        let current = event_record::decode(&stored.value, id, company)?;
        self.was.push((id.0, current.event.status));
        let queued = current.event.status == EventStatus::Queued;
        if let Some(at) = self.was_erased(&current)? {
            return if queued { self.late(current, at, &stored) } else { not_stored(Replaced::Erased) };
        }
        if stored.version() != again.read {
            return not_stored(Replaced::Changed);
        }
        if let Some(at) = self.is_to_be_erased(&again, &key) {
            return self.late(current, at, &stored);
        }
        if let Some(first) = self.other_answer(&again)? {
            return not_stored(Replaced::Repeated(first));
        }
        let Some(updates) = self.task_updates(&again)? else { return not_stored(Replaced::Changed) };
        self.replace(again, updates, queued, stored.base(current.base))
    }

    /// Writes the new state as decided.
    fn replace(
        &mut self,
        again: Again,
        updates: Vec<KeyValue>,
        queued: bool,
        base: Base,
    ) -> Result<Decided, StoreError> {
        let Again { event, tasks, audit, guard, forget, .. } = again;
        let (company, id) = (event.company_id.clone(), event.id);
        self.replaced.insert(id.0);
        let key = keys::event(&company, id);
        let mut written = vec![OwnedOp::new(OpKind::Event, key, event_record::encode_update(event, base)?)];
        self.write_tasks(tasks, &mut written)?;
        for (key, value) in updates {
            written.push(self.put(key, value.into())?);
        }
        written.extend(audit.map(|(key, value)| self.insert(key, value.into())));
        if queued {
            written.push(self.gone(keys::queued(&company, id)));
        }
        if let Some((name, at)) = forget
            && let Some(first) = self.first(&name, at)?
            && first.event_id == Some(id)
        {
            self.answers.add(Guard::forgotten(name, at)?);
        }
        if let Some(guard) = guard {
            self.answers.add(guard);
        }
        Ok((written, Done::Replaced(Replaced::Stored)))
    }

    /// Returns the response of another request that is stored under the same key, at the time of the event's
    /// receipt or now.
    fn other_answer(&self, again: &Again) -> Result<Option<FirstAnswer>, StoreError> {
        let Some(guard) = &again.guard else { return Ok(None) };
        for at in [guard.at, again.now] {
            let first = self.first(&guard.id, at)?;
            let first = first.filter(|it| !it.refused && it.event_id != Some(again.event.id));
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(None)
    }

    /// Returns the changed tasks of this event; `None` if one of them no longer exists.
    fn task_updates(&self, again: &Again) -> Result<Option<Vec<KeyValue>>, StoreError> {
        let company = &again.event.company_id;
        let mut updates = Vec::with_capacity(again.updates.len());
        for (id, patch) in &again.updates {
            let key = keys::task(company, *id);
            let Some((task, change)) = self.task(&key, company, *id)? else { return Ok(None) };
            let mut value = task_record::encode(&changed(task, Some(patch.clone()), again.now))?;
            task_record::set_last_change(&mut value, self.at(change.row));
            updates.push((key, value));
        }
        Ok(Some(updates))
    }

    /// Returns when what was sent was erased, according to the newest state or the original record. A running
    /// erasure may have overwritten only one of them so far.
    fn was_erased(&self, current: &Decoded) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (event, base) = (&current.event, current.base);
        let Some(base) = base.filter(|_| event.erased_at.is_none()) else { return Ok(event.erased_at) };
        let value = self.shared.segments.at(base.segment, base.place(), event.id.0);
        let Some(value) = value.map_err(|e| failure::stored("event", &e))? else { return Ok(None) };
        Ok(event_record::decode(&value, event.id, event.company_id.clone())?.event.erased_at)
    }

    /// Returns when the patient of a result was erased, if that was after the event was received.
    fn is_to_be_erased(&self, again: &Again, key: &[u8]) -> Option<DateTime<Utc>> {
        // Encoded only if it is needed.
        let whole = std::cell::OnceCell::new();
        let ops = || {
            let value = whole.get_or_init(|| event_record::encode(again.event.clone()).unwrap_or_default());
            let tasks = again.tasks.iter().map(|(_, key, value)| Op { kind: OpKind::Insert, key, value });
            std::iter::once(Op { kind: OpKind::Event, key, value }).chain(tasks)
        };
        self.shared.erasures.since(again.event.id.0, ops)
    }

    /// Stores a result that arrives after what was sent was erased: the event is marked as erased and creates no
    /// task. Tasks that it created before remain.
    fn late(&mut self, current: Decoded, at: DateTime<Utc>, stored: &StoredEvent) -> Result<Decided, StoreError> {
        let Decoded { event, base } = current;
        self.replaced.insert(event.id.0);
        let (company, id) = (event.company_id.clone(), event.id);
        let made_tasks = !event.task_ids.is_empty();
        let event = if made_tasks { without_content(event, at) } else { erased(event, at) };
        let value = event_record::encode_update(event, stored.base(base))?;
        let event = OwnedOp::new(OpKind::Event, keys::event(&company, id), value);
        self.late.push(id.0);
        Ok((vec![event, self.gone(keys::queued(&company, id))], Done::Replaced(Replaced::Erased)))
    }

    /// Replaces an unreadable event by what is known about it. Does nothing if the event can be read after all.
    pub(super) fn give_up(&mut self, event: &Event) -> Result<Decided, StoreError> {
        let (company, id) = (&event.company_id, event.id);
        match super::super::events::one(self.shared, company, id) {
            Ok(Some(_)) => return Ok((Vec::new(), Done::Replaced(Replaced::Changed))),
            Ok(None) => return Ok((vec![self.gone(keys::queued(company, id))], Done::Replaced(Replaced::Stored))),
            Err(StoreError::Damaged { .. }) => {}
            Err(other) => return Err(other),
        }
        self.was.push((id.0, EventStatus::Queued));
        let value = OwnedOp::new(OpKind::Event, keys::event(company, id), event_record::encode(event.clone())?);
        Ok((vec![value, self.gone(keys::queued(company, id))], Done::Replaced(Replaced::Stored)))
    }

    /// Returns what to store of a commit whose patient was erased after it was received; `None` if no patient was.
    /// A single event is stored as erased; a batch is not stored at all, because its tasks were promised together.
    pub(super) fn erased_meanwhile(
        &self,
        events: &[(Vec<u8>, Vec<u8>)],
        tasks: &[(CompanyId, Vec<u8>, Vec<u8>)],
    ) -> Result<Option<Vec<OwnedOp>>, StoreError> {
        let id = |key: &[u8]| key.last_chunk::<16>().map(|it| Uuid::from_bytes(*it));
        let Some(oldest) = events.iter().filter_map(|(key, _)| id(key)).min() else { return Ok(None) };
        let ops = || {
            let events = events.iter().map(|(key, value)| Op { kind: OpKind::Event, key, value });
            events.chain(tasks.iter().map(|(_, key, value)| Op { kind: OpKind::Insert, key, value }))
        };
        let Some(at) = self.shared.erasures.since(oldest, ops) else { return Ok(None) };
        let [(key, value)] = events else { return Ok(Some(Vec::new())) };
        let Some((company, id)) = keys::parse_event(key) else { return Ok(Some(Vec::new())) };
        let event = event_record::decode(value, EventId(id), company)?.event;
        let value = event_record::encode(erased(event, at))?;
        Ok(Some(vec![OwnedOp::new(OpKind::Event, key.clone(), value)]))
    }
}
