//! Encoding of a task: format byte 2, the CRC-32 of the rest, the row (u32, little endian), then a postcard record.
//!
//! The row is the task's position in its company's order of creation. The writer thread assigns it, so it is at a
//! fixed offset. Format 1 had no row and was never released. [`Status`] and [`Priority`] are stored by the position
//! of their variant, so they may only grow at the end.

use serde::{Deserialize, Serialize};

use super::record::{HEADER, Time, damaged, from_time, opened, seal, time};
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::{Priority, Status, Task};
use crate::store::error::StoreError;

const FORMAT_2: u8 = 2;
const ROW: usize = 4;
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

/// Encodes a task with row 0; see [`set_row`].
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
    start.push(FORMAT_2);
    start.resize(HEADER + ROW, 0);
    let mut value = postcard::to_extend(&record, start).map_err(|e| StoreError::Write(e.to_string()))?;
    // The value is decoded before it has its row, to check whether it belongs to an erased patient.
    seal(&mut value);
    Ok(value)
}

/// Sets the row of a value, and updates the checksum.
pub(super) fn set_row(value: &mut [u8], row: u32) {
    value[HEADER..HEADER + ROW].copy_from_slice(&row.to_le_bytes());
    seal(value);
}

/// Returns whether both values are the same task, ignoring their rows.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.first() == b.first() && a.get(HEADER + ROW..) == b.get(HEADER + ROW..)
}

/// Decodes the task and its row.
pub(super) fn decode(value: &[u8], id: TaskId, company_id: CompanyId) -> Result<(Task, u32), StoreError> {
    let body = opened(value, FORMAT_2, WHAT)?;
    let Some((row, body)) = body.split_first_chunk::<ROW>() else { return Err(damaged(WHAT, &"it is too short")) };
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
    Ok((task, u32::from_le_bytes(*row)))
}
