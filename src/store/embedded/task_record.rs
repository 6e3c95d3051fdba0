//! A task's value: format byte 2, CRC-32 of what follows, its row (u32, little endian), then a postcard record.
//!
//! The row is the task's place in its company's order of creation; the writer thread gives it, which is why it
//! stands at a fixed place. Format 1 had none, and was never released. [`Status`] and [`Priority`] are stored by the
//! place of their variant, so they may grow at the end only.

use serde::{Deserialize, Serialize};

use super::record::{HEADER, Time, damaged, from_time, opened, seal, time};
use crate::auth::CompanyId;
use crate::event::EventId;
use crate::store::StoreError;
use crate::task::{Priority, Status, Task, TaskId};

const FORMAT_2: u8 = 2;
const ROW: usize = 4;
const WHAT: &str = "task";

/// `T` is a text: borrowed to be written, owned when read. `L` is a list of texts.
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
    /// call, fax, assistant, session, patient
    refs: [Option<T>; 5],
    status: Status,
    priority: Priority,
    kind: Option<T>,
    /// A JSON object's text; empty for `{}`.
    external_message_ids: String,
    event_id: EventId,
    deleted_at: Option<Time>,
}

/// The value, with row 0: see [`set_row`].
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
    // It is looked into before it has its row: is it an erased patient's?
    seal(&mut value);
    Ok(value)
}

/// Gives the value its row and its checksum.
pub(super) fn set_row(value: &mut [u8], row: u32) {
    value[HEADER..HEADER + ROW].copy_from_slice(&row.to_le_bytes());
    seal(value);
}

/// Whether both are the same task, whatever their rows.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.first() == b.first() && a.get(HEADER + ROW..) == b.get(HEADER + ROW..)
}

/// The task and its row.
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
