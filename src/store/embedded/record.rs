//! Value formats: a format byte, the CRC-32 of what follows (little endian), then a postcard record.
//!
//! A format's meaning never changes; a changed record gets a new format byte, and the old one stays readable.
//! Ids and companies stand in the key, and not again in here. Enums are stored by the place of their variant, so
//! [`Status`], [`Priority`], [`EventStatus`] and [`Scope`](crate::auth::Scope) may grow at the end only.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::auth::{ApiKey, CompanyId, KeyId, Scopes};
use crate::event::{Event, EventId, EventStatus, IntegrationName, Provenance, Reason};
use crate::store::StoreError;
use crate::task::{Priority, Status, Task, TaskId};

const FORMAT_1: u8 = 1;
const HEADER: usize = 5;

/// Seconds and nanoseconds since 1970.
type Time = (i64, u32);

#[derive(Serialize, Deserialize)]
struct Task1 {
    title: String,
    description: String,
    assigned_user_ids: Vec<String>,
    created_by_id: String,
    deadline: Time,
    created_at: Time,
    updated_at: Time,
    version: u64,
    tags: Vec<String>,
    /// call, fax, assistant, session, patient
    refs: [Option<String>; 5],
    status: Status,
    priority: Priority,
    kind: Option<String>,
    /// A JSON object's text; empty for `{}`.
    external_message_ids: String,
    event_id: EventId,
}

#[derive(Serialize, Deserialize)]
struct Event1 {
    integration: IntegrationName,
    received_at: Time,
    status: EventStatus,
    reason: Option<Reason>,
    task_ids: Vec<TaskId>,
    provenance: Option<Provenance>,
    plugin_log: String,
    content_type: Option<String>,
    body_bytes: u64,
    body: Bytes1,
}

/// Bytes in one piece: serde would write a plain vector byte by byte.
struct Bytes1(Bytes);

#[derive(Serialize, Deserialize)]
struct ApiKey1 {
    id: KeyId,
    label: String,
    company_id: CompanyId,
    scopes: Scopes,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    timezone: Option<String>,
    strict: bool,
    hash: [u8; 32],
}

pub(super) fn encode_task(task: &Task) -> Result<Vec<u8>, StoreError> {
    let task = task.clone();
    let external = if task.external_message_ids.is_empty() {
        Ok(String::new())
    } else {
        serde_json::to_string(&task.external_message_ids)
    };
    let record = Task1 {
        title: task.title,
        description: task.description,
        assigned_user_ids: task.assigned_user_ids,
        created_by_id: task.created_by_id,
        deadline: time(task.deadline),
        created_at: time(task.created_at),
        updated_at: time(task.updated_at),
        version: task.version,
        tags: task.tags,
        refs: [task.call_id, task.fax_id, task.assistant_id, task.session_id, task.patient_id],
        status: task.status,
        priority: task.priority,
        kind: task.kind,
        external_message_ids: external.map_err(|e| StoreError::Write(e.to_string()))?,
        event_id: task.event_id,
    };
    encode(&record)
}

pub(super) fn decode_task(bytes: &[u8], id: TaskId, company_id: CompanyId) -> Result<Task, StoreError> {
    let record: Task1 = decode(bytes, "task")?;
    let [call_id, fax_id, assistant_id, session_id, patient_id] = record.refs;
    let external = match record.external_message_ids.as_str() {
        "" => serde_json::Map::new(),
        text => serde_json::from_str(text).map_err(|e| damaged("task", &e))?,
    };
    Ok(Task {
        id,
        title: record.title,
        description: record.description,
        tags: record.tags,
        deadline: from_time(record.deadline, "task")?,
        created_at: from_time(record.created_at, "task")?,
        updated_at: from_time(record.updated_at, "task")?,
        priority: record.priority,
        created_by_id: record.created_by_id,
        company_id,
        version: record.version,
        status: record.status,
        call_id,
        fax_id,
        assistant_id,
        session_id,
        patient_id,
        kind: record.kind,
        external_message_ids: external,
        assigned_user_ids: record.assigned_user_ids,
        event_id: record.event_id,
        deleted_at: None,
    })
}

pub(super) fn encode_event(event: &Event) -> Result<Vec<u8>, StoreError> {
    let event = event.clone();
    encode(&Event1 {
        integration: event.integration,
        received_at: time(event.received_at),
        status: event.status,
        reason: event.reason,
        task_ids: event.task_ids,
        provenance: event.provenance,
        plugin_log: event.plugin_log,
        content_type: event.content_type,
        body_bytes: event.body_bytes,
        body: Bytes1(event.body),
    })
}

pub(super) fn decode_event(bytes: &[u8], id: EventId, company_id: CompanyId) -> Result<Event, StoreError> {
    let record: Event1 = decode(bytes, "event")?;
    Ok(Event {
        id,
        integration: record.integration,
        company_id,
        received_at: from_time(record.received_at, "event")?,
        status: record.status,
        reason: record.reason,
        task_ids: record.task_ids,
        provenance: record.provenance,
        plugin_log: record.plugin_log,
        content_type: record.content_type,
        body_bytes: record.body_bytes,
        body: record.body.0,
    })
}

pub(super) fn encode_key(key: &ApiKey) -> Result<Vec<u8>, StoreError> {
    let key = key.clone();
    encode(&ApiKey1 {
        id: key.id,
        label: key.label,
        company_id: key.company_id,
        scopes: key.scopes,
        created_at: time(key.created_at),
        expires_at: key.expires_at.map(time),
        revoked_at: key.revoked_at.map(time),
        timezone: key.timezone.map(|zone| zone.name().to_owned()),
        strict: key.strict,
        hash: key.hash,
    })
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<ApiKey, StoreError> {
    let record: ApiKey1 = decode(bytes, "API key")?;
    let zone = record.timezone.map(|name| name.parse()).transpose();
    Ok(ApiKey {
        id: record.id,
        label: record.label,
        company_id: record.company_id,
        scopes: record.scopes,
        created_at: from_time(record.created_at, "API key")?,
        expires_at: record.expires_at.map(|t| from_time(t, "API key")).transpose()?,
        revoked_at: record.revoked_at.map(|t| from_time(t, "API key")).transpose()?,
        timezone: zone.map_err(|e| damaged("API key", &e))?,
        strict: record.strict,
        hash: record.hash,
    })
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(record, vec![FORMAT_1, 0, 0, 0, 0]);
    let mut bytes = bytes.map_err(|e| StoreError::Write(e.to_string()))?;
    let crc = crc32fast::hash(&bytes[HEADER..]).to_le_bytes();
    bytes[1..HEADER].copy_from_slice(&crc);
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    let Some((&[format, crc @ ..], body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(damaged(what, &"it is too short"));
    };
    if format != FORMAT_1 {
        return Err(damaged(what, &format!("unknown format {format}")));
    }
    if crc32fast::hash(body) != u32::from_le_bytes(crc) {
        return Err(damaged(what, &"its checksum does not match"));
    }
    postcard::from_bytes(body).map_err(|e| damaged(what, &e))
}

fn damaged(what: &'static str, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { what, cause: cause.to_string() }
}

fn time(at: DateTime<Utc>) -> Time {
    (at.timestamp(), at.timestamp_subsec_nanos())
}

fn from_time((seconds, nanos): Time, what: &'static str) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp(seconds, nanos).ok_or_else(|| damaged(what, &"a time out of range"))
}

impl Serialize for Bytes1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes1;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes1, E> {
                Ok(Bytes1(Bytes::copy_from_slice(bytes)))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}
