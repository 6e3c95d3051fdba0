//! A task: what every webhook becomes.
//!
//! [`NewTask`] is a checked request, [`Task`] a stored one, [`TaskChange`] a checked request to change one. Field rules are in `schemas/task-create.schema.json`.

mod change;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::auth::CompanyId;
use crate::event::EventId;
use crate::payload::{self, Loosened, Payload, Rules};
use crate::schema::{Violation, Violations};

pub use change::TaskChange;

/// A task's id: a UUID of version 7 (RFC 9562), so that ids sort by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documented values")]
pub enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
}

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documented values")]
pub enum Priority {
    Low,
    #[default]
    Medium,
    High,
    Urgent,
}

/// A request for a task that has passed the schema: nothing later checks it again.
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
    /// Reads a task out of a decoded payload: loose values become the documented ones, and the schema judges
    /// the result. Also gives the names of the fields that were loosened.
    ///
    /// # Errors
    /// Every violation at once, in document order.
    pub fn parse(payload: Payload, rules: &Rules) -> Result<(Self, Loosened), Violations> {
        let (canonical, loosened) = payload::task_fields(payload, rules)?;
        match serde_json::from_value(Value::Object(canonical)) {
            Ok(task) => Ok((task, loosened)),
            Err(_) => Err(unreadable().into()),
        }
    }

    /// The stored task. `id`, `now` and the event are given, so that a replay can give the same again.
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

/// What a plugin would have to say to make this task.
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

/// A stored task. Serialised, it is the documented response: assignees and the event stay out of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Stored, and not part of the documented response.
    #[serde(skip)]
    pub assigned_user_ids: Vec<String>,
    /// The event that made it.
    #[serde(skip)]
    pub event_id: EventId,
    /// When it was deleted, where it was: nobody is shown it from then on.
    #[serde(skip)]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A change of a task: what is none stays as it is. Of fields that may be null, `Some(None)` clears.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "schemas/task-update.schema.json describes every field")]
pub struct TaskPatch {
    pub title: Option<String>,
    pub description: Option<String>,
    pub assigned_user_ids: Option<Vec<String>>,
    pub created_by_id: Option<String>,
    pub deadline: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "change::tags")]
    pub tags: Option<Vec<String>>,
    #[serde(deserialize_with = "change::cleared")]
    pub call_id: Option<Option<String>>,
    #[serde(deserialize_with = "change::cleared")]
    pub fax_id: Option<Option<String>>,
    #[serde(deserialize_with = "change::cleared")]
    pub assistant_id: Option<Option<String>>,
    #[serde(deserialize_with = "change::cleared")]
    pub session_id: Option<Option<String>>,
    #[serde(deserialize_with = "change::cleared")]
    pub patient_id: Option<Option<String>>,
    pub status: Option<Status>,
    pub priority: Option<Priority>,
    #[serde(rename = "type", deserialize_with = "change::cleared")]
    pub kind: Option<Option<String>>,
    /// Merged as RFC 7396 merges one level: a member that is null is removed; `Some(None)` removes all.
    #[serde(deserialize_with = "change::cleared")]
    pub external_message_ids: Option<Option<Map<String, Value>>>,
}

impl TaskPatch {
    /// The task after this change, one version on.
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
            // A clock that was set back must not make a task older than it was.
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

/// The schema has accepted it, so this is a fault of ours, and still no reason to lose the event.
fn unreadable() -> Violation {
    Violation {
        pointer: String::new(),
        code: "unreadable".into(),
        expected: "a task".into(),
        got: None,
        message: "body: cannot be read as a task".into(),
        hint: None,
    }
}

/// RFC 3339 in UTC with `Z`.
pub(crate) fn utc<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&payload::format_utc(*time))
}

pub(crate) fn utc_or_null<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => utc(time, serializer),
        None => serializer.serialize_none(),
    }
}
