//! New states of stored events: the newest state wins, and what was erased stays erased.
//!
//! Each of these writes names the version that it read. The rows of the event's company are locked, so nothing changes
//! between the check and the commit: concurrent replays, late results of the queue and erasures cannot undo each other, on
//! whatever node they run.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::change::EncodedTask;
use super::decide::BatchDecider;
use super::ids::AnswerKey;
use super::load::EventRow;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::EventId;
use crate::model::task::Task;
use crate::store::erasure::content::{erased, without_content};
use crate::store::error::StoreError;
use crate::store::idempotency::FirstAnswer;
use crate::store::write::{EventVersion, Replace, Replaced};

impl EventRow {
    /// Returns the version of this state. A queued event's fencing token is part of it, so that the result of a node whose
    /// claim has ended is rejected.
    pub(in crate::store::postgres) fn version(&self) -> EventVersion {
        version_of(self.version, self.token)
    }
}

/// Returns the version of an event's state, and its fencing token if it is queued.
pub(in crate::store::postgres) fn version_of(version: i64, token: Option<i64>) -> EventVersion {
    // Only different numbers matter.
    let number = |it: i64| u128::from(u64::from_ne_bytes(it.to_ne_bytes()));
    EventVersion(number(version) << 64 | number(token.unwrap_or_default()))
}

impl BatchDecider {
    pub(super) fn again(&mut self, replace: &Replace, now: DateTime<Utc>) -> Result<Replaced, StoreError> {
        let event = &replace.ingested.event;
        let id = (event.company_id.clone(), event.id.0);
        let Some(row) = self.loaded.events.get(&id).cloned() else {
            // The event has expired, so it must not stay in the queue.
            self.writes.unqueue(&id.0, id.1);
            return Ok(Replaced::Changed);
        };
        let Some(current) = row.event.clone() else {
            return Err(StoreError::Damaged { what: "event", cause: "its document is not valid".into() });
        };
        let queued = current.status == EventStatus::Queued;
        if let Some(at) = current.erased_at {
            return if queued { self.late(current, at) } else { Ok(Replaced::Erased) };
        }
        if row.version() != replace.read {
            return Ok(Replaced::Changed);
        }
        let tasks: Vec<&Task> = replace.ingested.tasks.iter().collect();
        if let Some(at) = self.erased_since(event.id.0, &[event], &tasks) {
            return self.late(current, at);
        }
        if let Some(first) = self.other_answer(replace, now) {
            return Ok(Replaced::Repeated(first));
        }
        let mut updates = Vec::new();
        for (task, patch) in &replace.updates {
            let Some((place, task)) = self.readable(&id.0, *task)? else { return Ok(Replaced::Changed) };
            updates.push((place, task, patch));
        }
        self.state(event.clone(), queued)?;
        for task in &replace.ingested.tasks {
            self.writes.task(Arc::new(EncodedTask::of(task.clone())?));
        }
        for (place, task, patch) in updates {
            self.change(place, task, Some(patch), now)?;
        }
        if let Some(entry) = &replace.audit {
            self.writes.audit(entry)?;
        }
        if let Some(forget) = &replace.forget
            && let Some(known) = self.known(forget, event.received_at)
            && known.first.event_id == Some(event.id)
        {
            self.loaded.answers.remove(&AnswerKey::of(forget));
            self.writes.forget_answer(AnswerKey::of(forget));
        }
        if let Some(guard) = &replace.idempotency {
            self.remember(guard, event.may_come_again());
        }
        Ok(Replaced::Stored)
    }

    /// Writes a state of an event, which no longer is the one that others have read.
    fn state(&mut self, event: Event, queued: bool) -> Result<(), StoreError> {
        let id = (event.company_id.clone(), event.id.0);
        if let Some(row) = self.loaded.events.get_mut(&id) {
            // No version that was read is this one.
            (row.version, row.token) = (i64::MAX, None);
            row.event = Some(event.clone());
        }
        if queued {
            self.writes.unqueue(&id.0, id.1);
        }
        self.writes.state(event)
    }

    /// Returns the response of another request that is stored under the same key, at the time of the event's receipt or now.
    fn other_answer(&self, replace: &Replace, now: DateTime<Utc>) -> Option<FirstAnswer> {
        let guard = replace.idempotency.as_ref()?;
        let others = [guard.answer.at, now].into_iter().filter_map(|at| self.known(&guard.id, at));
        let mut others = others.map(|it| &it.first);
        others.find(|it| !it.refused && it.event_id != Some(replace.ingested.event.id)).cloned()
    }

    /// Stores a result that arrives after what was sent was erased: the event is marked as erased and creates no task.
    /// Tasks that it created before remain.
    fn late(&mut self, event: Event, at: DateTime<Utc>) -> Result<Replaced, StoreError> {
        let queued = event.status == EventStatus::Queued;
        let event = if event.task_ids.is_empty() { erased(event, at) } else { without_content(event, at) };
        self.writes.delete_body(&event.company_id, event.id.0);
        self.state(event, queued)?;
        Ok(Replaced::Erased)
    }

    /// Erases what was sent of these events. A queued event remains queued: the work on it finds that it is erased. Returns
    /// the number of events that were not erased before.
    pub(super) fn erase(
        &mut self,
        company: &CompanyId,
        events: &[EventId],
        at: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for id in events {
            let row = self.loaded.events.get(&(company.clone(), id.0));
            let event = row.and_then(|it| it.event.clone()).filter(|it| it.erased_at.is_none());
            if let Some(event) = event {
                self.writes.delete_body(company, id.0);
                self.state(without_content(event, at), false)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Replaces an unreadable event by what is known about it. Does nothing if the event can be read after all.
    pub(super) fn give_up(&mut self, event: &Event) -> Result<Replaced, StoreError> {
        let id = (event.company_id.clone(), event.id.0);
        match self.loaded.events.get(&id) {
            Some(EventRow { event: Some(_), .. }) => Ok(Replaced::Changed),
            Some(EventRow { event: None, .. }) => {
                self.writes.delete_body(&id.0, id.1);
                self.state(event.clone(), true)?;
                Ok(Replaced::Stored)
            }
            None => {
                self.writes.unqueue(&id.0, id.1);
                Ok(Replaced::Stored)
            }
        }
    }

    /// Whether nothing of a batch is to be written.
    pub(super) fn writes_nothing(&self) -> bool {
        self.writes.is_empty()
    }
}
