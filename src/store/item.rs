//! Everything that is stored, item by item, for exports and imports.

use chrono::{DateTime, Utc};

use super::erasure::Patient;
use super::idempotency::FirstAnswer;
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
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
    /// The response to the first request with an idempotency key, or to a delivery.
    Answer(Box<StoredAnswer>),
    /// A recent erasure.
    Erasure(Box<StoredErasure>),
}

/// A stored first response, with the id of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Company of the request; `None` for the operator.
    pub company: Option<CompanyId>,
    /// Whether the request was a delivery; otherwise it had an idempotency key.
    pub is_delivery: bool,
    /// [`IdempotencyId::name`](super::IdempotencyId::name)
    pub name: [u8; 16],
    /// When a repetition is no longer recognized. For an idempotency key, the retention of the store may end earlier.
    pub expires_at: DateTime<Utc>,
    /// The response.
    pub first: FirstAnswer,
}

/// An erasure of the last day: content that was received before and is stored later is erased too.
#[derive(Debug, Clone)]
pub struct StoredErasure {
    /// The patient.
    pub patient: Patient,
    /// Content received up to this time is erased.
    pub at: DateTime<Utc>,
}

impl PartialEq for StoredErasure {
    fn eq(&self, other: &Self) -> bool {
        self.patient.is_same(&other.patient) && self.at == other.at
    }
}

/// Items that an import skipped because they exist already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Number of skipped items.
    pub skipped: u64,
    /// Kind and id of the items that are stored with different content.
    pub differing: Vec<String>,
}
