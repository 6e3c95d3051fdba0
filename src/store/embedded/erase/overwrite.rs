//! Rewrites a segment without what was sent of erased events.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::ids::EventId;
use crate::store::embedded::event_record::Decoded;
use crate::store::embedded::journal::{Op, OpKind, Rewritten, rewrite};
use crate::store::embedded::{event_record, failure, keys};
use crate::store::error::StoreError;

/// Writes a copy of a segment in which the content of these events is overwritten; `other` returns the new values
/// of other entries. `None` if the segment contains nothing to erase.
pub(super) fn overwritten(
    path: &Path,
    salt: u32,
    first: u64,
    now: DateTime<Utc>,
    is_erased: &dyn Fn(Uuid) -> bool,
    other: &mut dyn FnMut(&Op<'_>) -> Option<Vec<u8>>,
) -> Result<Option<PathBuf>, StoreError> {
    let mut failed = None;
    let mut change = |op: &Op<'_>| {
        let Some(id) = event_id(op) else { return other(op) };
        if !is_erased(id) {
            return None;
        }
        let event = decode(op, id).filter(|it| it.event.erased_at.is_none())?;
        event_record::encode_erased(event, now, op.value.len()).map_err(|e| failed = Some(e)).ok()
    };
    let copy = rewritten(path, salt, first, &mut change)?.copy;
    failed.map_or(Ok(copy), Err)
}

pub(super) fn rewritten(
    segment: &Path,
    salt: u32,
    first: u64,
    change: &mut dyn FnMut(&Op<'_>) -> Option<Vec<u8>>,
) -> Result<Rewritten, StoreError> {
    match rewrite(segment, salt, first, change) {
        // The segment has expired in the meantime.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Rewritten { copy: None, damaged: 0 }),
        other => other.map_err(|e| failure::io(&e, |it| StoreError::Write(format!("the journal: {it}")))),
    }
}

pub(super) fn event_id(op: &Op<'_>) -> Option<Uuid> {
    let id = op.key.last_chunk::<16>().filter(|_| op.kind == OpKind::Event)?;
    Some(Uuid::from_bytes(*id))
}

/// Decodes the event in this record; `None` if it cannot be read.
pub(super) fn decode(op: &Op<'_>, id: Uuid) -> Option<Decoded> {
    let (company, _) = keys::parse_event(op.key)?;
    event_record::decode(op.value, EventId(id), company).ok()
}
