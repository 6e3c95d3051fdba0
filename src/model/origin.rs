//! Where an event comes from, if no sender has sent it.

use serde::{Deserialize, Serialize};

use super::ids::EventId;

/// How an event was made that no sender has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginKind {
    /// An admin has edited and replayed a copy of another event.
    Copy,
    /// An admin has sent a test delivery.
    Test,
}

/// Who made an event that no sender has sent, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "EventOrigin")]
pub struct Origin {
    /// How it was made.
    pub kind: OriginKind,
    /// The event that it is a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<EventId>,
    /// Who made it: a key's id, or `operator`.
    pub by: String,
}

impl Origin {
    /// Creates the origin of a copy.
    #[must_use]
    pub fn copy(of: EventId, by: &str) -> Self {
        Self { kind: OriginKind::Copy, copy_of: Some(of), by: by.to_owned() }
    }

    /// Creates the origin of a test delivery.
    #[must_use]
    pub fn test(by: &str) -> Self {
        Self { kind: OriginKind::Test, copy_of: None, by: by.to_owned() }
    }
}
