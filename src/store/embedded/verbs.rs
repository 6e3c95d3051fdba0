//! The operations of every backend, as the embedded store does them.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::backend::Embedded;
use super::change::Change;
use super::history::DirHistory;
use super::read::{api_keys, read_task};
use super::shared::SharedStore;
use super::{answers, audit, events, expire, failure, feed, list, stats, timeline};
use crate::auth::ApiKey;
use crate::metrics::store::STORE;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::TaskId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::task::{Task, TaskPatch};
use crate::store::cluster::Shareable;
use crate::store::erasure::patient::Patient;
use crate::store::erasure::report::{Erased, Keep};
use crate::store::error::StoreError;
use crate::store::feed::{ChangeFeed, FeedCursor};
use crate::store::history::EventHistory;
use crate::store::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use crate::store::item::{Imported, StoredItem};
use crate::store::query::{EventFilter, EventPage, PageRequest, TaskFilter, TaskPage, WholeEvents};
use crate::store::stats::{Expired, Stats};
use crate::store::timeline::{Timeline, TimelineWindow};
use crate::store::verbs::{EventQueue, KeyStore, TaskStore, Upkeep};
use crate::store::write::{Commit, Committed, Replace, Replaced, Updated, Versioned};

impl Shareable for Embedded {}

impl TaskStore for Embedded {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let audited = commit.audit.is_some();
        async move {
            let committed = self.put(Change::commit(commit)).await?;
            STORE.audit_entries.add(u64::from(audited && committed == Committed::Stored));
            Ok(committed)
        }
        .boxed()
    }

    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>> {
        let audited = replace.audit.is_some();
        async move {
            let replaced = self.replaced(Change::replace(replace)?).await?;
            STORE.audit_entries.add(u64::from(audited && replaced == Replaced::Stored));
            Ok(replaced)
        }
        .boxed()
    }

    fn first_answer(
        &self,
        id: IdempotencyId,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Option<FirstAnswer>, StoreError>> {
        let get = |shared: &SharedStore, key: &[u8]| {
            let value = shared.view(|tree| tree.get(key).map_err(failure::read))?;
            Ok(value.map(|it| Bytes::copy_from_slice(&it)))
        };
        self.read(move |shared| answers::first(shared, &id, now, &|key| get(shared, key))).boxed()
    }

    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>> {
        let company = company.clone();
        self.read(move |shared| {
            let task = shared.view(|tree| read_task(tree, &company, id))?;
            Ok(task.filter(|it| it.deleted_at.is_none()))
        })
        .boxed()
    }

    fn list_tasks<'a>(
        &'a self,
        company: &CompanyId,
        filter: TaskFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, Result<TaskPage, StoreError>> {
        let company = company.clone();
        self.read(move |shared| list::list(shared, &company, &filter, page)).boxed()
    }

    fn change_feed<'a>(
        &'a self,
        company: &CompanyId,
        after: Option<FeedCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ChangeFeed, StoreError>> {
        let company = company.clone();
        self.read(move |shared| feed::feed(shared, &company, after.as_ref(), limit)).boxed()
    }

    fn update_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: u64,
        patch: TaskPatch,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        let change = Change::Update { company: company.clone(), id, version: Some(version), patch: Some(patch), now };
        self.update(change).boxed()
    }

    fn delete_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        self.update(Change::Update { company: company.clone(), id, version, patch: None, now }).boxed()
    }

    fn versioned<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        let company = company.clone();
        self.read(move |shared| events::one(shared, &company, id)).boxed()
    }

    fn list_events<'a>(
        &'a self,
        company: &CompanyId,
        filter: EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<EventPage, StoreError>> {
        let company = company.clone();
        self.read(move |shared| events::list(shared, &company, &filter, after, limit)).boxed()
    }

    fn events_of<'a>(
        &'a self,
        company: &CompanyId,
        ids: Vec<EventId>,
    ) -> BoxFuture<'a, Result<WholeEvents, StoreError>> {
        let company = company.clone();
        self.read(move |shared| events::of_ids(shared, &company, ids)).boxed()
    }

    fn events_before(&self, before: EventId, limit: usize) -> BoxFuture<'_, Result<EventPage, StoreError>> {
        self.read(move |shared| events::before(shared, before, limit)).boxed()
    }

    fn timeline<'a>(
        &'a self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Timeline, StoreError>> {
        let (company, shared) = (company.cloned(), Arc::clone(&self.shared));
        async move {
            timeline::start(&shared).map_err(|e| StoreError::Read(e.to_string()))?;
            self.read(move |shared| timeline::timeline(shared, company.as_ref(), window, now)).await
        }
        .boxed()
    }
}

impl EventQueue for Embedded {
    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>> {
        self.read(|shared| shared.view(events::queued)).boxed()
    }

    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let event = Event::unreadable(company, id, integration, reason);
        async move { Ok(self.replaced(Change::GiveUp(Box::new(event))).await? == Replaced::Stored) }.boxed()
    }
}

impl KeyStore for Embedded {
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        self.read(|shared| shared.view(api_keys)).boxed()
    }

    fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            let committed = self.put(Change::audited(&entry, Some(&key), idempotency.as_ref())).await?;
            STORE.audit_entries.add(u64::from(committed == Committed::Stored));
            Ok(committed)
        }
        .boxed()
    }

    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.put(Change::audited(&entry, None, None)).await?;
            STORE.audit_entries.count();
            Ok(())
        }
        .boxed()
    }

    fn audit<'a>(
        &'a self,
        company: Option<&CompanyId>,
        before: Option<Uuid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let company = company.cloned();
        let fits = move |it: &Entry| company.is_none() || it.company_id == company;
        self.read(move |shared| shared.view(|tree| audit::audit(tree, &fits, before, limit))).boxed()
    }
}

impl Upkeep for Embedded {
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>> {
        expire::expire(self, now).boxed()
    }

    fn erase(&self, patient: &Patient, now: DateTime<Utc>, dry_run: bool) -> Result<Erased, StoreError> {
        self.erase_patient(patient, now, dry_run)
    }

    fn erase_late(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.finish_erasures(now)
    }

    fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError> {
        self.forget_old(keeps, now)
    }

    fn history(&self) -> Result<Box<dyn EventHistory>, StoreError> {
        Ok(Box::new(DirHistory::open(self.dir())?))
    }

    fn item_count(&self) -> u64 {
        self.count_items()
    }

    fn export(&self, visit: &mut dyn FnMut(StoredItem) -> std::io::Result<()>) -> Result<(), StoreError> {
        self.export_all(visit)
    }

    fn import(&self, items: Vec<StoredItem>) -> BoxFuture<'_, Result<Imported, StoreError>> {
        self.import_items(items).boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>> {
        self.read(stats::stats).boxed()
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.writer.open()?;
        self.shared.ready()?;
        self.takes_writes()
    }
}
