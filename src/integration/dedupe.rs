//! Determines the ids of deliveries, by which repetitions are recognized.

use chrono::Duration;

/// Where a delivery's id is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// In the header with this name, in lower case.
    Header(String),
    /// In the body, at these JSON Pointers; their values are combined.
    Body(Vec<String>),
}

/// How repeated deliveries are recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// Possible places of the id, in this order. The first one that a delivery has is used.
    pub by: Vec<IdSource>,
    /// How long an id is stored.
    pub window: Duration,
}

/// Whether deliveries are acknowledged before they are processed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Later {
    /// Whether this applies to all deliveries, whatever the sender prefers.
    pub always: bool,
    /// JSON Pointer to the key of events that must be processed in order.
    pub order_by: Option<String>,
}
