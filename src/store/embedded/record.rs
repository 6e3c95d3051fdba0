//! Value formats: a format byte, the CRC-32 of what follows (little endian), then a postcard record.
//!
//! A format's meaning never changes; a changed record gets a new format byte, and the old one stays readable.
//! Ids and companies stand in the key, and not again in here. Enums are stored by the place of their variant, so
//! [`EventStatus`], [`Action`] and [`Scope`](crate::auth::Scope) may grow at the end only.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::audit::{Action, Entry};
use crate::auth::{ApiKey, CompanyId, KeyId, Scopes};
use crate::event::{Event, EventId, EventStatus, IntegrationName, Provenance, Reason, StageTime};
use crate::store::{FirstAnswer, StoreError};
use crate::task::TaskId;

const FORMAT_1: u8 = 1;
/// Of events: since they have headers and stages.
const FORMAT_2: u8 = 2;
/// Of events of which something was replaced or erased.
const FORMAT_3: u8 = 3;
/// Format byte and checksum.
pub(super) const HEADER: usize = 5;

/// Seconds and nanoseconds since 1970.
pub(super) type Time = (i64, u32);

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

#[derive(Serialize, Deserialize)]
struct Event2 {
    event: Event1,
    headers: Vec<(String, String)>,
    stages: Vec<StageTime>,
}

#[derive(Serialize, Deserialize)]
struct Event3 {
    event: Event2,
    redacted: Vec<String>,
    /// Seconds since 1970.
    erased_at: Option<i64>,
}

/// [`Event3`] as it is written.
#[derive(Serialize)]
struct Event3Ref<'a> {
    event: Event2Ref<'a>,
    redacted: &'a [String],
    erased_at: Option<i64>,
}

/// [`Event2`] as it is written: field by field the same.
#[derive(Serialize)]
struct Event2Ref<'a> {
    event: Event1Ref<'a>,
    headers: &'a [(String, String)],
    stages: &'a [StageTime],
}

#[derive(Serialize)]
struct Event1Ref<'a> {
    integration: &'a IntegrationName,
    received_at: Time,
    status: EventStatus,
    reason: Option<&'a Reason>,
    task_ids: &'a [TaskId],
    provenance: Option<&'a Provenance>,
    plugin_log: &'a str,
    content_type: Option<&'a str>,
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

pub(super) fn encode_event(event: &Event) -> Result<Vec<u8>, StoreError> {
    let first = Event1Ref {
        integration: &event.integration,
        received_at: time(event.received_at),
        status: event.status,
        reason: event.reason.as_ref(),
        task_ids: &event.task_ids,
        provenance: event.provenance.as_ref(),
        plugin_log: &event.plugin_log,
        content_type: event.content_type.as_deref(),
        body_bytes: event.body_bytes,
        body: Bytes1(event.body.clone()),
    };
    let second = Event2Ref { event: first, headers: &event.headers, stages: &event.stages };
    if event.redacted.is_empty() && event.erased_at.is_none() {
        return encode_as(FORMAT_2, &second);
    }
    let erased_at = event.erased_at.map(|it| it.timestamp());
    encode_as(FORMAT_3, &Event3Ref { event: second, redacted: &event.redacted, erased_at })
}

/// An event without what was sent, in exactly so many bytes: less and less of it, until it fits.
pub(super) fn encode_erased(mut event: Event, at: DateTime<Utc>, length: usize) -> Result<Vec<u8>, StoreError> {
    event.erased_at = Some(at);
    event.body = Bytes::new();
    event.headers.clear();
    (event.content_type, event.plugin_log) = (None, String::new());
    if let Some(reason) = &mut event.reason {
        // It may quote what was sent.
        reason.message.clear();
    }
    let shorter: [fn(&mut Event); 5] =
        [|_| {}, |it| it.stages.clear(), |it| it.redacted.clear(), |it| it.provenance = None, |it| it.reason = None];
    for shorten in shorter {
        shorten(&mut event);
        let mut value = encode_event(&event)?;
        if value.len() <= length {
            // What follows a record is not read.
            value.resize(length, 0);
            seal(&mut value);
            return Ok(value);
        }
    }
    Err(StoreError::Write("an event is too short to say that it was erased".into()))
}

