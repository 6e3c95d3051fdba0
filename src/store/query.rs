//! What a list is asked for, and what it gives.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use chrono::{DateTime, Utc};

use crate::event::{Event, EventId, EventStatus};
use crate::task::{Priority, Status, Task, TaskId};

/// Which tasks: those that fit everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// About this patient.
    pub patient_id: Option<String>,
    /// This far.
    pub status: Option<Status>,
    /// This urgent.
    pub priority: Option<Priority>,
    /// Assigned to this user, among others perhaps.
    pub assigned_user_id: Option<String>,
    /// Of this type.
    pub kind: Option<String>,
}

impl TaskFilter {
    /// Whether a task fits.
    #[must_use]
    pub fn fits(&self, task: &Task) -> bool {
        self.patient_id.as_ref().is_none_or(|it| task.patient_id.as_ref() == Some(it))
            && self.status.is_none_or(|it| task.status == it)
            && self.priority.is_none_or(|it| task.priority == it)
            && self.assigned_user_id.as_ref().is_none_or(|it| task.assigned_user_ids.contains(it))
            && self.kind.as_ref().is_none_or(|it| task.kind.as_ref() == Some(it))
    }
}

/// Which events: those that fit everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this integration.
    pub integration: Option<String>,
    /// That ended like this.
    pub status: Option<EventStatus>,
    /// For this reason: its stage, or its code.
    pub reason: Option<String>,
    /// Received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
    /// That made this task.
    pub task_id: Option<TaskId>,
    /// With this text in the id.
    pub id: Option<String>,
}

impl EventFilter {
    /// Whether an event fits.
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        let reason = |it: &String| event.reason.as_ref().is_some_and(|why| why.stage == *it || why.code == *it);
        self.integration.as_ref().is_none_or(|it| *event.integration.0 == **it)
            && self.status.is_none_or(|it| event.status == it)
            && self.reason.as_ref().is_none_or(reason)
            && self.since.is_none_or(|it| event.received_at >= it)
            && self.until.is_none_or(|it| event.received_at < it)
            && self.task_id.is_none_or(|it| event.task_ids.contains(&it))
            && self.id.as_ref().is_none_or(|it| event.id.to_string().contains(it.as_str()))
    }
}

/// A part of the list of events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<Event>,
    /// Behind which event the list goes on; none where it has ended. There may be a next page where this one is short
    /// or empty: what one request looks at is bounded.
    pub next: Option<EventId>,
}

/// A place in a list: everything behind it was stored earlier. Opaque to clients.
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
        bytes.map(|it| Self(u64::from_be_bytes(it))).ok_or_else(|| "is not a cursor that this server gave".into())
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The first is 1. Later inserts move what stands on a page.
    Number {
        /// Which page, 1 or more.
        page: u64,
        /// Tasks a page, 1 to 100.
        limit: usize,
    },
    /// What follows a cursor; later inserts do not move it.
    After {
        /// From the page before.
        cursor: Cursor,
        /// Tasks a page, 1 to 100.
        limit: usize,
    },
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPage {
    /// Newest first.
    pub tasks: Vec<Task>,
    /// How many tasks fit the filter, on all pages together.
    pub total: u64,
    /// Where the next page begins; none where this is the last.
    pub next: Option<Cursor>,
    /// It has fewer tasks than there are and were asked for: more would be too large.
    pub is_cut: bool,
}
