//! The format of an export: one JSON object per line. `read.rs` reads them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::auth::{KeyId, Scopes};
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, Provenance, Reason, StageTime};
use crate::model::headers::Headers;
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{NewTask, Task};
use crate::store::embedded::Item;
use crate::system::trace::TraceContext;

/// A task in an export: the documented response, and the fields that only an export shows.
#[derive(Serialize)]
pub(super) struct TaskLine {
    #[serde(flatten)]
    task: NewTask,
    id: TaskId,
    company_id: CompanyId,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    external_message_ids: serde_json::Map<String, Value>,
    event_id: EventId,
}

#[derive(Serialize)]
pub(super) struct EventLine {
    id: EventId,
    integration: IntegrationName,
    company_id: CompanyId,
    received_at: DateTime<Utc>,
    status: EventStatus,
    reason: Option<Reason>,
    task_ids: Vec<TaskId>,
    provenance: Option<Provenance>,
    plugin_log: String,
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Headers,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageTime>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    redacted: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "is_once")]
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceContext>,
    body_bytes: u64,
    body_base64: String,
}

#[derive(Serialize)]
pub(super) struct KeyLine {
    id: KeyId,
    label: String,
    company_id: CompanyId,
    scopes: Scopes,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    timezone: Option<chrono_tz::Tz>,
    strict: bool,
    sha256_base64: String,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    Task(Box<TaskLine>),
    Event(Box<EventLine>),
    ApiKey(Box<KeyLine>),
    Audit(Box<Entry>),
}

impl From<Item> for Line {
    fn from(item: Item) -> Self {
        match item {
            Item::Task(task) => Self::Task(Box::new((*task).into())),
            Item::Event(event) => Self::Event(Box::new((*event).into())),
            Item::Audit(entry) => Self::Audit(entry),
            Item::Key(key) => Self::ApiKey(Box::new(KeyLine {
                id: key.id,
                label: key.label,
                company_id: key.company_id,
                scopes: key.scopes,
                created_at: key.created_at,
                expires_at: key.expires_at,
                revoked_at: key.revoked_at,
                timezone: key.timezone,
                strict: key.strict,
                sha256_base64: BASE64_STANDARD.encode(key.hash),
            })),
        }
    }
}

impl From<Task> for TaskLine {
    fn from(task: Task) -> Self {
        Self {
            id: task.id,
            company_id: task.company_id.clone(),
            version: task.version,
            created_at: task.created_at,
            updated_at: task.updated_at,
            deleted_at: task.deleted_at,
            external_message_ids: task.external_message_ids.clone(),
            event_id: task.event_id,
            task: task.into(),
        }
    }
}

fn is_once(attempts: &u32) -> bool {
    *attempts == 1
}

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            integration: event.integration,
            company_id: event.company_id,
            received_at: event.received_at,
            status: event.status,
            reason: event.reason,
            task_ids: event.task_ids,
            provenance: event.provenance,
            plugin_log: event.plugin_log,
            content_type: event.content_type,
            headers: event.headers,
            stages: event.stages,
            redacted: event.redacted,
            erased_at: event.erased_at,
            attempts: event.attempts,
            last_attempt_at: event.last_attempt_at,
            trace: event.trace,
            body_bytes: event.body_bytes,
            body_base64: BASE64_STANDARD.encode(&event.body),
        }
    }
}
