//! A wrapper around a store that injects faults into writes, for tests of the code that uses a store.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::cluster::{Cluster, Shareable};
use super::erasure::{Erased, Keep, Patient};
use super::error::StoreError;
use super::feed::{ChangeFeed, FeedCursor};
use super::history::EventHistory;
use super::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use super::item::{Imported, StoredItem};
use super::query::{EventFilter, EventPage, PageRequest, TaskFilter, TaskPage, WholeEvents};
use super::stats::{Expired, Stats};
use super::timeline::{Timeline, TimelineWindow};
use super::verbs::{EventQueue, KeyStore, TaskStore, Upkeep};
use super::write::{Commit, Committed, Replace, Replaced, Updated, Versioned};
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::TaskId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::task::{Task, TaskPatch};

/// The fault to inject into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full; nothing is stored.
    Full,
    /// The disk refuses the write; nothing is stored.
    Write,
    /// The change is stored, but the caller gets an error that says the outcome is unknown, as after a failed
    /// flush.
    Flush,
    /// The change is stored after this delay.
    Slow(Duration),
}

/// A store whose writes fail as configured.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    fault: Mutex<Option<Fault>>,
}

impl<S> Faulty<S> {
    /// Wraps `inner`, without a fault.
    pub fn new(inner: S) -> Self {
        Self { inner, fault: Mutex::new(None) }
    }

    /// Sets the fault for the following writes; `None` ends it.
    pub fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fault;
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write_blocking<T>(&self, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.fault() {
            None => write(),
            Some(fault @ (Fault::Full | Fault::Write)) => Err(error(fault)),
            Some(Fault::Flush) => write().and(Err(error(Fault::Flush))),
            Some(Fault::Slow(time)) => {
                std::thread::sleep(time);
                write()
            }
        }
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        write: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        match self.fault() {
            None => write,
            Some(fault @ (Fault::Full | Fault::Write)) => async move { Err(error(fault)) }.boxed(),
            Some(Fault::Flush) => async move { write.await.and(Err(error(Fault::Flush))) }.boxed(),
            Some(Fault::Slow(time)) => async move {
                tokio::time::sleep(time).await;
                write.await
            }
            .boxed(),
        }
    }
}

fn error(fault: Fault) -> StoreError {
    match fault {
        Fault::Full => StoreError::Full { free: 0, needed: 1 },
        Fault::Write | Fault::Flush | Fault::Slow(_) => StoreError::Write("injected".into()),
    }
}

impl<S: Shareable> Shareable for Faulty<S> {
    fn cluster(&self) -> Option<&dyn Cluster> {
        self.inner.cluster()
    }
}

impl<S: TaskStore> TaskStore for Faulty<S> {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.write(self.inner.commit(commit))
    }

    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>> {
        self.write(self.inner.replace(replace))
    }

    fn first_answer(
        &self,
        id: IdempotencyId,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Option<FirstAnswer>, StoreError>> {
        self.inner.first_answer(id, now)
    }

    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>> {
        self.inner.task(company, id)
    }

    fn list_tasks<'a>(
        &'a self,
        company: &CompanyId,
        filter: TaskFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, Result<TaskPage, StoreError>> {
        self.inner.list_tasks(company, filter, page)
    }

    fn change_feed<'a>(
        &'a self,
        company: &CompanyId,
        after: Option<FeedCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ChangeFeed, StoreError>> {
        self.inner.change_feed(company, after, limit)
    }

    fn update_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: u64,
        patch: TaskPatch,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        self.write(self.inner.update_task(company, id, version, patch, now))
    }

    fn delete_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        self.write(self.inner.delete_task(company, id, version, now))
    }

    fn versioned<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        self.inner.versioned(company, id)
    }

    fn event<'a>(&'a self, company: &CompanyId, id: EventId) -> BoxFuture<'a, Result<Option<Event>, StoreError>> {
        self.inner.event(company, id)
    }

    fn list_events<'a>(
        &'a self,
        company: &CompanyId,
        filter: EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<EventPage, StoreError>> {
        self.inner.list_events(company, filter, after, limit)
    }

    fn events_of<'a>(
        &'a self,
        company: &CompanyId,
        ids: Vec<EventId>,
    ) -> BoxFuture<'a, Result<WholeEvents, StoreError>> {
        self.inner.events_of(company, ids)
    }

    fn events_before(&self, before: EventId, limit: usize) -> BoxFuture<'_, Result<EventPage, StoreError>> {
        self.inner.events_before(before, limit)
    }

    fn timeline<'a>(
        &'a self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Timeline, StoreError>> {
        self.inner.timeline(company, window, now)
    }
}

impl<S: EventQueue> EventQueue for Faulty<S> {
    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>> {
        self.inner.queued()
    }

    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.write(self.inner.give_up(company, id, integration, reason))
    }
}

impl<S: KeyStore> KeyStore for Faulty<S> {
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        self.inner.keys()
    }

    fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.write(self.inner.put_key(key, entry, idempotency))
    }

    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(self.inner.note(entry))
    }

    fn audit<'a>(
        &'a self,
        company: Option<&CompanyId>,
        before: Option<Uuid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.inner.audit(company, before, limit)
    }
}

impl<S: Upkeep> Upkeep for Faulty<S> {
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>> {
        self.write(self.inner.expire(now))
    }

    fn erase(&self, patient: &Patient, now: DateTime<Utc>, dry_run: bool) -> Result<Erased, StoreError> {
        self.write_blocking(|| self.inner.erase(patient, now, dry_run))
    }

    fn erase_late(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.write_blocking(|| self.inner.erase_late(now))
    }

    fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError> {
        self.write_blocking(|| self.inner.forget(keeps, now))
    }

    fn history(&self) -> Result<Box<dyn EventHistory>, StoreError> {
        self.inner.history()
    }

    fn item_count(&self) -> u64 {
        self.inner.item_count()
    }

    fn export(&self, visit: &mut dyn FnMut(StoredItem) -> std::io::Result<()>) -> Result<(), StoreError> {
        self.inner.export(visit)
    }

    fn import(&self, items: Vec<StoredItem>) -> BoxFuture<'_, Result<Imported, StoreError>> {
        self.write(self.inner.import(items))
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>> {
        self.inner.stats()
    }

    fn ready(&self) -> Result<(), StoreError> {
        match self.fault() {
            Some(fault @ (Fault::Full | Fault::Write | Fault::Flush)) => Err(error(fault)),
            Some(Fault::Slow(_)) | None => self.inner.ready(),
        }
    }
}
