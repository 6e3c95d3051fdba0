//! Everything as lines: one JSON object each, with its kind. Neither way holds more than a few of them in memory.

use std::io::{BufRead, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Failure;
use super::progress::Progress;
use crate::audit::Entry;
use crate::auth::{ApiKey, CompanyId, KeyId, Scopes};
use crate::event::{Event, EventId, EventStatus, Headers, IntegrationName, Provenance, Reason, StageTime};
use crate::store::Embedded;
use crate::store::embedded::Item;
use crate::task::{NewTask, Task, TaskId};

/// Items stored at once.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;

/// What only an export shows of a task: the rest is the documented answer.
#[derive(Serialize, Deserialize)]
struct TaskLine {
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

#[derive(Serialize, Deserialize)]
struct EventLine {
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Headers,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageTime>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    redacted: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_at: Option<DateTime<Utc>>,
    #[serde(default = "once", skip_serializing_if = "is_once")]
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_attempt_at: Option<DateTime<Utc>>,
    body_bytes: u64,
    body_base64: String,
}

#[derive(Serialize, Deserialize)]
struct KeyLine {
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

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Task(Box<TaskLine>),
    Event(Box<EventLine>),
    ApiKey(Box<KeyLine>),
    Audit(Box<Entry>),
}

#[derive(Default)]
struct Counts {
    tasks: u64,
    events: u64,
    api_keys: u64,
    audit: u64,
    skipped: u64,
}

impl Counts {
    fn add(&mut self, item: &Item) {
        match item {
            Item::Task(_) => self.tasks += 1,
            Item::Event(_) => self.events += 1,
            Item::Key(_) => self.api_keys += 1,
            Item::Audit(_) => self.audit += 1,
        }
    }

    fn json(&self) -> Value {
        json!({
            "tasks": self.tasks, "events": self.events, "api_keys": self.api_keys, "audit_entries": self.audit,
            "skipped": self.skipped,
        })
    }
}

/// Writes everything that a store holds.
pub(super) fn export(store: &Embedded, out: &mut impl Write) -> Result<Value, Failure> {
    let (mut counts, mut progress) = (Counts::default(), Progress::new("exported", store.item_count()));
    store.export(&mut |item| {
        counts.add(&item);
        progress.add(1);
        let mut line = serde_json::to_vec(&Line::from(item)).map_err(std::io::Error::other)?;
        line.push(b'\n');
        out.write_all(&line)
    })?;
    out.flush().map_err(Failure::new)?;
    progress.finish();
    Ok(counts.json())
}

/// Reads such lines into a store. A line that cannot be read ends it; what came before is stored, and is skipped
/// when the same lines are read again.
pub(super) async fn import(store: &Embedded, input: &mut impl BufRead) -> Result<Value, Failure> {
    let (mut counts, mut progress) = (Counts::default(), Progress::new("imported", 0));
    let (mut items, mut text, mut number, mut bytes) = (Vec::with_capacity(BATCH), String::new(), 0_u64, 0);
    loop {
        text.clear();
        let read = input.read_line(&mut text).map_err(|e| Failure::new(format!("line {}: {e}", number + 1)))?;
        number += 1;
        if read > 0 && !text.trim().is_empty() {
            let line: Line = serde_json::from_str(&text).map_err(|e| Failure::new(format!("line {number}: {e}")))?;
            let item = Item::try_from(line).map_err(|e| Failure::new(format!("line {number}: {e}")))?;
            counts.add(&item);
            items.push(item);
        }
        bytes += read;
        if items.len() >= BATCH || bytes >= BATCH_BYTES || (read == 0 && !items.is_empty()) {
            bytes = 0;
            progress.add(items.len() as u64);
            counts.skipped += store.import(std::mem::take(&mut items)).await?;
        }
        if read == 0 {
            break;
        }
    }
    progress.finish();
    Ok(counts.json())
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

impl TryFrom<Line> for Item {
    type Error = String;
    fn try_from(line: Line) -> Result<Self, String> {
        Ok(match line {
            Line::Task(line) => Self::Task(Box::new(line.into_task()?)),
            Line::Event(line) => Self::Event(Box::new(line.into_event()?)),
            Line::Audit(entry) => Self::Audit(entry),
            Line::ApiKey(line) => {
                let hash = BASE64_STANDARD.decode(&line.sha256_base64).ok().and_then(|it| it.try_into().ok());
                Self::Key(Box::new(ApiKey {
                    id: line.id,
                    label: line.label,
                    company_id: checked(&line.company_id)?,
                    scopes: line.scopes,
                    created_at: line.created_at,
                    expires_at: line.expires_at,
                    revoked_at: line.revoked_at,
                    timezone: line.timezone,
                    strict: line.strict,
                    hash: hash.ok_or("sha256_base64: 32 bytes in base64 are needed")?,
                }))
            }
        })
    }
}

/// Deserialised names have not been looked at: they lead stored keys.
fn checked(company: &CompanyId) -> Result<CompanyId, String> {
    CompanyId::parse(company.as_str()).map_err(|e| format!("company_id: {e}"))
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

impl TaskLine {
    fn into_task(self) -> Result<Task, String> {
        let company = checked(&self.company_id)?;
        Ok(Task {
            version: self.version,
            updated_at: self.updated_at,
            deleted_at: self.deleted_at,
            external_message_ids: self.external_message_ids,
            ..self.task.into_task(self.id, self.event_id, company, self.created_at)
        })
    }
}

/// A line without attempts counts one: most events, and exports of earlier versions.
fn once() -> u32 {
    1
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
            body_bytes: event.body_bytes,
            body_base64: BASE64_STANDARD.encode(&event.body),
        }
    }
}

impl EventLine {
    fn into_event(self) -> Result<Event, String> {
        let body = BASE64_STANDARD.decode(&self.body_base64).map_err(|e| format!("body_base64: {e}"))?;
        Ok(Event {
            id: self.id,
            integration: self.integration,
            company_id: checked(&self.company_id)?,
            received_at: self.received_at,
            status: self.status,
            reason: self.reason,
            task_ids: self.task_ids,
            provenance: self.provenance,
            plugin_log: self.plugin_log,
            content_type: self.content_type,
            headers: self.headers,
            stages: self.stages,
            redacted: self.redacted,
            erased_at: self.erased_at,
            attempts: self.attempts,
            last_attempt_at: self.last_attempt_at,
            body_bytes: self.body_bytes,
            body: Bytes::from(body),
        })
    }
}