pub(super) fn decode_event(bytes: &[u8], id: EventId, company_id: CompanyId) -> Result<Event, StoreError> {
    let second = |event| Event3 { event, redacted: Vec::new(), erased_at: None };
    let Event3 { event: Event2 { event: record, headers, stages }, redacted, erased_at } = match bytes.first() {
        Some(&FORMAT_1) => second(Event2 { event: decode(bytes, "event")?, headers: Vec::new(), stages: Vec::new() }),
        Some(&FORMAT_3) => decode_as(FORMAT_3, bytes, "event")?,
        _ => second(decode_as(FORMAT_2, bytes, "event")?),
    };
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
        headers,
        stages,
        redacted,
        erased_at: erased_at.map(|it| from_time((it, 0), "event")).transpose()?,
        body_bytes: record.body_bytes,
        body: record.body.0,
    })
}

/// An event's integration, which stands first in every format; its checksum is not looked at.
pub(super) fn event_integration(value: &[u8]) -> Option<&str> {
    postcard::take_from_bytes(value.get(HEADER..)?).ok().map(|(name, _)| name)
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

#[derive(Serialize, Deserialize)]
struct Audit1 {
    at: Time,
    company_id: Option<CompanyId>,
    actor: String,
    action: Action,
    target: String,
    detail: String,
}

pub(super) fn encode_audit(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let entry = entry.clone();
    encode(&Audit1 {
        at: time(entry.at),
        company_id: entry.company_id,
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        detail: entry.detail,
    })
}

pub(super) fn decode_audit(bytes: &[u8], id: uuid::Uuid) -> Result<Entry, StoreError> {
    let record: Audit1 = decode(bytes, "audit entry")?;
    Ok(Entry {
        id,
        at: from_time(record.at, "audit entry")?,
        company_id: record.company_id,
        actor: record.actor,
        action: record.action,
        target: record.target,
        detail: record.detail,
    })
}

/// An idempotency key's first answer.
#[derive(Serialize, Deserialize)]
struct Answer1 {
    fingerprint: [u8; 16],
    at: Time,
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes1,
}

pub(super) fn encode_answer(answer: &FirstAnswer) -> Result<Vec<u8>, StoreError> {
    encode(&Answer1 {
        fingerprint: answer.fingerprint,
        at: time(answer.at),
        status: answer.status,
        headers: answer.headers.clone(),
        body: Bytes1(answer.body.clone()),
    })
}

pub(super) fn decode_answer(bytes: &[u8]) -> Result<FirstAnswer, StoreError> {
    let record: Answer1 = decode(bytes, "idempotency key")?;
    Ok(FirstAnswer {
        fingerprint: record.fingerprint,
        at: from_time(record.at, "idempotency key")?,
        status: record.status,
        headers: record.headers,
        body: record.body.0,
    })
}

/// A place in the order of events that wait: milliseconds since 1970, and a count within a process.
pub(super) type Order = (u64, u64);

pub(super) fn encode_order(order: Order) -> Result<Vec<u8>, StoreError> {
    encode(&order)
}

pub(super) fn decode_order(bytes: &[u8]) -> Result<Order, StoreError> {
    decode(bytes, "queued event")
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    encode_as(FORMAT_1, record)
}

fn encode_as(format: u8, record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(record, vec![format, 0, 0, 0, 0]);
    let mut bytes = bytes.map_err(|e| StoreError::Write(e.to_string()))?;
    seal(&mut bytes);
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    decode_as(FORMAT_1, bytes, what)
}

fn decode_as<T: DeserializeOwned>(format: u8, bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    let body = opened(bytes, format, what)?;
    postcard::from_bytes(body).map_err(|e| damaged(what, &e))
}

/// Writes the checksum of a value whose rest is complete.
pub(super) fn seal(value: &mut [u8]) {
    let crc = crc32fast::hash(&value[HEADER..]).to_le_bytes();
    value[1..HEADER].copy_from_slice(&crc);
}

/// What follows format byte and checksum, if both are right.
pub(super) fn opened<'a>(value: &'a [u8], format: u8, what: &'static str) -> Result<&'a [u8], StoreError> {
    let Some((&[found, crc @ ..], body)) = value.split_first_chunk::<HEADER>() else {
        return Err(damaged(what, &"it is too short"));
    };
    if found != format {
        return Err(damaged(what, &format!("unknown format {found}")));
    }
    if crc32fast::hash(body) != u32::from_le_bytes(crc) {
        return Err(damaged(what, &"its checksum does not match"));
    }
    Ok(body)
}

pub(super) fn damaged(what: &'static str, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { what, cause: cause.to_string() }
}

pub(super) fn time(at: DateTime<Utc>) -> Time {
    (at.timestamp(), at.timestamp_subsec_nanos())
}

pub(super) fn from_time((seconds, nanos): Time, what: &'static str) -> Result<DateTime<Utc>, StoreError> {
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
