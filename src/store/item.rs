//! Everything that is stored, item by item, for exports and imports.

use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::event::Event;
use crate::model::task::Task;

/// A stored item.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredItem {
    /// A task, possibly soft-deleted.
    Task(Box<Task>),
    /// An event with its body.
    Event(Box<Event>),
    /// An API key's record.
    Key(Box<ApiKey>),
    /// An entry of the audit log.
    Audit(Box<Entry>),
}

/// Items that an import skipped because they exist already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Number of skipped items.
    pub skipped: u64,
    /// Kind and id of the items that are stored with different content.
    pub differing: Vec<String>,
}
