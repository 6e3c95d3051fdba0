//! The embedded store: one sled tree, one writer thread, one lock file.
//!
//! `writer.rs` owns every write, `keys.rs` the frozen key tags, `record.rs` the frozen value formats,
//! `lock.rs` says who holds the directory.

mod keys;
mod lock;
mod record;
mod writer;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use chrono::{DateTime, Utc};

use super::*;
use crate::auth::{ApiKey, CompanyId};
use crate::event::{Event, EventId};
use crate::task::TaskPatch;
use crate::task::{Task, TaskId};
use lock::DirLock;
pub use lock::{Running, running_server};
use writer::{Write, Writer};

/// sled's cache setting. It really holds about ten times as much, so this stays small.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The embedded store on one data directory.
#[derive(Debug)]
pub struct Embedded {
    tree: sled::Tree,
    writer: Writer,
    lock: Arc<DirLock>,
}

impl Embedded {
    /// Opens `dir`, creating it where it is missing, and holds it until dropped.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it, [`StoreError::Open`] where it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |cause: &dyn std::fmt::Display| StoreError::Open {
            dir: dir.display().to_string(),
            cause: cause.to_string(),
        };
        create_private_dir(dir).map_err(|e| failed(&e))?;
        let lock = Arc::new(DirLock::take(dir)?);
        let path = dir.join("sled");
        // sled's own timer is off: the writer flushes every batch itself.
        let config = sled::Config::new().path(&path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        // Damaged files make sled panic on opening (DESIGN: 25 of 25); the admin gets a sentence instead.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| config.open()));
        let db = opened.map_err(|_| failed(&"sled's files are damaged"))?.map_err(|e| failed(&e))?;
        let tree = db.open_tree(keys::TREE).map_err(|e| failed(&e))?;
        let writer = Writer::start(tree.clone(), &path).map_err(|e| failed(&e))?;
        Ok(Self { tree, writer, lock })
    }

    /// Notes where the server answers, and the token that proves access to this directory, for
    /// `hookmill key` and others to find.
    ///
    /// # Errors
    /// Where the lock file cannot be written.
    pub fn announce(&self, running: &Running) -> std::io::Result<()> {
        self.lock.announce(running)
    }

    /// Reads one value off the reactor: sled may have to go to the disk for it.
    async fn read<T: Send + 'static>(
        &self,
        key: Vec<u8>,
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let tree = self.tree.clone();
        let read = move || match tree.get(key) {
            Ok(value) => value.map(|bytes| decode(&bytes)).transpose(),
            Err(error) => Err(StoreError::Read(error.to_string())),
        };
        tokio::task::spawn_blocking(read).await.map_err(|e| StoreError::Read(e.to_string()))?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if !self.writer.close() {
            // A tree that is dropped flushes, and after a failed write sled waits forever for that.
            std::mem::forget(self.tree.clone());
        }
    }
}

impl Store for Embedded {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            for ingested in &commit.ingested {
                self.writer.write(ingested_writes(ingested)?).await?;
            }
            Ok(Committed::Stored)
        }
        .boxed()
    }

    fn first_answer(
        &self,
        _: IdempotencyId,
        _: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Option<FirstAnswer>, StoreError>> {
        async { Ok(None) }.boxed()
    }

    fn list_tasks<'a>(&'a self, _: &CompanyId, _: TaskFilter, _: Page) -> BoxFuture<'a, Result<TaskPage, StoreError>> {
        async { Err(StoreError::Closed) }.boxed()
    }

    fn update_task<'a>(
        &'a self,
        _: &CompanyId,
        _: TaskId,
        _: u64,
        _: TaskPatch,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        async { Err(StoreError::Closed) }.boxed()
    }

    fn delete_task<'a>(
        &'a self,
        _: &CompanyId,
        _: TaskId,
        _: Option<u64>,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Updated, StoreError>> {
        async { Err(StoreError::Closed) }.boxed()
    }

    fn expire(&self, _: DateTime<Utc>) -> BoxFuture<'_, Result<Expired, StoreError>> {
        async { Err(StoreError::Closed) }.boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, StoreError>> {
        async { Err(StoreError::Closed) }.boxed()
    }

    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>> {
        let (key, company) = (keys::task(company, id), company.clone());
        self.read(key, move |bytes| record::decode_task(bytes, id, company)).boxed()
    }

    fn event<'a>(&'a self, company: &CompanyId, id: EventId) -> BoxFuture<'a, Result<Option<Event>, StoreError>> {
        let (key, company) = (keys::event(company, id), company.clone());
        self.read(key, move |bytes| record::decode_event(bytes, id, company)).boxed()
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        let tree = self.tree.clone();
        let read = move || {
            tree.scan_prefix([keys::API_KEY])
                .map(|entry| {
                    entry.map_err(|e| StoreError::Read(e.to_string())).and_then(|(_, value)| record::decode_key(&value))
                })
                .collect()
        };
        async move { tokio::task::spawn_blocking(read).await.map_err(|e| StoreError::Read(e.to_string()))? }.boxed()
    }

    fn put_key(&self, key: ApiKey, _: Option<Idempotency>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            self.writer
                .write(vec![Write { key: keys::api_key(&key.id), value: record::encode_key(&key)? }])
                .await
                .map(|()| Committed::Stored)
        }
        .boxed()
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.writer.ready()
    }
}

fn ingested_writes(ingested: &Ingested) -> Result<Vec<Write>, StoreError> {
    let event = &ingested.event;
    let mut writes = Vec::with_capacity(1 + ingested.tasks.len());
    writes.push(Write { key: keys::event(&event.company_id, event.id), value: record::encode_event(event)? });
    for task in &ingested.tasks {
        writes.push(Write { key: keys::task(&task.company_id, task.id), value: record::encode_task(task)? });
    }
    Ok(writes)
}

/// Patients' data: nobody but the server's own user may read the directory.
fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
