//! Changes that callers send to the writer, encoded as far as possible before they are decided.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::failure::damaged;
use super::shared::name_of;
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{Priority, Status, Task, TaskPatch};
use crate::store::document::{EventDocument, KeyDocument, SentParts, TaskDocument};
use crate::store::error::StoreError;
use crate::store::idempotency::Idempotency;
use crate::store::item::{Imported, StoredItem};
use crate::store::write::{Commit, Committed, Replace, Replaced, Updated};

/// A change of the store.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an update is the most frequent change after a commit")]
pub(super) enum Mutation {
    /// New events and tasks, an API key in any state, and the idempotency key that guards them.
    Put(Box<Put>),
    /// A new state of an event, if the event has not changed since it was read.
    Replace(Box<Replace>, DateTime<Utc>),
    /// A patch of a task, or its deletion.
    Update { company: CompanyId, id: TaskId, version: Option<u64>, patch: Option<TaskPatch>, now: DateTime<Utc> },
    /// Removes an unreadable event from the queue.
    GiveUp(Box<Event>),
    /// Erases what was sent of stored events.
    Erase { company: CompanyId, events: Vec<EventId>, at: DateTime<Utc> },
    /// Items of another store. Items that exist already are skipped.
    Import(Vec<StoredItem>),
}

#[derive(Debug, Default)]
pub(super) struct Put {
    pub(super) events: Vec<Arc<EncodedEvent>>,
    pub(super) tasks: Vec<Arc<EncodedTask>>,
    pub(super) key: Option<EncodedKey>,
    pub(super) audit: Option<Entry>,
    pub(super) guard: Option<Idempotency>,
    pub(super) lane: Option<i64>,
}

/// An event as it is stored: its columns and documents. Made once, and shared by the attempts to write it.
#[derive(Debug)]
pub(super) struct EncodedEvent {
    pub(super) company: CompanyId,
    pub(super) id: EventId,
    pub(super) integration: IntegrationName,
    pub(super) status: EventStatus,
    pub(super) reason: Option<(String, String)>,
    pub(super) is_erased: bool,
    /// Whether another copy of the delivery counts as an attempt of this event.
    pub(super) may_come_again: bool,
    /// The event that it is a duplicate of.
    pub(super) repeats: Option<EventId>,
    pub(super) document: String,
    /// What was sent, without the body; empty if there is nothing.
    pub(super) sent: String,
    pub(super) body: Bytes,
}

/// A task as it is stored.
#[derive(Debug)]
pub(super) struct EncodedTask {
    pub(super) company: CompanyId,
    pub(super) id: TaskId,
    pub(super) version: u64,
    pub(super) status: Status,
    pub(super) priority: Priority,
    pub(super) patient_id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) users: Vec<String>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) document: String,
}

/// An API key and its document.
#[derive(Debug)]
pub(super) struct EncodedKey {
    pub(super) key: ApiKey,
    pub(super) document: String,
}

/// Result of a change.
#[derive(Debug)]
pub(super) enum MutationDone {
    Committed(Committed),
    Replaced(Replaced),
    Updated(Updated),
    /// Number of events that were not erased before.
    Erased(u64),
    Imported(Imported),
}

impl EncodedEvent {
    pub(super) fn of(event: Event) -> Result<Self, StoreError> {
        let (company, id, integration) = (event.company_id.clone(), event.id, event.integration.clone());
        let reason = event.reason.as_ref().map(|it| (it.stage.clone(), it.code.clone()));
        let (status, is_erased, may_come_again) = (event.status, event.erased_at.is_some(), event.may_come_again());
        let repeats = event.repeats();
        let was_sent = event.content_type.is_some() || !event.headers.is_empty() || event.trace.is_some();
        let (document, sent, body) = EventDocument::parts(event);
        let sent = if was_sent || !body.is_empty() { json(&sent)? } else { String::new() };
        let document = json(&document)?;
        Ok(Self { company, id, integration, status, reason, is_erased, may_come_again, repeats, document, sent, body })
    }

    /// Returns the event.
    pub(super) fn event(&self) -> Result<Event, StoreError> {
        let document: EventDocument = serde_json::from_str(&self.document).map_err(|e| damaged("event", &e))?;
        let sent = if self.sent.is_empty() { Ok(SentParts::default()) } else { serde_json::from_str(&self.sent) };
        Ok(document.whole(sent.map_err(|e| damaged("event", &e))?, self.body.clone()))
    }
}

