//! Stored events with the tasks that they created, one after another.

use chrono::{DateTime, Utc};

use super::error::StoreError;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::task::Task;

/// The events that a store had when this was opened. Reading changes nothing.
pub trait EventHistory: Send + Sync {
    /// Returns the approximate number of events that [`Self::read`] visits.
    fn events(&self, wanted: &Wanted) -> u64;
    /// Visits the selected events until `visit` returns false, with the number of events since the last visit, including
    /// those that were not selected.
    ///
    /// # Errors
    /// Fails if they cannot be read. Damaged ones are left out.
    fn read(&self, wanted: &Wanted, visit: &mut dyn FnMut(u64, Packed) -> bool) -> Result<(), StoreError>;
}

/// Selection of events.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Company of the events.
    pub company: CompanyId,
    /// Integration of the events.
    pub integration: String,
    /// Earliest time of receipt, inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of receipt, exclusive.
    pub until: Option<DateTime<Utc>>,
}

/// Events that were stored together, not decoded yet, so that other threads can decode them.
pub struct Packed {
    count: usize,
    unpack: Box<dyn Fn() -> Result<Vec<Past>, StoreError> + Send>,
}

impl Packed {
    /// So many events, and how to decode them.
    #[must_use]
    pub fn new(count: usize, unpack: impl Fn() -> Result<Vec<Past>, StoreError> + Send + 'static) -> Self {
        Self { count, unpack: Box::new(unpack) }
    }

    /// Returns the number of events.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Decodes the events.
    ///
    /// # Errors
    /// Fails if this version cannot decode one of them.
    pub fn unpack(&self) -> Result<Vec<Past>, StoreError> {
        (self.unpack)()
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("count", &self.count).finish_non_exhaustive()
    }
}

/// An event, and the tasks that it created.
#[derive(Debug)]
pub struct Past {
    /// The current state of the event.
    pub event: Event,
    /// The tasks as they were created. Fewer than the event names if a replay has changed them since.
    pub tasks: Vec<Task>,
}
