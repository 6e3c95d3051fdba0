//! Encoding of an event: a format byte, the CRC-32 of the rest, then a postcard record.
//!
//! Format 2 has headers and stages. Format 3 is for events with redacted or erased parts. Format 4 is for events
//! that are stored again: it counts the attempts and refers to the record with what was sent (headers, content type
//! and body), which is never stored twice. Format 5 has the span that received the event, which belongs to what was
//! sent. Format 6 has the query and the rest of the path, which belong to what was sent as well. Format 7 has how an event was
//! made that no sender has sent; it is in every record of the event. [`EventStatus`] is stored by the position of its variant, so new variants may only be added at the end.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::journal::EventPlace;
use super::record::{
    Bytes1, FORMAT_1, HEADER, Time, damaged, encode_for, from_time, is_sealed_for, opened_for, seal_for, time,
};
use super::{failure, keys};
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, Reason, StageTime};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::origin::{Origin, OriginKind};
use crate::model::provenance::Provenance;
use crate::model::sent_url::SentParameter;
use crate::store::erasure::content::without_content;
use crate::store::error::StoreError;
use crate::system::trace::TraceContext;

const FORMAT_2: u8 = 2;
const FORMAT_3: u8 = 3;
const FORMAT_4: u8 = 4;
const FORMAT_5: u8 = 5;
const FORMAT_6: u8 = 6;
const FORMAT_7: u8 = 7;
const WHAT: &str = "event";

#[derive(Serialize, Deserialize)]
struct Event1<B> {
    integration: IntegrationName,
    received_at: Time,
    status: EventStatus,
    reason: Option<Reason>,
    task_ids: Vec<TaskId>,
    provenance: Option<Provenance>,
    plugin_log: String,
    content_type: Option<String>,
    body_bytes: u64,
    body: B,
}

#[derive(Serialize, Deserialize)]
struct Event2<B> {
    event: Event1<B>,
    headers: Vec<(String, String)>,
    stages: Vec<StageTime>,
}

#[derive(Serialize, Deserialize)]
struct Event3<B> {
    event: Event2<B>,
    redacted: Vec<String>,
    /// Time of the erasure, in seconds since 1970.
    erased_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Event4<B> {
    event: Event3<B>,
    attempts: u32,
    last_attempt_at: Option<Time>,
    base: Option<Base>,
}

#[derive(Serialize, Deserialize)]
struct Event5<B> {
    event: Event4<B>,
    trace: Trace,
}

#[derive(Serialize, Deserialize)]
struct Event6<B> {
    event: Event4<B>,
    trace: Option<Trace>,
    /// Names and values.
    query: Vec<(String, Option<String>)>,
    path: String,
}

#[derive(Serialize, Deserialize)]
struct Event7<B> {
    event: Event6<B>,
    origin: Origin7,
}

/// How an event was made. [`OriginKind`] is stored by the position of its variant.
#[derive(Serialize, Deserialize)]
struct Origin7 {
    kind: OriginKind,
    copy_of: Option<EventId>,
    by: String,
}

/// A span's ids, the flags of its `traceparent`, and its `tracestate`.
#[derive(Serialize, Deserialize)]
struct Trace {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: String,
}

impl Trace {
    fn of(context: &TraceContext) -> Self {
        Self {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            flags: context.flags(),
            state: context.tracestate(),
        }
    }

    fn context(self) -> Option<TraceContext> {
        TraceContext::new(self.trace_id, self.span_id, self.flags, &self.state)
    }
}

/// Position of the record with what was sent: its segment's first sequence, and the place in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) segment: u64,
    offset: u32,
    length: u32,
}

impl Base {
    pub(super) fn new(segment: u64, place: EventPlace) -> Self {
        Self { segment, offset: place.offset, length: place.length }
    }

    pub(super) fn place(&self) -> EventPlace {
        EventPlace { offset: self.offset, length: self.length }
    }
}

/// An event as decoded from one record.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The event, without what was sent if `base` is set.
    pub(super) event: Event,
    /// Position of the record with what was sent.
    pub(super) base: Option<Base>,
}

impl Decoded {
    /// Returns the complete event. `read` returns the value at a position; if that has expired, so has the event.
    pub(super) fn whole(
        self,
        read: impl FnOnce(Base) -> std::io::Result<Option<Vec<u8>>>,
    ) -> Result<Option<Event>, StoreError> {
        self.joined(read, decode)
    }

    /// Returns the complete event without the body.
    pub(super) fn whole_head(
        self,
        read: impl FnOnce(Base) -> std::io::Result<Option<Vec<u8>>>,
    ) -> Result<Option<Event>, StoreError> {
        self.joined(read, decode_head)
    }

