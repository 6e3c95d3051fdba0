//! The operations of every backend.
//!
//! A backend implements [`TaskStore`], [`EventQueue`], [`KeyStore`] and [`Upkeep`] in full; it is then a [`Store`]. What only
//! files need (backups, compaction, repair) is not part of them.

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::cluster::Shareable;
use super::erasure::{Erased, Keep, Patient};
use super::error::StoreError;
use super::feed::{ChangeFeed, FeedCursor};
use super::history::EventHistory;
use super::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use super::item::{Imported, StoredItem};
use super::query::{EventFilter, EventPage, PageRequest, TaskFilter, TaskPage, WholeEvents};
use super::stats::{Expired, Stats};
use super::timeline::{Timeline, TimelineWindow};
use super::write::{Commit, Committed, Replace, Replaced, Updated, Versioned};
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::TaskId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::task::{Task, TaskPatch};

/// A complete backend.
pub trait Store: TaskStore + EventQueue + KeyStore + Upkeep + Shareable {}

impl<T: TaskStore + EventQueue + KeyStore + Upkeep + Shareable> Store for T {}

/// Tasks and events.
pub trait TaskStore: Send + Sync + 'static {
    /// Stores a request's events and tasks. They are durable when this returns.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>>;
    /// Stores a new state of an event if the event has not changed since it was read. It is durable when this
    /// returns.
    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>>;
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
        page: PageRequest,
    ) -> BoxFuture<'a, Result<TaskPage, StoreError>>;
    /// The feed of a company's changes: each task once, at its last change, oldest change first; at most so many after this
    /// cursor, or from the first one on. Soft-deleted tasks are in it until they are purged.
    fn change_feed<'a>(
        &'a self,
        company: &CompanyId,
        after: Option<FeedCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ChangeFeed, StoreError>>;
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
    /// Returns these events of a company with what was sent, newest first. Those that do not exist or have expired are left
    /// out. It ends once [`WHOLE_BYTES`](super::WHOLE_BYTES) are read, after at least one event, and says which it has not
    /// read yet.
    fn events_of<'a>(
        &'a self,
        company: &CompanyId,
        ids: Vec<EventId>,
    ) -> BoxFuture<'a, Result<WholeEvents, StoreError>>;
    /// Returns events of all companies with what was sent, newest first: at most this many, older than the given one, and
    /// fewer if [`WHOLE_BYTES`](super::WHOLE_BYTES) are read before. `next` then says where to go on.
    fn events_before(&self, before: EventId, limit: usize) -> BoxFuture<'_, Result<EventPage, StoreError>>;
    /// Counts the events and tasks of a company, or of all, in the window that ends at `now`.
    fn timeline<'a>(
        &'a self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Timeline, StoreError>>;
}

/// The queue of events that were acknowledged before they were processed.
pub trait EventQueue: Send + Sync + 'static {
    /// Returns the queued events, in the order in which they were received.
    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>>;
    /// Removes an unreadable event from the queue and stores it as quarantined, with this reason. Returns false,
    /// and changes nothing, if the event can be read after all.
    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
}

/// API keys and the audit log.
pub trait KeyStore: Send + Sync + 'static {
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
}

/// Retention, erasure, export and import, and the state of the store.
pub trait Upkeep: Send + Sync + 'static {
    /// Removes everything that has expired at `now`.
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>>;
    /// Erases what was sent of a patient, or returns what would be erased. Content that is received before `now` and stored
    /// later is erased when it is stored. Blocking.
    ///
    /// # Errors
    /// Fails if something cannot be read or written. What was erased until then stays erased; call it again for the rest.
    fn erase(&self, patient: &Patient, now: DateTime<Utc>, dry_run: bool) -> Result<Erased, StoreError>;
    /// Finishes erasures of events that were stored after the erasure of their patient. Blocking; does nothing if there are
    /// none.
    ///
    /// # Errors
    /// As [`Self::erase`]; the next call tries again.
    fn erase_late(&self, now: DateTime<Utc>) -> Result<(), StoreError>;
    /// Erases what integrations were sent longer ago than they keep it. Returns the number of events for each integration.
    /// Blocking. It may do nothing while another long operation runs; call it again later.
    ///
    /// # Errors
    /// As [`Self::erase`].
    fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError>;
    /// Returns the events that are stored now, with the tasks that they created. Blocking.
    ///
    /// # Errors
    /// Fails if they cannot be read.
    fn history(&self) -> Result<Box<dyn EventHistory>, StoreError>;
    /// Returns the approximate number of items that [`Self::export`] visits.
    fn item_count(&self) -> u64;
    /// Visits recent erasures, API keys, the audit log (newest first), tasks (those of a company in the order in which they
    /// were stored), events and first responses. Blocking.
    ///
    /// # Errors
    /// Fails if something cannot be read, or if `visit` fails.
    fn export(&self, visit: &mut dyn FnMut(StoredItem) -> std::io::Result<()>) -> Result<(), StoreError>;
    /// Stores items that do not exist yet, atomically, and returns which exist already. A key with the hash of another key is
    /// not stored.
    ///
    /// # Errors
    /// As for any write.
    fn import(&self, items: Vec<StoredItem>) -> BoxFuture<'_, Result<Imported, StoreError>>;
    /// Returns counts and sizes.
    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>>;
    /// Checks whether writes are expected to succeed.
    ///
    /// # Errors
    /// The reason why they are not.
    fn ready(&self) -> Result<(), StoreError>;
}
