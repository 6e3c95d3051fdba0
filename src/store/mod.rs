//! What is kept: events, tasks and API keys, behind verbs of the domain.
//!
//! [`Embedded`] (sled) is the default. A backend answers a write only when it would survive a power cut.

pub mod embedded;

use futures_util::future::BoxFuture;

use crate::auth::{ApiKey, CompanyId};
use crate::event::{Event, EventId};
use crate::task::{Task, TaskId};

pub use embedded::Embedded;

/// One event and the tasks that it made: stored whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    /// The event, with its final status.
    pub event: Event,
    /// Its tasks; none unless the status is `stored`.
    pub tasks: Vec<Task>,
}

/// The verbs that every backend has.
pub trait Store: Send + Sync + 'static {
    /// Stores an event with its tasks. When it answers, they are durable.
    fn commit(&self, ingested: Ingested) -> BoxFuture<'_, Result<(), StoreError>>;
    /// One task of a company.
    fn task<'a>(&'a self, company: &CompanyId, id: TaskId) -> BoxFuture<'a, Result<Option<Task>, StoreError>>;
    /// One event of a company.
    fn event<'a>(&'a self, company: &CompanyId, id: EventId) -> BoxFuture<'a, Result<Option<Event>, StoreError>>;
    /// Every API key.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;
    /// Adds a key or stores its new state. When it answers, that is durable.
    fn put_key(&self, key: ApiKey) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Whether writes can be expected to succeed.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), StoreError>;
}

/// Why the store could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory.
    #[error("{dir} is in use by {holder}; stop that server first, or give this one another --data-dir")]
    InUse {
        /// The data directory.
        dir: String,
        /// Who holds it, as far as the lock file says.
        holder: String,
    },
    /// The data directory cannot be opened.
    #[error("cannot open {dir}: {cause}")]
    Open {
        /// The data directory.
        dir: String,
        /// What the system or the database said.
        cause: String,
    },
    /// A write did not reach the disk: it may or may not be there after a restart.
    #[error("the write did not reach the disk: {0}")]
    Write(String),
    /// A read failed.
    #[error("the read failed: {0}")]
    Read(String),
    /// A stored value does not match its checksum or format.
    #[error("the stored {what} is damaged: {cause}")]
    Damaged {
        /// Which kind of value.
        what: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The writer has ended: the server is shutting down, or the writer failed.
    #[error("the store is closed")]
    Closed,
}