impl EncodedTask {
    pub(super) fn of(task: Task) -> Result<Self, StoreError> {
        Ok(Self {
            company: task.company_id.clone(),
            id: task.id,
            version: task.version,
            status: task.status,
            priority: task.priority,
            patient_id: task.patient_id.clone(),
            kind: task.kind.clone(),
            users: task.assigned_user_ids.clone(),
            updated_at: task.updated_at,
            deleted_at: task.deleted_at,
            document: json(&TaskDocument::from(task))?,
        })
    }

    /// Returns the task.
    pub(super) fn task(&self) -> Result<Task, StoreError> {
        serde_json::from_str::<TaskDocument>(&self.document).map(Task::from).map_err(|e| damaged("task", &e))
    }
}

impl EncodedKey {
    pub(super) fn of(key: ApiKey) -> Result<Self, StoreError> {
        let document = json(&KeyDocument::from(key.clone()))?;
        Ok(Self { key, document })
    }
}

/// Returns a value as JSON. Control characters are escaped, so that the text has no NUL, which PostgreSQL cannot store.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Write(e.to_string()))
}

impl Mutation {
    pub(super) fn commit(commit: Commit) -> Result<Self, StoreError> {
        let Commit { ingested, idempotency, lane, audit } = commit;
        let (mut events, mut tasks) = (Vec::with_capacity(ingested.len()), Vec::new());
        for it in ingested {
            events.push(Arc::new(EncodedEvent::of(it.event)?));
            for task in it.tasks {
                tasks.push(Arc::new(EncodedTask::of(task)?));
            }
        }
        Ok(Self::Put(Box::new(Put { events, tasks, guard: idempotency, lane, audit, ..Put::default() })))
    }

    /// An entry of the audit log, together with the change of a key that it records.
    pub(super) fn audited(
        entry: Entry,
        key: Option<ApiKey>,
        idempotency: Option<Idempotency>,
    ) -> Result<Self, StoreError> {
        let key = key.map(EncodedKey::of).transpose()?;
        Ok(Self::Put(Box::new(Put { key, audit: Some(entry), guard: idempotency, ..Put::default() })))
    }

    /// Visits the companies whose rows this change locks.
    pub(super) fn companies<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        match self {
            Self::Put(put) => {
                put.events.iter().for_each(|it| visit(it.company.as_str()));
                put.tasks.iter().for_each(|it| visit(it.company.as_str()));
                put.key.iter().for_each(|it| visit(it.key.company_id.as_str()));
                put.audit.iter().for_each(|it| visit(name_of(it.company_id.as_ref())));
                put.guard.iter().for_each(|it| visit(name_of(it.id.company.as_ref())));
            }
            Self::Replace(replace, _) => {
                visit(replace.ingested.event.company_id.as_str());
                replace.audit.iter().for_each(|it| visit(name_of(it.company_id.as_ref())));
                let ids = replace.idempotency.iter().map(|it| &it.id).chain(&replace.forget);
                ids.for_each(|it| visit(name_of(it.company.as_ref())));
            }
            Self::Update { company, .. } => visit(company.as_str()),
            Self::GiveUp(event) => visit(event.company_id.as_str()),
            Self::Erase { company, .. } => visit(company.as_str()),
            Self::Import(items) => {
                for item in items {
                    match item {
                        StoredItem::Task(it) => visit(it.company_id.as_str()),
                        StoredItem::Event(it) => visit(it.company_id.as_str()),
                        StoredItem::Key(it) => visit(it.company_id.as_str()),
                        StoredItem::Audit(it) => visit(name_of(it.company_id.as_ref())),
                        StoredItem::Answer(it) => visit(name_of(it.company.as_ref())),
                        StoredItem::Erasure(it) => visit(it.patient.company.as_str()),
                    }
                }
            }
        }
    }

    /// Visits the ids of events that this change stores for the first time.
    pub(super) fn new_events(&self, visit: &mut dyn FnMut(uuid::Uuid)) {
        match self {
            Self::Put(put) => put.events.iter().for_each(|it| visit(it.id.0)),
            Self::Import(items) => {
                for item in items {
                    if let StoredItem::Event(event) = item {
                        visit(event.id.0);
                    }
                }
            }
            Self::Replace(..) | Self::Update { .. } | Self::GiveUp(_) | Self::Erase { .. } => {}
        }
    }

    /// Returns about how many bytes this change writes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Put(put) => {
                let events = put.events.iter().map(|it| it.document.len() + it.sent.len() + it.body.len());
                events.chain(put.tasks.iter().map(|it| it.document.len())).sum()
            }
            Self::Replace(replace, _) => 1000 * (1 + replace.ingested.tasks.len()),
            Self::Update { .. } | Self::GiveUp(_) => 1000,
            Self::Erase { events, .. } => 1000 * events.len(),
            Self::Import(items) => 1000 * items.len(),
        }
    }
}
