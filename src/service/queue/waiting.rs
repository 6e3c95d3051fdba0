//! A queued event in memory.

use crate::limits::shares::Share;
use crate::metrics::queue::InQueue;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::store::StoreError;

/// A place in the queue, taken before a delivery is acknowledged.
pub type Place = Share;

/// A queued event.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) company: CompanyId,
    pub(crate) id: EventId,
    /// Determines the lane: the same for all events with the same ordering key. `None` if the integration was not
    /// live when the event was queued.
    pub(super) number: Option<usize>,
    /// `None` if the queue was full when the server started, or if the integration is gone.
    pub(crate) room: Option<Place>,
    /// Whether it could not be read yet, so that its ordering key is unknown.
    pub(crate) unread: bool,
    /// Counts it for metrics.
    pub(super) _counted: InQueue,
}

/// Why an event cannot be processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Unreadable(StoreError),
    #[error("its pipeline panicked")]
    Panicked,
}
