//! A task, the result of every webhook.
//!
//! [`NewTask`] is a checked request, [`Task`] a stored task, [`TaskChange`](crate::format::task_change::TaskChange) a checked change. Field rules are in
//! `schemas/task-create.schema.json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::company::CompanyId;
use super::ids::{EventId, TaskId};
use super::time::utc;

/// The progress of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "TaskStatus")]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documented values")]
pub enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
}

/// The urgency of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "TaskPriority")]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documented values")]
pub enum Priority {
    Low,
    #[default]
    Medium,
    High,
    Urgent,
}

/// A request for a task that has passed the schema; it is not checked again later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "schemas/task-create.schema.json describes every field")]
pub struct NewTask {
    pub title: String,
    pub description: String,
    pub assigned_user_ids: Vec<String>,
    pub created_by_id: String,
    pub deadline: DateTime<Utc>,
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub call_id: Option<String>,
    #[serde(default)]
    pub fax_id: Option<String>,
    #[serde(default)]
    pub assistant_id: Option<String>,
    #[serde(default)]
    pub session_id: Option<String>,
    #[serde(default)]
    pub patient_id: Option<String>,
    #[serde(default)]
    pub status: Status,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

impl NewTask {
    /// Creates the stored task. `id`, `now` and the event are arguments, so that a replay can give the same result.
    #[must_use]
    pub fn into_task(self, id: TaskId, event_id: EventId, company_id: CompanyId, now: DateTime<Utc>) -> Task {
        Task {
            id,
            title: self.title,
            description: self.description,
            tags: self.tags.unwrap_or_default(),
            deadline: self.deadline,
            created_at: now,
            updated_at: now,
            priority: self.priority,
            created_by_id: self.created_by_id,
            company_id,
            version: 1,
            status: self.status,
            call_id: self.call_id,
            fax_id: self.fax_id,
            assistant_id: self.assistant_id,
            session_id: self.session_id,
            patient_id: self.patient_id,
            kind: self.kind,
            external_message_ids: Map::new(),
            assigned_user_ids: self.assigned_user_ids,
            event_id,
            deleted_at: None,
        }
    }
}

/// Converts a task to the plugin output that would create it.
impl From<Task> for NewTask {
    fn from(task: Task) -> Self {
        Self {
            title: task.title,
            description: task.description,
            assigned_user_ids: task.assigned_user_ids,
            created_by_id: task.created_by_id,
            deadline: task.deadline,
            tags: Some(task.tags),
            call_id: task.call_id,
            fax_id: task.fax_id,
            assistant_id: task.assistant_id,
            session_id: task.session_id,
            patient_id: task.patient_id,
            status: task.status,
            priority: task.priority,
            kind: task.kind,
        }
    }
}

/// A stored task. Serialized, it is the documented response, without assignees and the event.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "schemas/task.schema.json describes every field")]
pub struct Task {
    pub id: TaskId,
    pub title: String,
    pub description: String,
    pub tags: Vec<String>,
    #[serde(serialize_with = "utc")]
    pub deadline: DateTime<Utc>,
    #[serde(serialize_with = "utc")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "utc")]
    pub updated_at: DateTime<Utc>,
    pub priority: Priority,
    pub created_by_id: String,
    pub company_id: CompanyId,
    pub version: u64,
    pub status: Status,
    pub call_id: Option<String>,
    pub fax_id: Option<String>,
    pub assistant_id: Option<String>,
    pub session_id: Option<String>,
    pub patient_id: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub external_message_ids: Map<String, Value>,
    /// Stored, but not part of the documented response.
    #[serde(skip)]
    pub assigned_user_ids: Vec<String>,
    /// The event that created it.
    #[serde(skip)]
    pub event_id: EventId,
    /// Time of deletion; a deleted task is no longer shown.
    #[serde(skip)]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A change of a task: `None` fields remain unchanged. `Some(None)` clears a nullable field.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "schemas/task-update.schema.json describes every field")]
pub struct TaskPatch {
    pub title: Option<String>,
    pub description: Option<String>,
    pub assigned_user_ids: Option<Vec<String>>,
    pub created_by_id: Option<String>,
    pub deadline: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "tags")]
    pub tags: Option<Vec<String>>,
    #[serde(deserialize_with = "cleared")]
    pub call_id: Option<Option<String>>,
    #[serde(deserialize_with = "cleared")]
    pub fax_id: Option<Option<String>>,
    #[serde(deserialize_with = "cleared")]
    pub assistant_id: Option<Option<String>>,
    #[serde(deserialize_with = "cleared")]
    pub session_id: Option<Option<String>>,
    #[serde(deserialize_with = "cleared")]
    pub patient_id: Option<Option<String>>,
    pub status: Option<Status>,
    pub priority: Option<Priority>,
    #[serde(rename = "type", deserialize_with = "cleared")]
    pub kind: Option<Option<String>>,
    /// Merged as in RFC 7396 with one level: a null member is removed; `Some(None)` removes all.
    #[serde(deserialize_with = "cleared")]
    pub external_message_ids: Option<Option<Map<String, Value>>>,
}

impl TaskPatch {
    /// Returns the task after this change, with the next version.
    #[must_use]
    pub fn apply(self, task: Task, now: DateTime<Utc>) -> Task {
        let external_message_ids = match self.external_message_ids {
            None => task.external_message_ids,
            Some(None) => Map::new(),
            Some(Some(changes)) => merge(task.external_message_ids, changes),
        };
        Task {
            title: self.title.unwrap_or(task.title),
            description: self.description.unwrap_or(task.description),
            assigned_user_ids: self.assigned_user_ids.unwrap_or(task.assigned_user_ids),
            created_by_id: self.created_by_id.unwrap_or(task.created_by_id),
            deadline: self.deadline.unwrap_or(task.deadline),
            tags: self.tags.unwrap_or(task.tags),
            call_id: self.call_id.unwrap_or(task.call_id),
            fax_id: self.fax_id.unwrap_or(task.fax_id),
            assistant_id: self.assistant_id.unwrap_or(task.assistant_id),
            session_id: self.session_id.unwrap_or(task.session_id),
            patient_id: self.patient_id.unwrap_or(task.patient_id),
            status: self.status.unwrap_or(task.status),
            priority: self.priority.unwrap_or(task.priority),
            kind: self.kind.unwrap_or(task.kind),
            external_message_ids,
            version: task.version + 1,
            // `updated_at` never goes back, even if the clock does.
            updated_at: now.max(task.updated_at),
            ..task
        }
    }
}

fn merge(mut into: Map<String, Value>, changes: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in changes {
        if value.is_null() {
            into.remove(&name);
        } else {
            into.insert(name, value);
        }
    }
    into
}

/// Deserializes a field that null clears: null is a value, only a missing field is `None`.
fn cleared<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Deserializes tags; null means no tags.
fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Option::deserialize(deserializer).map(|tags| Some(tags.unwrap_or_default()))
}