    fn joined(
        self,
        read: impl FnOnce(Base) -> std::io::Result<Option<Vec<u8>>>,
        decode: impl FnOnce(&[u8], EventId, CompanyId) -> Result<Decoded, StoreError>,
    ) -> Result<Option<Event>, StoreError> {
        let Self { mut event, base } = self;
        let Some(base) = base else { return Ok(Some(event)) };
        let Some(value) = read(base).map_err(|e| failure::stored(WHAT, &e))? else { return Ok(None) };
        // An erased event never shows what was sent, even while the original record still has it.
        if event.erased_at.is_none() {
            let sent = decode(&value, event.id, event.company_id.clone())?.event;
            // Set if the original record was erased after this one was written.
            event.erased_at = sent.erased_at;
            (event.headers, event.content_type, event.body) = (sent.headers, sent.content_type, sent.body);
            event.trace = sent.trace;
            (event.query, event.path) = (sent.query, sent.path);
        }
        Ok(Some(event))
    }
}

/// Encodes an event with everything that was sent.
pub(super) fn encode(event: Event) -> Result<Vec<u8>, StoreError> {
    encode_with(event, None)
}

/// Encodes a new state of an event without what was sent; `base` is the record that has it, or had it before the event was
/// erased. The event expires with that record.
pub(super) fn encode_update(event: Event, base: Base) -> Result<Vec<u8>, StoreError> {
    let (query, path) = (Vec::new(), String::new());
    let nothing =
        Event { headers: Vec::new(), query, path, content_type: None, body: Bytes::new(), trace: None, ..event };
    encode_with(nothing, Some(base))
}

fn encode_with(event: Event, base: Option<Base>) -> Result<Vec<u8>, StoreError> {
    // Field by field, so that a new one cannot be forgotten.
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
        query,
        path,
        stages,
        redacted,
        erased_at,
        attempts,
        last_attempt_at,
        trace,
        origin,
        body_bytes,
        body,
    } = event;
    let (key, received_at, body) = (keys::event(&company_id, id), time(received_at), Bytes1(body));
    let first = Event1 {
        integration,
        received_at,
        status,
        reason,
        task_ids,
        provenance,
        plugin_log,
        content_type,
        body_bytes,
        body,
    };
    let second = Event2 { event: first, headers, stages };
    let again = base.is_some() || attempts > 1;
    let has_url = !query.is_empty() || !path.is_empty();
    let is_sent = origin.is_none();
    if is_sent && !has_url && !again && trace.is_none() && redacted.is_empty() && erased_at.is_none() {
        return encode_for(&key, FORMAT_2, &second);
    }
    let third = Event3 { event: second, redacted, erased_at: erased_at.map(|it| it.timestamp()) };
    if is_sent && !has_url && !again && trace.is_none() {
        return encode_for(&key, FORMAT_3, &third);
    }
    let fourth = Event4 { event: third, attempts, last_attempt_at: last_attempt_at.map(time), base };
    let trace = trace.as_ref().map(Trace::of);
    if has_url || !is_sent {
        let query = query.into_iter().map(|it| (it.name, it.value)).collect();
        let sixth = Event6 { event: fourth, trace, query, path };
        return match origin {
            None => encode_for(&key, FORMAT_6, &sixth),
            Some(Origin { kind, copy_of, by }) => {
                encode_for(&key, FORMAT_7, &Event7 { event: sixth, origin: Origin7 { kind, copy_of, by } })
            }
        };
    }
    match trace {
        None => encode_for(&key, FORMAT_4, &fourth),
        Some(trace) => encode_for(&key, FORMAT_5, &Event5 { event: fourth, trace }),
    }
}

/// Encodes an erased event in exactly `length` bytes, to overwrite a record in place. Removes more and more optional
/// fields until it fits. The base is dropped last: without it, an event whose base has expired would be found again. The
/// other fields make room for it; an update always has the times of its stages.
pub(super) fn encode_erased(decoded: Decoded, at: DateTime<Utc>, length: usize) -> Result<Vec<u8>, StoreError> {
    let event = without_content(decoded.event, at);
    let mut erased = Decoded { event, base: decoded.base };
    let shorter: [fn(&mut Decoded); 9] = [
        |_| {},
        |it| it.event.stages.clear(),
        |it| it.event.trace = None,
        |it| it.event.redacted.clear(),
        |it| it.event.provenance = None,
        |it| it.event.reason = None,
        |it| (it.event.attempts, it.event.last_attempt_at) = (1, None),
        |it| it.event.origin = None,
        |it| it.base = None,
    ];
    for shorten in shorter {
        shorten(&mut erased);
        let mut value = encode_with(erased.event.clone(), erased.base)?;
        if value.len() <= length {
            // Bytes after a record are ignored.
            value.resize(length, 0);
            seal_for(&keys::event(&erased.event.company_id, erased.event.id), &mut value);
            return Ok(value);
        }
    }
    Err(StoreError::Write("the event's record is too short to be marked as erased".into()))
}

