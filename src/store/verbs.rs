//! The operations that every backend implements.

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::error::StoreError;
use super::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use super::query::{EventFilter, EventPage, Page, TaskFilter, TaskPage};
use super::stats::{Expired, Stats};
use super::write::{Commit, Committed, Replace, Replaced, Updated, Versioned};
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{Task, TaskPatch};

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
