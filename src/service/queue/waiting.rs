//! A queued event in memory.

use super::held::HeldClaim;
use crate::limits::shares::Share;
use crate::metrics::queue::InQueue;
use crate::pipeline::QueuedEvent;
use crate::store::StoreError;

/// A place in the queue, taken before a delivery is acknowledged.
pub type Place = Share;

/// A queued event.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) event: QueuedEvent,
    /// Determines the lane: the same for all events with the same ordering key. `None` if the integration was not
    /// live when the event was queued.
    pub(super) number: Option<usize>,
    /// `None` if the queue was full when the server started, or if the integration is gone.
    pub(crate) room: Option<Place>,
    /// Whether it could not be read yet, so that its ordering key is unknown.
    pub(crate) unread: bool,
    /// How often processing was interrupted, if that was too often: it is only quarantined.
    pub(super) interrupted: Option<u32>,
    /// Counts it among the claims of this server.
    pub(super) _held: Option<HeldClaim>,
    /// Counts it for metrics.
    pub(super) _counted: InQueue,
}

/// Why an event cannot be processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Unreadable(StoreError),
    #[error(transparent)]
    Unstorable(StoreError),
    #[error("its pipeline panicked")]
    Panicked,
}
