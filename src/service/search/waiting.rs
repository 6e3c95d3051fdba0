//! Events that are not in the index yet.

use super::signed_batch::{SignedBatch, SignedEvent};
use crate::model::event::RawEvent;
use crate::model::ids::IntegrationName;

/// An event that is stored, and not in the index yet.
pub(super) enum WaitingEvent {
    /// Its words were read while its request was: its body is not kept, whose buffer the connection uses again.
    Signed(SignedEvent),
    /// Its body takes longer to read.
    Unread(Box<UnreadEvent>),
}

pub(super) struct UnreadEvent {
    pub(super) integration: IntegrationName,
    pub(super) raw: RawEvent,
}

#[derive(Default)]
pub(super) struct WaitingEvents {
    pub(super) signed: SignedBatch,
    pub(super) unread: Vec<UnreadEvent>,
    /// Number of bytes of the bodies of `unread`.
    pub(super) bytes: usize,
}

impl WaitingEvents {
    pub(super) fn len(&self) -> usize {
        self.signed.len() + self.unread.len()
    }
}

/// What was noted of an event before it was stored.
pub(in super::super) struct NotedEvent(pub(super) WaitingEvent);
