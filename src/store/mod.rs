//! The store: events, tasks, idempotency keys, API keys and the audit log.
//!
//! [`Embedded`] (a journal, with sled as its read view) is the default backend. A backend acknowledges a write only
//! when it would survive a power cut, and a read shows every change that was acknowledged before the read began.
//!
//! `query.rs` has the filters and pages of lists, `idempotency.rs` the ids of repeated requests, `error.rs` the
//! errors, and `faulty.rs` a backend for tests that fails on purpose.

pub mod embedded;
mod error;
mod faulty;
mod idempotency;
mod query;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::audit::Entry;
use crate::auth::{ApiKey, CompanyId};
use crate::event::{Event, EventId, IntegrationName, Reason};
use crate::task::{Task, TaskId, TaskPatch};

pub use embedded::Embedded;
pub use error::{Damage, StoreError};
pub use faulty::{Fault, Faulty};
pub use idempotency::{FirstAnswer, Idempotency, IdempotencyId};
pub use query::{Cursor, EventFilter, EventPage, Page, TaskFilter, TaskPage};

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
}

impl From<Ingested> for Commit {
    fn from(ingested: Ingested) -> Self {
        Self { ingested: vec![ingested], idempotency: None }
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

/// What one [`Store::expire`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Number of expired idempotency keys.
    pub idempotency_keys: u64,
    /// Number of purged tasks.
    pub tasks: u64,
    /// Number of expired entries of the audit log.
    pub audit_entries: u64,
    /// Bytes of expired events that were returned to the file system.
    pub event_bytes: u64,
}

/// What a company has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CompanyStats {
    /// Id of the company.
    pub company_id: String,
    /// Number of tasks, without deleted ones.
    pub tasks: u64,
    /// Number of soft-deleted tasks that are not purged yet.
    pub deleted_tasks: u64,
    /// Size of the stored tasks, in bytes.
    pub task_bytes: u64,
}

/// Counts and sizes for `hookmill store stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Companies, sorted by id.
    pub companies: Vec<CompanyStats>,
    /// Number of API keys, including revoked ones.
    pub api_keys: u64,
    /// Number of idempotency keys.
    pub idempotency_keys: u64,
    /// Sizes on disk, in bytes, by kind of file.
    pub disk: std::collections::BTreeMap<String, u64>,
    /// Sequence of the last durable change.
    pub sequence: u64,
    /// Number of closed journal segments that were not read at the start and are still to be verified.
    #[serde(default)]
    pub unverified_segments: u64,
    /// Damage found in the journal since the start, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damages: Vec<String>,
    /// Number of entries of the read view that is being rebuilt; `None` if no rebuild is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<u64>,
}

impl Stats {
    /// Returns the number of entries of a complete read view.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let tasks: u64 = self.companies.iter().map(|it| it.tasks + it.deleted_tasks).sum();
        tasks + self.api_keys + self.idempotency_keys
    }
}

/// The operations of every backend.
pub trait Store: Send + Sync + 'static {
    /// Stores a request's events and tasks. They are durable when this returns.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>>;
    /// Stores a new state of an event if the event has not changed since it was read. It is durable when this
    /// returns.
    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>>;
    /// Removes an unreadable event from the queue and stores it as quarantined, with this reason. Returns false,
    /// and changes nothing, if the event can be read after all.
    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Returns the queued events, in the order in which they were received.
    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>>;
    /// Returns the response to the first request with this idempotency key, if it has not expired at `now`.
    fn first_answer(
        &self,
        id: IdempotencyId,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Option<FirstAnswer>, StoreError>>;
    /// Returns a task of a company; `None` if it does not exist or was deleted.
    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>>;
    /// Returns a company's tasks, newest first (in the order in which they were stored).
    fn list_tasks<'a>(
        &'a self,
        company: &CompanyId,
        filter: TaskFilter,
        page: Page,
    ) -> BoxFuture<'a, Result<TaskPage, StoreError>>;
    /// Changes a task that has this version.
    fn update_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: u64,
        patch: TaskPatch,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>>;
    /// Soft-deletes a task: it can no longer be read, and is purged later. With a version, only if the task has
    /// that version.
    fn delete_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>>;
    /// Returns an event of a company, with the version to name when it is replaced; `None` if it does not exist or
    /// has expired.
    fn versioned<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>>;
    /// Returns an event of a company; `None` if it does not exist or has expired.
    fn event<'a>(&'a self, company: &CompanyId, id: EventId) -> BoxFuture<'a, Result<Option<Event>, StoreError>> {
        let versioned = self.versioned(company, id);
        Box::pin(async move { Ok(versioned.await?.map(|it| it.event)) })
    }
    /// Returns a company's events, newest first: at most this many, older than the given one.
    fn list_events<'a>(
        &'a self,
        company: &CompanyId,
        filter: EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<EventPage, StoreError>>;
    /// Returns all API keys.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;
    /// Adds or replaces an API key, and records the change in the audit log. Both are durable when this returns.
    fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>>;
    /// Adds an entry to the audit log. It is durable when this returns.
    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Returns the audit log, newest first: of one company or of all, at most this many entries, older than the
    /// given one.
    fn audit<'a>(
        &'a self,
        company: Option<&CompanyId>,
        before: Option<Uuid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>>;
    /// Removes everything that has expired at `now`.
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>>;
    /// Returns counts and sizes.
    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>>;
    /// Checks whether writes are expected to succeed.
    ///
    /// # Errors
    /// The reason why they are not.
    fn ready(&self) -> Result<(), StoreError>;
}
