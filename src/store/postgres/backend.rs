//! The PostgreSQL store's handle, which owns its connections and their threads.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use super::change::{Mutation, MutationDone};
use super::options::PostgresOptions;
use super::schema::{self, Migrated};
use super::shared::SharedDatabase;
use super::watch;
use super::writer::MutationWriter;
use crate::store::error::StoreError;
use crate::store::item::Imported;
use crate::store::write::{Committed, Replaced, Updated};

/// Number of threads for connections. They only encode, decode and wait; the database does the work.
const THREADS: usize = 2;

/// Time for one read, or one step of upkeep: it waits for a connection (5 s), and may have two statements (20 s each at most).
const ANSWER: Duration = Duration::from_secs(25);
/// For how long the database may be out of reach before reads fail at once.
const OUTAGE: Duration = Duration::from_secs(5);

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct Postgres {
    pub(super) shared: Arc<SharedDatabase>,
    pub(super) writer: MutationWriter,
    /// Connections belong to these threads, whatever runtime a caller uses, and whether or not it waits.
    runtime: Option<Runtime>,
    ended: CancellationToken,
}

impl Postgres {
    /// Connects to a database, and creates or updates its tables if that is needed. Blocking.
    ///
    /// # Errors
    /// Fails if the database cannot be used; the message says why, without user and password.
    pub fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let shown = options.url.shown();
        let failed = |cause: String| StoreError::Open { dir: shown.clone(), cause };
        let shared = Arc::new(SharedDatabase::new(options).map_err(failed)?);
        let runtime = threads().map_err(|e| failed(e.to_string()))?;
        let started = on(runtime.handle(), {
            let shared = Arc::clone(&shared);
            async move {
                prepare(&shared).await.map_err(|it| it.into_error().to_string())?;
                Ok::<_, String>(MutationWriter::start(&shared))
            }
        });
        let writer = match started {
            Ok(writer) => writer,
            Err(cause) => {
                // Dropping it waits, which a caller on an async thread must not.
                runtime.shutdown_background();
                return Err(failed(cause));
            }
        };
        let ended = CancellationToken::new();
        runtime.spawn(watch::watch(Arc::clone(&shared), ended.clone()));
        Ok(Self { shared, writer, runtime: Some(runtime), ended })
    }

    /// Creates or updates the tables of a database. Blocking.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn migrate_schema(options: PostgresOptions) -> Result<Migrated, StoreError> {
        let shown = options.url.shown();
        let failed = |cause: String| StoreError::Open { dir: shown.clone(), cause };
        let shared = SharedDatabase::new(options).map_err(failed)?;
        let runtime = threads().map_err(|e| failed(e.to_string()))?;
        let migrated = on(runtime.handle(), async move {
            let mut client = shared.connections.write().await?;
            schema::migrate(&mut client).await
        });
        runtime.shutdown_background();
        migrated.map_err(|it| failed(it.into_error().to_string()))
    }

    /// Runs upkeep on the connections' threads, however long it takes; it goes on if the caller does not wait for it.
    pub(super) fn run_long<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let Some(runtime) = &self.runtime else { return Box::pin(async { Err(StoreError::Closed) }) };
        let task = runtime.spawn(work);
        Box::pin(async move { task.await.map_err(|_| StoreError::Closed)? })
    }

    /// The same for a read, which has an end.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        if let Err(cause) = self.shared.has_worked(OUTAGE) {
            return Box::pin(async { Err(cause) });
        }
        let shared = Arc::clone(&self.shared);
        self.run_long(async move {
            // A connection may be cut off without either side being told.
            tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| {
                // Unless the node's own look gets answers: then this read was only slow.
                if shared.ready().is_err() {
                    shared.connections.forget();
                }
                Err(StoreError::Unavailable("the database does not answer in time".into()))
            })
        })
    }

    /// The same for a caller that is not asynchronous. It must not be on an async thread.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().ok_or(StoreError::Closed)?;
        on(runtime.handle(), work)
    }

    pub(super) async fn put(&self, change: Mutation) -> Result<Committed, StoreError> {
        match self.writer.write(change).await? {
            MutationDone::Committed(committed) => Ok(committed),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn replaced(&self, change: Mutation) -> Result<Replaced, StoreError> {
        match self.writer.write(change).await? {
            MutationDone::Replaced(replaced) => Ok(replaced),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn update(&self, change: Mutation) -> Result<Updated, StoreError> {
        match self.writer.write(change).await? {
            MutationDone::Updated(updated) => Ok(updated),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn imported(&self, change: Mutation) -> Result<Imported, StoreError> {
        match self.writer.write(change).await? {
            MutationDone::Imported(imported) => Ok(imported),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn handle(&self) -> Result<Handle, StoreError> {
        self.runtime.as_ref().map(|it| it.handle().clone()).ok_or(StoreError::Closed)
    }
}

/// Checks the connection, and prepares the database.
async fn prepare(shared: &SharedDatabase) -> Result<(), super::failure::Trouble> {
    let mut client = shared.connections.write().await?;
    super::connections::check_session(&client).await?;
    schema::migrate(&mut client).await?;
    schema::fits(schema::version(&client).await?)?;
    shared.set_lineage(super::lineage::current(&client).await?);
    super::node::renew(shared, &client).await?;
    drop(client);
    shared.partitions.ahead(&shared.connections, crate::model::time::now()).await
}

fn threads() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("postgres").enable_all().build()
}

/// Runs work on a runtime, for a caller that may be in another one.
pub(super) fn on<T: Send>(handle: &Handle, work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || handle.block_on(work));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn unexpected() -> StoreError {
    StoreError::Write("the writer returned an unexpected result".into())
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.ended.cancel();
        self.shared.connections.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
