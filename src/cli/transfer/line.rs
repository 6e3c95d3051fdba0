//! The format of an export: one JSON object per line. `read.rs` reads them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::auth::{ApiKey, KeyId, Scopes};
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, Provenance, Reason, StageTime};
use crate::model::headers::Headers;
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{NewTask, Task};
use crate::store::StoredItem;
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
pub(super) enum ExportLine {
    Task(Box<TaskLine>),
    Event(Box<EventLine>),
    ApiKey(Box<KeyLine>),
    Audit(Box<Entry>),
}

impl From<StoredItem> for ExportLine {
    fn from(item: StoredItem) -> Self {
        match item {
            StoredItem::Task(task) => Self::Task(Box::new((*task).into())),
            StoredItem::Event(event) => Self::Event(Box::new((*event).into())),
            StoredItem::Audit(entry) => Self::Audit(entry),
            StoredItem::Key(key) => Self::ApiKey(Box::new((*key).into())),
        }
    }
}

// Each of these takes apart all fields, so that a new one cannot be left out.

impl From<ApiKey> for KeyLine {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, label, company_id, scopes, created_at, expires_at, revoked_at, timezone, strict, hash } = key;
        let sha256_base64 = BASE64_STANDARD.encode(hash);
        Self { id, label, company_id, scopes, created_at, expires_at, revoked_at, timezone, strict, sha256_base64 }
    }
}

impl From<Task> for TaskLine {
    fn from(task: Task) -> Self {
        let Task {
            id,
            title,
            description,
            tags,
            deadline,
            created_at,
            updated_at,
            priority,
            created_by_id,
            company_id,
            version,
            status,
            call_id,
            fax_id,
            assistant_id,
            session_id,
            patient_id,
            kind,
            external_message_ids,
            assigned_user_ids,
            event_id,
            deleted_at,
        } = task;
        let tags = Some(tags);
        let task = NewTask {
            title,
            description,
            assigned_user_ids,
            created_by_id,
            deadline,
            tags,
            call_id,
            fax_id,
            assistant_id,
            session_id,
            patient_id,
            status,
            priority,
            kind,
        };
        Self { task, id, company_id, version, created_at, updated_at, deleted_at, external_message_ids, event_id }
    }
}

fn is_once(attempts: &u32) -> bool {
    *attempts == 1
}

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        let Event {
            id,
            integration,
            company_id,
            received_at,
            status,
            reason,
            task_ids,
            provenance,
            plugin_log,
            content_type,
            headers,
            stages,
            redacted,
            erased_at,
            attempts,
            last_attempt_at,
            trace,
            body_bytes,
            body,
        } = event;
        Self {
            id,
            integration,
            company_id,
            received_at,
            status,
            reason,
            task_ids,
            provenance,
            plugin_log,
            content_type,
            headers,
            stages,
            redacted,
            erased_at,
            attempts,
            last_attempt_at,
            trace,
            body_bytes,
            body_base64: BASE64_STANDARD.encode(&body),
        }
    }
}