/// Target type for the body when a record is decoded.
trait RecordBody: DeserializeOwned {
    fn bytes(self) -> Bytes;
}

impl RecordBody for Bytes1 {
    fn bytes(self) -> Bytes {
        self.0
    }
}

/// A body that is skipped without being copied.
struct Unseen;

impl RecordBody for Unseen {
    fn bytes(self) -> Bytes {
        Bytes::new()
    }
}

impl<'de> Deserialize<'de> for Unseen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UnseenVisitor;
        impl serde::de::Visitor<'_> for UnseenVisitor {
            type Value = Unseen;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, _: &[u8]) -> Result<Unseen, E> {
                Ok(Unseen)
            }
        }
        deserializer.deserialize_bytes(UnseenVisitor)
    }
}

/// Decodes an event, with its body if this record has it.
pub(super) fn decode(bytes: &[u8], id: EventId, company_id: CompanyId) -> Result<Decoded, StoreError> {
    decode_with::<Bytes1>(bytes, id, company_id)
}

/// Decodes an event without its body, for lists. The checksum still covers the whole record.
pub(super) fn decode_head(bytes: &[u8], id: EventId, company_id: CompanyId) -> Result<Decoded, StoreError> {
    decode_with::<Unseen>(bytes, id, company_id)
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(body).map_err(|e| damaged(WHAT, &e))
}

/// Checks that a value under another key was not stored under this one: an event under a damaged key looks like another
/// company's. The checksum tells, except for events that were stored before it covered the key.
pub(super) fn check_other(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if is_sealed_for(key, value) { Err(damaged(WHAT, &"its key has changed")) } else { Ok(()) }
}

fn decode_with<B: RecordBody>(bytes: &[u8], id: EventId, company_id: CompanyId) -> Result<Decoded, StoreError> {
    let third = |event| Event3 { event, redacted: Vec::new(), erased_at: None };
    let once = |event| Event4 { event, attempts: 1, last_attempt_at: None, base: None };
    let nothing = || (Vec::new(), String::new());
    let untraced = |event| (event, None, nothing());
    let mut origin = None;
    let format = bytes.first().copied().unwrap_or(FORMAT_2);
    let body = opened_for(&keys::event(&company_id, id), bytes, format, WHAT)?;
    let (fourth, trace, (query, path)) = match format {
        FORMAT_1 => {
            let event: Event1<B> = parsed(body)?;
            untraced(once(third(Event2 { event, headers: Vec::new(), stages: Vec::new() })))
        }
        FORMAT_2 => untraced(once(third(parsed(body)?))),
        FORMAT_3 => untraced(once(parsed(body)?)),
        FORMAT_4 => untraced(parsed(body)?),
        FORMAT_5 => {
            let Event5 { event, trace } = parsed(body)?;
            (event, trace.context(), nothing())
        }
        FORMAT_6 | FORMAT_7 => {
            let Event6 { event, trace, query, path } = if format == FORMAT_6 {
                parsed(body)?
            } else {
                let Event7 { event, origin: Origin7 { kind, copy_of, by } } = parsed(body)?;
                origin = Some(Origin { kind, copy_of, by });
                event
            };
            let query = query.into_iter().map(|(name, value)| SentParameter { name, value }).collect();
            (event, trace.and_then(Trace::context), (query, path))
        }
        unknown => return Err(damaged(WHAT, &format!("unknown format {unknown}"))),
    };
    let Event4 { event: Event3 { event: second, redacted, erased_at }, attempts, last_attempt_at, base } = fourth;
    let Event2 { event: record, headers, stages } = second;
    let event = Event {
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
        query,
        path,
        stages,
        redacted,
        erased_at: erased_at.map(|it| from_time((it, 0), WHAT)).transpose()?,
        attempts,
        last_attempt_at: last_attempt_at.map(|it| from_time(it, WHAT)).transpose()?,
        trace,
        origin,
        body_bytes: record.body_bytes,
        body: record.body.bytes(),
    };
    Ok(Decoded { event, base })
}

/// Returns an event's integration and status, which are among the first fields in every format. The checksum is not verified.
pub(super) fn kind_of(value: &[u8]) -> Option<(&str, EventStatus)> {
    let fields = postcard::take_from_bytes::<(&str, Time, EventStatus)>(value.get(HEADER..)?);
    fields.ok().map(|((name, _, status), _)| (name, status))
}

/// Returns an event's integration, which is the first field in every format. The checksum is not verified.
pub(super) fn integration(value: &[u8]) -> Option<&str> {
    postcard::take_from_bytes(value.get(HEADER..)?).ok().map(|(name, _)| name)
}
