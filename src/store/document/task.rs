//! A task as JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::company::CompanyId;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::{Priority, Status, Task};

/// A task with all of its fields; the documented response lacks some.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskDocument {
    id: TaskId,
    company_id: CompanyId,
    title: String,
    description: String,
    assigned_user_ids: Vec<String>,
    created_by_id: String,
    deadline: DateTime<Utc>,
    tags: Vec<String>,
    call_id: Option<String>,
    fax_id: Option<String>,
    assistant_id: Option<String>,
    session_id: Option<String>,
    patient_id: Option<String>,
    status: Status,
    priority: Priority,
    #[serde(rename = "type")]
    kind: Option<String>,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    external_message_ids: Map<String, Value>,
    event_id: EventId,
}

// Both take apart all fields, so that a new one cannot be left out.

impl From<Task> for TaskDocument {
    fn from(task: Task) -> Self {
        let Task {
            id,
            title,
            description,
            tags,
            deadline,
            created_at,
            updated_at,
            priority,
            created_by_id,
            company_id,
            version,
            status,
            call_id,
            fax_id,
            assistant_id,
            session_id,
            patient_id,
            kind,
            external_message_ids,
            assigned_user_ids,
            event_id,
            deleted_at,
        } = task;
        Self {
            id,
            company_id,
            title,
            description,
            assigned_user_ids,
            created_by_id,
            deadline,
            tags,
            call_id,
            fax_id,
            assistant_id,
            session_id,
            patient_id,
            status,
            priority,
            kind,
            version,
            created_at,
            updated_at,
            deleted_at,
            external_message_ids,
            event_id,
        }
    }
}

impl From<TaskDocument> for Task {
    fn from(document: TaskDocument) -> Self {
        let TaskDocument {
            id,
            company_id,
            title,
            description,
            assigned_user_ids,
            created_by_id,
            deadline,
            tags,
            call_id,
            fax_id,
            assistant_id,
            session_id,
            patient_id,
            status,
            priority,
            kind,
            version,
            created_at,
            updated_at,
            deleted_at,
            external_message_ids,
            event_id,
        } = document;
        Self {
            id,
            title,
            description,
            tags,
            deadline,
            created_at,
            updated_at,
            priority,
            created_by_id,
            company_id,
            version,
            status,
            call_id,
            fax_id,
            assistant_id,
            session_id,
            patient_id,
            kind,
            external_message_ids,
            assigned_user_ids,
            event_id,
            deleted_at,
        }
    }
}
