//! Writes of events and tasks, and how they end.

use super::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use crate::model::audit::Entry;
use crate::model::event::Event;
use crate::model::ids::TaskId;
use crate::model::task::{Task, TaskPatch};

/// An event and the tasks that it created, stored atomically.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    /// The event, with its final status.
    pub event: Event,
    /// Its tasks; empty unless the event's status is `stored`.
    pub tasks: Vec<Task>,
}

/// Everything that one request stores, atomically.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The request's deliveries: one, or all of a batch.
    pub ingested: Vec<Ingested>,
    /// The response to send again if the request is repeated.
    pub idempotency: Option<Idempotency>,
    /// Lane of a queued event: a store that several servers share hands out events of an integration with the same lane one
    /// after another.
    pub lane: Option<i64>,
    /// Entry for the audit log: who asked for this.
    pub audit: Option<Entry>,
}

impl From<Ingested> for Commit {
    fn from(ingested: Ingested) -> Self {
        Self { ingested: vec![ingested], idempotency: None, lane: None, audit: None }
    }
}

/// Result of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// The commit is durable.
    Stored,
    /// Nothing was stored: an earlier request used the same idempotency key. This was its response.
    Repeated(FirstAnswer),
    /// The event's patient was erased after the event was received. No task was stored; for a single event, the
    /// store records that it was received and erased.
    Erased,
}

/// An event as read, with the version that a replacing write must name.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned {
    /// The event.
    pub event: Event,
    /// Version of this state.
    pub version: EventVersion,
}

/// Identifies one state of a stored event. Opaque: only the backend knows its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventVersion(pub u128);

/// A new state of a stored event: after processing from the queue, a replay, or another attempt of the sender.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    /// The event's new state, and the tasks that it created now. What was sent (headers, content type and body) is
    /// not stored again.
    pub ingested: Ingested,
    /// The version that was read.
    pub read: EventVersion,
    /// The response to store for the request. It replaces a stored response of this event, but not one of another
    /// request.
    pub idempotency: Option<Idempotency>,
    /// Id of the event's stored response to remove, so that the same delivery can be sent again.
    pub forget: Option<IdempotencyId>,
    /// Entry for the audit log: who asked for this change.
    pub audit: Option<Entry>,
    /// Changes of tasks that the event created earlier. If one of them has been deleted, nothing is stored.
    pub updates: Vec<(TaskId, TaskPatch)>,
}

/// Result of a [`Replace`].
#[derive(Debug, Clone, PartialEq)]
pub enum Replaced {
    /// The new state is durable, and the event is no longer queued.
    Stored,
    /// Nothing was stored: an earlier request used the same idempotency key. This was its response.
    Repeated(FirstAnswer),
    /// Nothing was stored: the event has changed since it was read.
    Changed,
    /// No task was stored: what was sent has been erased. The event is no longer queued.
    Erased,
}

/// Result of a task's change.
#[derive(Debug, Clone, PartialEq)]
pub enum Updated {
    /// The change is durable. This is the task's new state.
    Done(Box<Task>),
    /// The company has no such task, or it was deleted.
    Missing,
    /// Nothing was changed: the task has another version than the caller named.
    Stale {
        /// The task's current version.
        version: u64,
    },
}
