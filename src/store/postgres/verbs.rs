//! The operations of every backend, as the PostgreSQL store does them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::backend::Postgres;
use super::change::Mutation;
use super::{answers, erase, events, expire, feed, forget, history, keys, stats, tasks, timeline, transfer};
use crate::auth::ApiKey;
use crate::metrics::store::STORE;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{Task, TaskPatch};
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

impl TaskStore for Postgres {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let audited = commit.audit.is_some();
        async move {
            let committed = self.put(Mutation::commit(commit)?).await?;
            STORE.audit_entries.add(u64::from(audited && committed == Committed::Stored));
            Ok(committed)
        }
        .boxed()
    }

    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>> {
        let audited = replace.audit.is_some();
        async move {
            let replaced = self.replaced(Mutation::Replace(Box::new(replace), crate::model::time::now())).await?;
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
        let shared = Arc::clone(&self.shared);
        self.run(async move { answers::first(&shared, &id, now).await })
    }

    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { tasks::one(&shared, &company, id).await })
    }

    fn list_tasks<'a>(
        &'a self,
        company: &CompanyId,
        filter: TaskFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, Result<TaskPage, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { tasks::list(&shared, &company, &filter, page).await })
    }

    fn change_feed<'a>(
        &'a self,
        company: &CompanyId,
        after: Option<FeedCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ChangeFeed, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { feed::feed(&shared, &company, after.as_ref(), limit).await })
    }

    fn update_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: u64,
        patch: TaskPatch,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        let change = Mutation::Update { company: company.clone(), id, version: Some(version), patch: Some(patch), now };
        self.update(change).boxed()
    }

    fn delete_task<'a>(
        &'a self,
        company: &CompanyId,
        id: TaskId,
        version: Option<u64>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        self.update(Mutation::Update { company: company.clone(), id, version, patch: None, now }).boxed()
    }

    fn versioned<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { events::one(&shared, &company, id, None).await })
    }

    fn list_events<'a>(
        &'a self,
        company: &CompanyId,
        filter: EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<EventPage, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { events::list(&shared, &company, &filter, after, limit).await })
    }

    fn events_of<'a>(
        &'a self,
        company: &CompanyId,
        ids: Vec<EventId>,
    ) -> BoxFuture<'a, Result<WholeEvents, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { events::of_ids(&shared, &company, &ids).await })
    }

    fn events_before(&self, before: EventId, limit: usize) -> BoxFuture<'_, Result<EventPage, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { events::before(&shared, before, limit).await })
    }

    fn timeline<'a>(
        &'a self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Timeline, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.cloned());
        self.run(async move { timeline::timeline(&shared, company.as_ref(), window, now).await })
    }
}

impl EventQueue for Postgres {
    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { events::queued(&shared).await })
    }

    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let event = Event::unreadable(company, id, integration, reason);
        async move { Ok(self.replaced(Mutation::GiveUp(Box::new(event))).await? == Replaced::Stored) }.boxed()
    }
}

impl KeyStore for Postgres {
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { keys::all(&shared).await })
    }

    fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            let committed = self.put(Mutation::audited(entry, Some(key), idempotency)?).await?;
            STORE.audit_entries.add(u64::from(committed == Committed::Stored));
            Ok(committed)
        }
        .boxed()
    }

    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.put(Mutation::audited(entry, None, None)?).await?;
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
        let (shared, company) = (Arc::clone(&self.shared), company.cloned());
        self.run(async move { keys::audit(&shared, company.as_ref(), before, limit).await })
    }
}

impl Upkeep for Postgres {
    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run_long(async move { expire::expire(&shared, now).await })
    }

    fn erase(&self, patient: &Patient, now: DateTime<Utc>, dry_run: bool) -> Result<Erased, StoreError> {
        let (shared, writer, patient) = (Arc::clone(&self.shared), self.writer.clone(), patient.clone());
        self.wait(async move { erase::erase(&shared, &writer, patient, now, dry_run).await })
    }

    fn erase_late(&self, _now: DateTime<Utc>) -> Result<(), StoreError> {
        // What is stored after an erasure is erased by the transaction that stores it.
        Ok(())
    }

    fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError> {
        let (shared, writer, keeps) = (Arc::clone(&self.shared), self.writer.clone(), keeps.to_vec());
        self.wait(async move { forget::forget(&shared, &writer, &keeps, now).await })
    }

    fn history(&self) -> Result<Box<dyn EventHistory>, StoreError> {
        Ok(Box::new(history::History::new(Arc::clone(&self.shared), self.handle()?)))
    }

    fn item_count(&self) -> u64 {
        let shared = Arc::clone(&self.shared);
        self.wait(async move { transfer::count(&shared).await }).unwrap_or(0)
    }

    fn export(&self, visit: &mut dyn FnMut(StoredItem) -> std::io::Result<()>) -> Result<(), StoreError> {
        transfer::export(self, visit)
    }

    fn import(&self, items: Vec<StoredItem>) -> BoxFuture<'_, Result<Imported, StoreError>> {
        async move { self.imported(Mutation::Import(items)).await }.boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { stats::stats(&shared).await })
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.shared.ready()
    }
}
