//! Encoding of a task: format byte 3, the CRC-32 of the rest, the row (u32) and the sequence of the last change (u64), both
//! little-endian, then a postcard record. Format 2 has no sequence.
//!
//! The row is the task's position in its company's order of creation. The sequence is that of the journal record that
//! contains this value. The writer thread assigns both, so they are at fixed offsets. Format 1 had no row and was never
//! released. [`Status`] and [`Priority`] are stored by the position of their variant, so they may only grow at the end.

use serde::{Deserialize, Serialize};

use super::last_change::LastChange;
use super::record::{HEADER, Time, damaged, from_time, opened, seal, time};
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::model::ids::TaskId;
use crate::model::task::{Priority, Status, Task};
use crate::store::error::StoreError;

const FORMAT_2: u8 = 2;
const FORMAT_3: u8 = 3;
const ROW: usize = 4;
const SEQUENCE: usize = 8;
const WHAT: &str = "task";

/// `T` is a text: borrowed for writing, owned when read. `L` is a list of texts.
#[derive(Serialize, Deserialize)]
struct Task2<T, L> {
    title: T,
    description: T,
    assigned_user_ids: L,
    created_by_id: T,
    deadline: Time,
    created_at: Time,
    updated_at: Time,
    version: u64,
    tags: L,
    /// Ids of: call, fax, assistant, session, patient.
    refs: [Option<T>; 5],
    status: Status,
    priority: Priority,
    kind: Option<T>,
    /// A JSON object as text; empty for `{}`.
    external_message_ids: String,
    event_id: EventId,
    deleted_at: Option<Time>,
}

/// Encodes a task with row 0 and sequence 0; see [`set_last_change`].
pub(super) fn encode(task: &Task) -> Result<Vec<u8>, StoreError> {
    let external = if task.external_message_ids.is_empty() {
        Ok(String::new())
    } else {
        serde_json::to_string(&task.external_message_ids)
    };
    let refs = [&task.call_id, &task.fax_id, &task.assistant_id, &task.session_id, &task.patient_id];
    let record = Task2 {
        title: task.title.as_str(),
        description: task.description.as_str(),
        assigned_user_ids: task.assigned_user_ids.as_slice(),
        created_by_id: task.created_by_id.as_str(),
        deadline: time(task.deadline),
        created_at: time(task.created_at),
        updated_at: time(task.updated_at),
        version: task.version,
        tags: task.tags.as_slice(),
        refs: refs.map(Option::as_deref),
        status: task.status,
        priority: task.priority,
        kind: task.kind.as_deref(),
        external_message_ids: external.map_err(|e| StoreError::Write(e.to_string()))?,
        event_id: task.event_id,
        deleted_at: task.deleted_at.map(time),
    };
    let mut start = Vec::with_capacity(256 + task.description.len());
    start.push(FORMAT_3);
    start.resize(HEADER + ROW + SEQUENCE, 0);
    let mut value = postcard::to_extend(&record, start).map_err(|e| StoreError::Write(e.to_string()))?;
    // The value is decoded before it has its row, to check whether it belongs to an erased patient.
    seal(&mut value);
    Ok(value)
}

/// Sets the row and the sequence of a value, and updates the checksum.
pub(super) fn set_last_change(value: &mut [u8], LastChange { sequence, row }: LastChange) {
    value[HEADER..HEADER + ROW].copy_from_slice(&row.to_le_bytes());
    value[HEADER + ROW..HEADER + ROW + SEQUENCE].copy_from_slice(&sequence.to_le_bytes());
    seal(value);
}

/// Splits the bytes after format byte and checksum into row, sequence (0 in format 2) and record.
fn split(format: u8, content: &[u8]) -> Option<(LastChange, &[u8])> {
    let (row, rest) = content.split_first_chunk::<ROW>()?;
    let (sequence, rest) = if format == FORMAT_2 { (&[0; SEQUENCE], rest) } else { rest.split_first_chunk()? };
    Some((LastChange { sequence: u64::from_le_bytes(*sequence), row: u32::from_le_bytes(*row) }, rest))
}

/// Returns whether both values are the same task, ignoring rows and sequences.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let record = |value: &'_ [u8]| Some(split(*value.first()?, value.get(HEADER..)?)?.1.to_vec());
    record(a) == record(b)
}

/// Decodes the task and its place in the order of changes.
pub(super) fn decode(value: &[u8], id: TaskId, company_id: CompanyId) -> Result<(Task, LastChange), StoreError> {
    let format = if value.first() == Some(&FORMAT_2) { FORMAT_2 } else { FORMAT_3 };
    let Some((last_change, body)) = split(format, opened(value, format, WHAT)?) else {
        return Err(damaged(WHAT, &"it is too short"));
    };
    let record: Task2<String, Vec<String>> = postcard::from_bytes(body).map_err(|e| damaged(WHAT, &e))?;
    let [call_id, fax_id, assistant_id, session_id, patient_id] = record.refs;
    let external = match record.external_message_ids.as_str() {
        "" => serde_json::Map::new(),
        text => serde_json::from_str(text).map_err(|e| damaged(WHAT, &e))?,
    };
    let task = Task {
        id,
        title: record.title,
        description: record.description,
        tags: record.tags,
        deadline: from_time(record.deadline, WHAT)?,
        created_at: from_time(record.created_at, WHAT)?,
        updated_at: from_time(record.updated_at, WHAT)?,
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
        deleted_at: record.deleted_at.map(|it| from_time(it, WHAT)).transpose()?,
    };
    Ok((task, last_change))
}
