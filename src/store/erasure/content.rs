//! What remains of an event whose content is erased.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::model::event::{Event, EventStatus, Reason};
use crate::system::trace::TraceContext;

/// Removes what was sent from an event, and the texts that may quote it.
pub(in crate::store) fn without_content(mut event: Event, at: DateTime<Utc>) -> Event {
    event.erased_at = Some(at);
    event.body = Bytes::new();
    event.headers.clear();
    event.query.clear();
    event.path.clear();
    (event.content_type, event.plugin_log) = (None, String::new());
    event.trace = event.trace.as_ref().map(TraceContext::without_state);
    if let Some(reason) = &mut event.reason {
        reason.message.clear();
    }
    event
}

/// Reduces an event to the fact that it was received and erased.
pub(in crate::store) fn erased(event: Event, at: DateTime<Utc>) -> Event {
    let mut event = without_content(event, at);
    if matches!(event.status, EventStatus::Queued | EventStatus::Stored) {
        event.status = EventStatus::Quarantined;
        event.reason = Some(Reason { stage: "erase".into(), code: "erased".into(), message: String::new() });
    }
    event.task_ids.clear();
    event
}
