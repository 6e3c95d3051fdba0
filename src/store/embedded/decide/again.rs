//! Events that are stored again: the newest state wins, and what was erased stays erased.
//!
//! Each of these writes names the state that it read. Whether that is still the event's state can be said only here, where
//! changes come one after another; so two replays at once, a late result of the queue and an erasure cannot undo each other.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Decided, Decider};
use crate::auth::CompanyId;
use crate::event::{Event, EventId, EventStatus, Reason};
use crate::store::embedded::change::{Again, Done, Guard, Written};
use crate::store::embedded::event_record::{self, Base};
use crate::store::embedded::journal::{Kind, Op, Stored};
use crate::store::embedded::keys;
use crate::store::{EventVersion, Replaced, StoreError};

impl Stored {
    /// Names this state: where it is stored. An erasure overwrites a state in place, and is told apart by `erased_at`.
    pub(in crate::store::embedded) fn version(&self) -> EventVersion {
        EventVersion(u128::from(self.segment) << 64 | u128::from(self.place.offset))
    }

    /// Where what was sent is stored.
    fn base(&self, known: Option<Base>) -> Base {
        known.unwrap_or_else(|| Base::new(self.segment, self.place))
    }
}

impl Decider<'_> {
    /// An event's newest durable state.
    pub(super) fn newest(&self, key: &[u8], id: Uuid) -> Result<Option<Stored>, StoreError> {
        self.shared.segments.event(key, id).map_err(|e| StoreError::Read(e.to_string()))
    }

    pub(super) fn again(&mut self, again: Again) -> Result<Decided, StoreError> {
        let Again { event, read, tasks, audit, guard, forget } = again;
        let (company, id) = (event.company_id.clone(), event.id);
        let key = keys::event(&company, id);
        let not_stored = |how| Ok((Vec::new(), Done::Replaced(how)));
        if self.replaced.contains(&id.0) {
            return not_stored(Replaced::Changed);
        }
        let Some(stored) = self.newest(&key, id.0)? else {
            // It has expired, and waits for nothing.
            return Ok((vec![self.gone(keys::queued(&company, id))], Done::Replaced(Replaced::Changed)));
        };
        let current = event_record::decode(&stored.value, id, company.clone())?;
        let queued = current.event.status == EventStatus::Queued;
        if let Some(at) = current.event.erased_at {
            return if queued { self.late(current.event, at, &stored) } else { not_stored(Replaced::Erased) };
        }
        if stored.version() != read {
            return not_stored(Replaced::Changed);
        }
        if let Some(guard) = &guard
            && let Some(first) = self.first(guard.id, guard.at)?
            && !first.refused
            && first.event_id() != Some(id)
        {
            return not_stored(Replaced::Repeated(first));
        }
        self.replaced.insert(id.0);
        let value = event_record::encode_update(&event, stored.base(current.base))?;
        let mut written = vec![Written::new(Kind::Event, key, value)];
        self.write_tasks(tasks, &mut written)?;
        written.extend(audit.map(|(key, value)| self.insert(key, value.into())));
        if queued {
            written.push(self.gone(keys::queued(&company, id)));
        }
        if let Some((name, at)) = forget
            && let Some(first) = self.first(name, at)?
            && first.event_id() == Some(id)
        {
            self.answers.add(Guard::forgotten(name, at)?);
        }
        if let Some(guard) = guard {
            self.answers.add(guard);
        }
        Ok((written, Done::Replaced(Replaced::Stored)))
    }

    /// A result that comes after what was sent has been erased: the event says so, and makes no task.
    fn late(&mut self, event: Event, at: DateTime<Utc>, stored: &Stored) -> Result<Decided, StoreError> {
        self.replaced.insert(event.id.0);
        let (company, id) = (event.company_id.clone(), event.id);
        let value = event_record::encode_update(&erased(event, at), stored.base(None))?;
        let event = Written::new(Kind::Event, keys::event(&company, id), value);
        Ok((vec![event, self.gone(keys::queued(&company, id))], Done::Replaced(Replaced::Erased)))
    }

    /// An event that cannot be read is replaced by what is known of it.
    pub(super) fn give_up(&mut self, event: &Event) -> Result<Decided, StoreError> {
        let (company, id) = (&event.company_id, event.id);
        let value = Written::new(Kind::Event, keys::event(company, id), event_record::encode(event)?);
        Ok((vec![value, self.gone(keys::queued(company, id))], Done::Replaced(Replaced::Stored)))
    }

    /// What is stored of a commit whose patient was erased after it was received; none where nobody was. A single event is
    /// stored as erased; several are not stored at all, as their tasks were promised together.
    pub(super) fn erased_meanwhile(
        &self,
        events: &[(Vec<u8>, Vec<u8>)],
        tasks: &[(CompanyId, Vec<u8>, Vec<u8>)],
    ) -> Result<Option<Vec<Written>>, StoreError> {
        let id = |key: &[u8]| key.last_chunk::<16>().map(|it| Uuid::from_bytes(*it));
        let Some(oldest) = events.iter().filter_map(|(key, _)| id(key)).min() else { return Ok(None) };
        let ops = || {
            let events = events.iter().map(|(key, value)| Op { kind: Kind::Event, key, value });
            events.chain(tasks.iter().map(|(_, key, value)| Op { kind: Kind::Insert, key, value }))
        };
        let Some(at) = self.shared.erasures.since(oldest, ops) else { return Ok(None) };
        let [(key, value)] = events else { return Ok(Some(Vec::new())) };
        let Some((company, id)) = keys::parse_event(key) else { return Ok(Some(Vec::new())) };
        let event = event_record::decode(value, EventId(id), company)?.event;
        let value = event_record::encode(&erased(event, at))?;
        Ok(Some(vec![Written::new(Kind::Event, key.clone(), value)]))
    }
}

/// An event of which only what happened is left.
fn erased(event: Event, at: DateTime<Utc>) -> Event {
    let mut event = event_record::without_content(event, at);
    if matches!(event.status, EventStatus::Queued | EventStatus::Stored) {
        event.status = EventStatus::Quarantined;
        event.reason = Some(Reason { stage: "erase".into(), code: "erased".into(), message: String::new() });
    }
    event.task_ids.clear();
    event
}
