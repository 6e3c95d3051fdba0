//! The store that a server uses: it passes everything on, and tells the search in payloads and the live tail what was stored.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::search::{NotedEvent, PayloadSearch};
use super::tail::{LiveTail, NotedTail};
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{Task, TaskPatch};
use crate::store::erasure::{Erased, Keep, Patient};
use crate::store::{
    ChangeFeed, Cluster, Commit, Committed, EventFilter, EventHistory, EventPage, EventQueue, Expired, FeedCursor,
    FirstAnswer, Idempotency, IdempotencyId, Imported, KeyStore, PageRequest, Replace, Replaced, Shareable, Stats,
    Store, StoreError, StoredItem, TaskFilter, TaskPage, TaskStore, Timeline, TimelineWindow, Updated, Upkeep,
    Versioned, WholeEvents,
};

/// A store whose events are observed as they are stored.
pub(super) struct ObservedStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) search: Arc<PayloadSearch>,
    pub(super) tail: Arc<LiveTail>,
    /// How long events are kept; `None` is forever.
    pub(super) kept: Option<chrono::Duration>,
}

/// What was noted of a commit before it was stored.
struct NotedCommit {
    search: Vec<NotedEvent>,
    tail: Vec<NotedTail>,
}

impl ObservedStore {
    fn noted(&self, commit: &Commit) -> NotedCommit {
        let events = || commit.ingested.iter().map(|it| &it.event);
        NotedCommit {
            search: events().filter_map(|it| self.search.note(it)).collect(),
            tail: events().filter_map(|it| self.tail.note(it)).collect(),
        }
    }

    fn stored(&self, noted: NotedCommit) {
        if !noted.search.is_empty() {
            self.search.add(noted.search);
        }
        noted.tail.into_iter().for_each(NotedTail::send);
    }
}

impl Shareable for ObservedStore {
    fn cluster(&self) -> Option<&dyn Cluster> {
        self.inner.cluster()
    }
}

impl TaskStore for ObservedStore {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let noted = self.noted(&commit);
        async move {
            let committed = self.inner.commit(commit).await?;
            if committed == Committed::Stored {
                self.stored(noted);
            }
            Ok(committed)
        }
        .boxed()
    }

    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>> {
        let event = self.tail.note(&replace.ingested.event);
        async move {
            let replaced = self.inner.replace(replace).await?;
            if let Some(event) = event.filter(|_| replaced == Replaced::Stored) {
                event.send_again();
            }
            Ok(replaced)
        }
        .boxed()
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
        self.inner.update_task(company, id, version, patch, now)
    }

    fn delete_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        self.inner.delete_task(company, id, version, now)
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

    fn timeline<'a>(
        &'a self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Timeline, StoreError>> {
        self.inner.timeline(company, window, now)
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
}

impl EventQueue for ObservedStore {
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
        self.inner.give_up(company, id, integration, reason)
    }
}

impl KeyStore for ObservedStore {
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        self.inner.keys()
    }

    fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.inner.put_key(key, entry, idempotency)
    }

    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.note(entry)
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

impl Upkeep for ObservedStore {
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>> {
        async move {
            let expired = self.inner.expire(now).await?;
            if let Some(age) = self.kept.filter(|_| self.search.is_on()) {
                self.search.remove_before(None, now - age);
            }
            Ok(expired)
        }
        .boxed()
    }

    fn erase(&self, patient: &Patient, now: DateTime<Utc>, dry_run: bool) -> Result<Erased, StoreError> {
        let erased = self.inner.erase(patient, now, dry_run);
        // A failed erasure may have erased some: a search that meets one of them removes it.
        if let Ok(erased) = erased.as_ref()
            && !dry_run
            && !erased.events.is_empty()
        {
            self.search.remove(&erased.events.iter().map(|it| it.id).collect::<Vec<_>>());
        }
        erased
    }

    fn erase_late(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.inner.erase_late(now)
    }

    fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError> {
        let forgotten = self.inner.forget(keeps, now)?;
        for keep in keeps.iter().filter(|keep| forgotten.iter().any(|(name, _)| *name == keep.integration)) {
            self.search.remove_before(Some(&keep.integration), now - keep.latest());
        }
        Ok(forgotten)
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
        self.inner.import(items)
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>> {
        self.inner.stats()
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready()
    }
}
