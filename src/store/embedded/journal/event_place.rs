//! Where events are in a segment.

use uuid::Uuid;

use super::format::{Op, OpKind};
use super::scan::Record;

/// Position and length of an event's operation in its segment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct EventPlace {
    pub(in super::super) offset: u32,
    pub(in super::super) length: u32,
}

/// Returns a place in a segment; `None` if it exceeds the limits of a segment.
pub(super) fn place(offset: u64, length: usize) -> Option<EventPlace> {
    Some(EventPlace { offset: u32::try_from(offset).ok()?, length: u32::try_from(length).ok()? })
}

/// Returns each event once, at its last position, sorted by id.
pub(super) fn newest(mut events: Vec<(Uuid, EventPlace)>) -> Vec<(Uuid, EventPlace)> {
    events.reverse();
    events.sort_by_key(|(id, _)| *id);
    events.dedup_by_key(|(id, _)| *id);
    events
}

pub(super) fn collect_events(record: &Record<'_>, ops: &[Op<'_>], events: &mut Vec<(Uuid, EventPlace)>) {
    let mut at = record.offset;
    for op in ops {
        if op.kind == OpKind::Event
            && let Some(id) = op.key.last_chunk::<16>()
        {
            events.extend(place(at, op.encoded_len()).map(|place| (Uuid::from_bytes(*id), place)));
        }
        at += op.encoded_len() as u64;
    }
}
