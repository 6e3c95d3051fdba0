//! The embedded store: a journal, and sled as its view. The journal is the truth.
//!
//! In the order of a write: `change.rs` encodes it on the caller's thread, `writer.rs` decides it (`decide.rs`) and
//! appends it to the `journal/`, `applier.rs` brings it into the view (`view.rs`, with the bitmaps of `index.rs`).
//! `open.rs` is the start, `rebuild.rs` another view from a snapshot (`snapshot.rs`) and the journal (`source.rs`),
//! `headroom.rs` its space on a full disk, `upkeep.rs` what expires and what is backed up, `transfer.rs` everything item by
//! item, `history.rs` events with what they made, `erase.rs` what is taken out again, `check.rs` reads everything,
//! `watchdog.rs` is the last resort. `keys.rs`, `record.rs`, `event_record.rs` and `task_record.rs` have the frozen
//! formats, `lock.rs` says
//! who holds the directory.

mod answers;
mod applier;
mod audit;
mod change;
mod check;
mod decide;
mod erase;
mod event_record;
mod events;
mod failure;
mod headroom;
mod history;
mod index;
mod journal;
mod keys;
mod list;
mod lock;
mod names;
mod open;
mod options;
mod place;
mod private;
mod rebuild;
mod recent;
mod record;
mod shared;
mod snapshot;
mod source;
mod task_record;
mod transfer;
mod upkeep;
mod verify;
mod view;
mod watchdog;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    Commit, Committed, EventFilter, EventPage, Expired, FirstAnswer, Idempotency, IdempotencyId, Page, Replace,
    Replaced, Stats, Store, StoreError, TaskFilter, TaskPage, Updated, Versioned,
};
use crate::audit::Entry;
use crate::auth::{ApiKey, CompanyId};
use crate::event::{EventId, IntegrationName, Reason};
use crate::task::{Task, TaskId, TaskPatch};
use change::{Change, Done};
use lock::DirLock;
use shared::Shared;
use watchdog::Watchdog;
use writer::Writer;

pub use change::Imported;
pub use check::{Report, check, repair};
pub use erase::{Erased, ErasedEvent, Form, FoundBy, Keep, Match, NamingTask, Patient, erase};
pub use history::{History, Packed, Past, Wanted};
pub use lock::{Running, running_server};
pub use options::Options;
pub use rebuild::has_view;
pub use transfer::Item;
pub use upkeep::restore;

/// The embedded store on one data directory.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Writer,
    verifier: Option<JoinHandle<()>>,
    _watchdog: Watchdog,
    lock: Arc<DirLock>,
}

impl Embedded {
    /// Notes where the server answers, and the token that proves access to this directory, for
    /// `hookmill key` and others to find.
    ///
    /// # Errors
    /// Where the lock file cannot be written.
    pub fn announce(&self, running: &Running) -> std::io::Result<()> {
        self.lock.announce(running)
    }

    /// Reads off the reactor, and not before everything that anybody was told of can be read.
    async fn read<T: Send + 'static>(
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
            _ => Err(StoreError::Write("another answer than was asked for".into())),
        }
    }

    async fn replaced(&self, change: Change) -> Result<Replaced, StoreError> {
        match self.writer.write(change).await? {
            Done::Replaced(replaced) => Ok(replaced),
            _ => Err(StoreError::Write("another answer than was asked for".into())),
        }
    }

    async fn update(&self, change: Change) -> Result<Updated, StoreError> {
        match self.writer.write(change).await? {
            Done::Updated(updated) => Ok(updated),
            _ => Err(StoreError::Write("another answer than was asked for".into())),
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
        async move { self.replaced(Change::replace(replace)?).await }.boxed()
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
        async move { self.put(Change::audited(&entry, Some(&key), idempotency.as_ref())).await }.boxed()
    }

    fn note(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.put(Change::audited(&entry, None, None)).await.map(drop) }.boxed()
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

/// Every API key. One whose record is whole and says nothing that could be read is named in the log, and opens nothing: it
/// must not keep all others from opening anything.
fn api_keys(tree: &sled::Tree) -> Result<Vec<ApiKey>, StoreError> {
    let mut found = Vec::new();
    for entry in tree.scan_prefix([keys::API_KEY]) {
        let (key, value) = entry.map_err(failure::read)?;
        let decoded = record::decode_key(&value).and_then(|it| {
            let its_own = key == keys::api_key(&it.id);
            if its_own { Ok(it) } else { Err(record::damaged("API key", &"it is stored under another id")) }
        });
        match decoded {
            Ok(key) => found.push(key),
            Err(error) if record::is_whole(&value) => {
                tracing::error!(record = keys::name_of(&key), cause = %error, "an API key cannot be read; it opens nothing");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn read_task(tree: &sled::Tree, company: &CompanyId, id: TaskId) -> Result<Option<Task>, StoreError> {
    let Some(value) = tree.get(keys::task(company, id)).map_err(failure::read)? else { return Ok(None) };
    match task_record::decode(&value, id, company.clone()) {
        Ok((task, _)) => Ok(Some(task)),
        // As it was written: another view would have the same.
        Err(_) if record::is_whole(&value) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How long this is as JSON.
fn json_bytes(value: &impl serde::Serialize) -> usize {
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
    // Nothing that is stored has a map with keys of another kind than text.
    let _never_fails = serde_json::to_writer(&mut count, value);
    count.0
}
