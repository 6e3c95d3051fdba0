//! An event's value: format byte, CRC-32 of what follows, then a postcard record.
//!
//! Format 2 has headers and stages; format 3, in which events are written of which something was replaced or erased, has
//! that as well. [`EventStatus`] is stored by the place of its variant, so it may grow at the end only.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::{Bytes1, FORMAT_1, HEADER, Time, decode_as, encode_as, from_time, seal, time};
use crate::auth::CompanyId;
use crate::event::{Event, EventId, EventStatus, IntegrationName, Provenance, Reason, StageTime};
use crate::store::StoreError;
use crate::task::TaskId;

const FORMAT_2: u8 = 2;
const FORMAT_3: u8 = 3;
const WHAT: &str = "event";

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

pub(super) fn encode(event: &Event) -> Result<Vec<u8>, StoreError> {
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
        let mut value = encode(&event)?;
        if value.len() <= length {
            // What follows a record is not read.
            value.resize(length, 0);
            seal(&mut value);
            return Ok(value);
        }
    }
    Err(StoreError::Write("an event is too short to say that it was erased".into()))
}

pub(super) fn decode(bytes: &[u8], id: EventId, company_id: CompanyId) -> Result<Event, StoreError> {
    let second = |event| Event3 { event, redacted: Vec::new(), erased_at: None };
    let Event3 { event: Event2 { event: record, headers, stages }, redacted, erased_at } = match bytes.first() {
        Some(&FORMAT_1) => {
            second(Event2 { event: decode_as(FORMAT_1, bytes, WHAT)?, headers: Vec::new(), stages: Vec::new() })
        }
        Some(&FORMAT_3) => decode_as(FORMAT_3, bytes, WHAT)?,
        _ => second(decode_as(FORMAT_2, bytes, WHAT)?),
    };
    Ok(Event {
        id,
        integration: record.integration,
        company_id,
        received_at: from_time(record.received_at, WHAT)?,
        status: record.status,
        reason: record.reason,
        task_ids: record.task_ids,
        provenance: record.provenance,
        plugin_log: record.plugin_log,
        content_type: record.content_type,
        headers,
        stages,
        redacted,
        erased_at: erased_at.map(|it| from_time((it, 0), WHAT)).transpose()?,
        body_bytes: record.body_bytes,
        body: record.body.0,
    })
}

/// An event's integration, which stands first in every format; its checksum is not looked at.
pub(super) fn integration(value: &[u8]) -> Option<&str> {
    postcard::take_from_bytes(value.get(HEADER..)?).ok().map(|(name, _)| name)
}
