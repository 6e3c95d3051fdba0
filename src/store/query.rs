//! Filters and pages of lists.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use chrono::{DateTime, Utc};

use crate::model::event::{Event, EventStatus, Reason};
use crate::model::ids::EventId;
use crate::model::ids::TaskId;
use crate::model::task::{Priority, Status, Task};

/// Filter for tasks. A task matches if it has one of the values of every field that lists any; an empty list matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Ids of patients.
    pub patient_id: Vec<String>,
    /// Statuses.
    pub status: Vec<Status>,
    /// Priorities.
    pub priority: Vec<Priority>,
    /// Ids of users: one of them is among the users that the task is assigned to.
    pub assigned_user_id: Vec<String>,
    /// Types.
    pub kind: Vec<String>,
    /// Earliest time of the last update, inclusive.
    pub updated_since: Option<DateTime<Utc>>,
}

impl TaskFilter {
    /// Returns whether a task matches.
    #[must_use]
    pub fn fits(&self, task: &Task) -> bool {
        one_of(&self.patient_id, |it| task.patient_id.as_ref() == Some(it))
            && one_of(&self.status, |it| task.status == *it)
            && one_of(&self.priority, |it| task.priority == *it)
            && one_of(&self.assigned_user_id, |it| task.assigned_user_ids.contains(it))
            && one_of(&self.kind, |it| task.kind.as_ref() == Some(it))
            && self.updated_since.is_none_or(|it| task.updated_at >= it)
    }
}

/// Filter for events. An event matches if it has one of the values of every list that is not empty, and all other values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Names of integrations.
    pub integration: Vec<String>,
    /// Statuses.
    pub status: Vec<EventStatus>,
    /// Reasons: the stage that ended the event, or the error's code.
    pub reason: Vec<String>,
    /// Earliest time of receipt, inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of receipt, exclusive.
    pub until: Option<DateTime<Utc>>,
    /// The event created this task.
    pub task_id: Option<TaskId>,
    /// The event's id contains this text.
    pub id: Option<String>,
    /// The event is a duplicate of this one, which is older.
    pub repeats: Option<EventId>,
}

impl EventFilter {
    /// Returns whether an event matches.
    #[must_use]
    pub fn fits<'a>(&self, event: impl Into<EventOutline<'a>>) -> bool {
        let event = event.into();
        let repeats =
            |it: EventId| event.status == EventStatus::Duplicate && event.reason.and_then(Reason::repeats) == Some(it);
        let reason = |it: &String| event.reason.is_some_and(|why| why.stage == *it || why.code == *it);
        one_of(&self.integration, |it| event.integration == *it)
            && one_of(&self.status, |it| event.status == *it)
            && one_of(&self.reason, reason)
            && self.since.is_none_or(|it| event.received_at >= it)
            && self.until.is_none_or(|it| event.received_at < it)
            && self.task_id.is_none_or(|it| event.task_ids.contains(&it))
            && self.id.as_ref().is_none_or(|it| event.id.to_string().contains(it.as_str()))
            && self.repeats.is_none_or(repeats)
    }
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub struct EventOutline<'a> {
    /// Id of the event.
    pub id: EventId,
    /// Name of its integration.
    pub integration: &'a str,
    /// Its status.
    pub status: EventStatus,
    /// Why it created no tasks.
    pub reason: Option<&'a Reason>,
    /// Time at which its last byte was received.
    pub received_at: DateTime<Utc>,
    /// The tasks that it created.
    pub task_ids: &'a [TaskId],
}

impl<'a> From<&'a Event> for EventOutline<'a> {
    fn from(event: &'a Event) -> Self {
        let Event { id, integration, status, reason, received_at, task_ids, .. } = event;
        Self {
            id: *id,
            integration: &integration.0,
            status: *status,
            reason: reason.as_ref(),
            received_at: *received_at,
            task_ids,
        }
    }
}

/// Whether one of the values fits, or there are none.
fn one_of<T>(values: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(fits)
}

/// One page of a list of events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<Event>,
    /// Event after which the next page begins; `None` at the end of the list. A page may be short or empty although
    /// more follow, because the work of one request is bounded.
    pub next: Option<EventId>,
}

/// How many bytes of events are read with what was sent before a read ends, in bytes: 8 MiB, and what the last event exceeds
/// it by.
pub const WHOLE_BYTES: usize = 8 << 20;

/// Events that were read with what was sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WholeEvents {
    /// The events, newest first.
    pub events: Vec<Event>,
    /// Those that are older, and were not read yet because [`WHOLE_BYTES`] were reached. Ask for them next.
    pub unread: Vec<EventId>,
}

/// A position in a list: everything after it was stored earlier. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

impl std::str::FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|it| <[u8; 8]>::try_from(it).ok());
        bytes
            .map(|it| Self(u64::from_be_bytes(it)))
            .ok_or_else(|| "is not a cursor of this server; use `next_cursor` from an earlier page".into())
    }
}

/// The part of a list to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageRequest {
    /// A page by number, from 1. Items stored later shift its content.
    Number {
        /// Number of the page, from 1.
        page: u64,
        /// Number of tasks per page, 1 to 100.
        limit: usize,
    },
    /// The items after a cursor. Items stored later do not shift them.
    After {
        /// Cursor from the previous page.
        cursor: Cursor,
        /// Number of tasks per page, 1 to 100.
        limit: usize,
    },
}

/// One page of a list of tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPage {
    /// The tasks, newest first.
    pub tasks: Vec<Task>,
    /// Number of tasks that match the filter, on all pages together.
    pub total: u64,
    /// Whether this is the exact number; otherwise there are at least so many.
    pub total_is_exact: bool,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
    /// Whether the page was cut short because more tasks would exceed the size limit.
    pub is_cut: bool,
}
