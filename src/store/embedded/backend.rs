//! The embedded backend.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::change::{Change, Done};
use super::lock::{DirLock, Running};
use super::shared::Shared;
use super::watchdog::Watchdog;
use super::writer::Writer;
use super::{answers, audit, events, failure, keys, list, record, task_record, upkeep};
use crate::auth::ApiKey;
use crate::metrics::store::STORE;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::Reason;
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::task::{Task, TaskPatch};
use crate::store::error::StoreError;
use crate::store::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use crate::store::query::{EventFilter, EventPage, Page, TaskFilter, TaskPage};
use crate::store::stats::{Expired, Stats};
use crate::store::verbs::Store;
use crate::store::write::{Commit, Committed, Replace, Replaced, Updated, Versioned};

/// The embedded store in one data directory.
#[derive(Debug)]
pub struct Embedded {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) verifier: Option<JoinHandle<()>>,
    pub(super) _watchdog: Watchdog,
    pub(super) lock: Arc<DirLock>,
}

impl Embedded {
    /// Publishes the server's address, and the token that proves access to this directory, for `hookmill key` and
    /// similar commands.
    ///
    /// # Errors
    /// Fails if the lock file cannot be written.
    pub fn announce(&self, running: &Running) -> std::io::Result<()> {
        self.lock.announce(running)
    }

    /// Runs a read off the async threads, after everything acknowledged so far is in the read view.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let settled = move || {
            shared.settle()?;
            read(&shared)
        };
        tokio::task::spawn_blocking(settled).await.map_err(|e| StoreError::Read(e.to_string()))?
    }

    async fn put(&self, change: Result<Change, StoreError>) -> Result<Committed, StoreError> {
        match self.writer.write(change?).await? {
            Done::Committed(committed) => Ok(committed),
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }

    async fn replaced(&self, change: Change) -> Result<Replaced, StoreError> {
        match self.writer.write(change).await? {
            Done::Replaced(replaced) => Ok(replaced),
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }

    async fn update(&self, change: Change) -> Result<Updated, StoreError> {
        match self.writer.write(change).await? {
            Done::Updated(updated) => Ok(updated),
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.close();
        self.writer.close(&self.shared);
        if self.verifier.take().is_some_and(|it| it.join().is_err()) {
            tracing::error!("the thread that verifies the journal panicked");
        }
    }
}

impl Store for Embedded {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move { self.put(Change::commit(&commit)).await }.boxed()
    }

    fn first_answer(
        &self,
        id: IdempotencyId,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Option<FirstAnswer>, StoreError>> {
        let get = |shared: &Shared, key: &[u8]| {
            let value = shared.view(|tree| tree.get(key).map_err(failure::read))?;
            Ok(value.map(|it| Bytes::copy_from_slice(&it)))
        };
        self.read(move |shared| answers::first(shared, id, now, &|key| get(shared, key))).boxed()
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
        page: Page,
    ) -> BoxFuture<'a, Result<TaskPage, StoreError>> {
        let company = company.clone();
        self.read(move |shared| list::list(shared, &company, &filter, page)).boxed()
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

    fn replace(&self, replace: Replace) -> BoxFuture<'_, Result<Replaced, StoreError>> {
        let audited = replace.audit.is_some();
        async move {
            let replaced = self.replaced(Change::replace(replace)?).await?;
            STORE.audit_entries.add(u64::from(audited && replaced == Replaced::Stored));
            Ok(replaced)
        }
        .boxed()
    }

    fn give_up<'a>(
        &'a self,
        company: &CompanyId,
        id: EventId,
        integration: &IntegrationName,
        reason: Reason,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let event = events::unreadable(company, id, integration, reason);
        async move { Ok(self.replaced(Change::GiveUp(Box::new(event))).await? == Replaced::Stored) }.boxed()
    }

    fn queued(&self) -> BoxFuture<'_, Result<Vec<(CompanyId, EventId)>, StoreError>> {
        self.read(|shared| shared.view(events::queued)).boxed()
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

    fn expire(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>> {
        upkeep::expire(self, now).boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>> {
        self.read(upkeep::stats).boxed()
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.writer.open()?;
        self.shared.ready()?;
        self.takes_writes()
    }
}

/// Returns all API keys. A key whose record is intact but unreadable is logged and skipped, so that it does not
/// make all other keys unusable.
pub(super) fn api_keys(tree: &sled::Tree) -> Result<Vec<ApiKey>, StoreError> {
    let mut found = Vec::new();
    for entry in tree.scan_prefix([keys::API_KEY]) {
        let (key, value) = entry.map_err(failure::read)?;
        let decoded = record::decode_key(&value).and_then(|it| {
            let its_own = key == keys::api_key(&it.id);
            if its_own { Ok(it) } else { Err(record::damaged("API key", &"it is stored under the wrong id")) }
        });
        match decoded {
            Ok(key) => found.push(key),
            Err(error) if record::is_whole(&value) => {
                tracing::error!(record = keys::name_of(&key), cause = %error, "an API key cannot be read and does not work");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

pub(super) fn read_task(tree: &sled::Tree, company: &CompanyId, id: TaskId) -> Result<Option<Task>, StoreError> {
    let Some(value) = tree.get(keys::task(company, id)).map_err(failure::read)? else { return Ok(None) };
    match task_record::decode(&value, id, company.clone()) {
        Ok((task, _)) => Ok(Some(task)),
        // The value is as it was written, so a rebuilt view would have the same one.
        Err(_) if record::is_whole(&value) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the length of a value as JSON, in bytes.
pub(super) fn json_bytes(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Stored values have no maps with keys that are not texts.
    let _never_fails = serde_json::to_writer(&mut count, value);
    count.0
}
