//! Determines the ids of deliveries, by which repetitions are recognized.

use chrono::Duration;

use crate::auth::sender::IdPlace;
use crate::auth::signature::ValueSource;

/// How repeated deliveries are recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// Possible places of the id, in this order. The first one that a delivery has is used.
    pub by: Vec<IdPlace>,
    /// How long an id is stored.
    pub window: Duration,
}

impl Dedupe {
    /// Returns the headers that may contain an id, in lower case.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let sources = self.by.iter().flat_map(|it| &it.0);
        sources.filter_map(|it| if let ValueSource::Header(name) = it { Some(name.as_str()) } else { None })
    }

    /// Returns the JSON Pointers that may lead to an id.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        let sources = self.by.iter().flat_map(|it| &it.0);
        sources.filter_map(|it| if let ValueSource::Body(pointer) = it { Some(pointer.as_str()) } else { None })
    }
}

/// Whether deliveries are acknowledged before they are processed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Later {
    /// Whether this applies to all deliveries, whatever the sender prefers.
    pub always: bool,
    /// JSON Pointer to the key of events that must be processed in order.
    pub order_by: Option<String>,
}
