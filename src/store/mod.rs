//! What is kept: events, tasks, idempotency keys and API keys, behind verbs of the domain.
//!
//! [`Embedded`] (a journal, and sled as its view) is the default. A backend answers a write only when it would
//! survive a power cut, and a read shows everything that was answered before it began.
//!
//! `query.rs` is what a list is asked for, `idempotency.rs` what a repeated request is known by, `error.rs` what
//! can go wrong, `faulty.rs` a backend that fails on purpose.

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

/// One event and the tasks that it made: stored whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    /// The event, with its final status.
    pub event: Event,
    /// Its tasks; none unless the status is `stored`.
    pub tasks: Vec<Task>,
}

/// Everything that one request stores: whole, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its deliveries: one, or those of a batch.
    pub ingested: Vec<Ingested>,
    /// The answer to give again when the request is repeated.
    pub idempotency: Option<Idempotency>,
}

impl From<Ingested> for Commit {
    fn from(ingested: Ingested) -> Self {
        Self { ingested: vec![ingested], idempotency: None }
    }
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// It is durable.
    Stored,
    /// Nothing was stored: a request with this idempotency key came first, and this was its answer.
    Repeated(FirstAnswer),
    /// The patient that it is about was erased after it was received. It made no task; of a single event it is stored that
    /// it came and was erased.
    Erased,
}

/// An event as it was read, and the version that a write which replaces it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned {
    /// The event.
    pub event: Event,
    /// Which of its states this is.
    pub version: EventVersion,
}

/// Names one state of a stored event. Opaque: only its backend knows what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventVersion(pub u128);

/// A new state of an event that is stored already: after its turn in the queue, a replay, or another attempt of its sender.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    /// The event's new state, and the tasks that it has made now. What was sent (headers, content type and body) is not
    /// stored again.
    pub ingested: Ingested,
    /// The state that was read.
    pub read: EventVersion,
    /// The answer to remember from now on. An answer that is remembered of this very event is replaced; another request's
    /// is not.
    pub idempotency: Option<Idempotency>,
    /// The remembered answer of this event that is to be forgotten: the same delivery may come again.
    pub forget: Option<IdempotencyId>,
    /// Who asked for it, for the audit log.
    pub audit: Option<Entry>,
    /// Changes of tasks that the event has made before. Where one of them has been deleted, nothing is stored.
    pub updates: Vec<(TaskId, TaskPatch)>,
}

/// How a [`Replace`] ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Replaced {
    /// It is durable, and the event does not wait any more.
    Stored,
    /// Nothing was stored: another request with this idempotency key came first, and this was its answer.
    Repeated(FirstAnswer),
    /// Nothing was stored: the event is not as it was read.
    Changed,
    /// No task was stored: what was sent has been erased. The event does not wait any more.
    Erased,
}

/// How a change of a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Updated {
    /// It is durable; the task as it is now.
    Done(Box<Task>),
    /// The company has no such task, or no longer.
    Missing,
    /// The task has another version than the caller thought, so nothing was changed.
    Stale {
        /// The version it has.
        version: u64,
    },
}

/// What one [`Store::expire`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Idempotency keys past their time.
    pub idempotency_keys: u64,
    /// Soft-deleted tasks past theirs.
    pub tasks: u64,
    /// Entries of the audit log past theirs.
    pub audit_entries: u64,
    /// Bytes of events past theirs, given back to the file system.
    pub event_bytes: u64,
}

/// What a company has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CompanyStats {
    /// Its name.
    pub company_id: String,
    /// Tasks that can be read.
    pub tasks: u64,
    /// Soft-deleted tasks that are not purged yet.
    pub deleted_tasks: u64,
    /// Bytes of its tasks' values.
    pub task_bytes: u64,
}

/// Counts and sizes, for `hookmill store stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Each company, by name.
    pub companies: Vec<CompanyStats>,
    /// API keys, revoked ones as well.
    pub api_keys: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
    /// Sizes on the disk, in bytes, by what they are of.
    pub disk: std::collections::BTreeMap<String, u64>,
    /// The last change that is durable.
    pub sequence: u64,
    /// Closed segments of the journal that were not read at the start and are still to be verified.
    #[serde(default)]
    pub unverified_segments: u64,
    /// Damage in the journal that was found since the start: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damages: Vec<String>,
    /// While another view is being built: how many entries it has so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<u64>,
}

impl Stats {
    /// Entries of a view that has everything.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let tasks: u64 = self.companies.iter().map(|it| it.tasks + it.deleted_tasks).sum();
        tasks + self.api_keys + self.idempotency_keys
    }
}

/// The verbs that every backend has.
pub trait Store: Send + Sync + 'static {
    /// Stores a request's events and tasks. When it answers, they are durable.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>>;
    /// Stores a new state of an event, if it is still as it was read. When it answers, that is durable.
    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>>;
    /// Takes an event that cannot be read out of the queue: it is stored as quarantined, with this reason. False where it
    /// can be read after all; then nothing is changed.
    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// The events that wait, in the order in which they came.
    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>>;
    /// What the first request of this idempotency key was answered, where it is still remembered at `now`.
    fn first_answer(
        &self,
        id: IdempotencyId,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Option<FirstAnswer>, StoreError>>;
    /// One task of a company; none where it was deleted.
    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>>;
    /// A company's tasks, in the order in which they were stored, newest first.
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
    /// Deletes a task softly: it is there for nobody, and purged later. With a version, only if it has that.
    fn delete_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>>;
    /// One event of a company, and the version to name when it is replaced; none where it has expired.
    fn versioned<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>>;
    /// One event of a company; none where it has expired.
    fn event<'a>(&'a self, company: &CompanyId, id: EventId) -> BoxFuture<'a, Result<Option<Event>, StoreError>> {
        let versioned = self.versioned(company, id);
        Box::pin(async move { Ok(versioned.await?.map(|it| it.event)) })
    }
    /// A company's events, newest first: at most so many, behind this one.
    fn list_events<'a>(
        &'a self,
        company: &CompanyId,
        filter: EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<EventPage, StoreError>>;
    /// Every API key.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;
    /// Adds a key or stores its new state, and who did that. When it answers, both are durable.
    fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>>;
    /// Adds to the audit log. When it answers, that is durable.
    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>>;
    /// The audit log, newest first: a company's or all of it; at most so many entries, before this one.
    fn audit<'a>(
        &'a self,
        company: Option<&CompanyId>,
        before: Option<Uuid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>>;
    /// Removes what is past its time at `now`.
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>>;
    /// Counts and sizes.
    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>>;
    /// Whether writes can be expected to succeed.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), StoreError>;
}
