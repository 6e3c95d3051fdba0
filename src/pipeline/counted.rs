//! Counts of deliveries.

use super::outcome::Superseded;
use crate::integration::Integration;
use crate::metrics::integrations::{DIRECT, DeliveryEnd, IntegrationSeries};
use crate::model::event::{Event, EventStatus};

/// Returns the counts of an integration; `None` is `POST /v1/tasks`.
pub(super) fn series(integration: Option<&Integration>) -> &IntegrationSeries {
    integration.map_or(&DIRECT, Integration::series)
}

/// Returns the outcome that an event is counted as, once it is stored.
pub(super) fn as_stored(event: &Event) -> DeliveryEnd {
    match event.status {
        EventStatus::Stored => DeliveryEnd::Created(event.task_ids.len()),
        EventStatus::Skipped => DeliveryEnd::Skipped,
        EventStatus::Duplicate => DeliveryEnd::Duplicate,
        EventStatus::Quarantined => DeliveryEnd::quarantined(event.reason.as_ref().map_or("", |it| &it.stage)),
        EventStatus::Rejected => DeliveryEnd::Rejected,
        EventStatus::Queued => DeliveryEnd::Queued,
        EventStatus::Captured => DeliveryEnd::Captured,
    }
}

/// Counts a delivery whose commit has ended. A copy of an integration's delivery is counted when its own event is stored.
pub(super) fn ended<E>(integration: Option<&Integration>, how: DeliveryEnd, ended: &Result<Option<Superseded>, E>) {
    let how = match ended {
        Ok(None) => how,
        Ok(Some(Superseded::Before(_))) if integration.is_some() => return,
        Ok(Some(Superseded::Before(_))) => DeliveryEnd::Duplicate,
        Ok(Some(Superseded::Erased)) => DeliveryEnd::Erased,
        Err(_) => DeliveryEnd::Failed,
    };
    series(integration).delivered(how);
}
