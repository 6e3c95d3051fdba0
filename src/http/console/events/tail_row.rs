//! Rows of the live tail.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::parts::bytes;
use crate::model::event::EventStatus;
use crate::model::ids::EventId;
use crate::service::tail::TailEvent;
use crate::system::text::is_unprintable;

/// What the script shows of an event. Nothing in it can look like something else.
#[derive(Serialize)]
pub(super) struct TailRow {
    pub(super) id: EventId,
    received_at: DateTime<Utc>,
    pub(super) status: EventStatus,
    integration: String,
    code: String,
    tasks: usize,
    size: String,
}

impl TailRow {
    pub(super) fn of(event: &TailEvent, sees_reasons: bool) -> Self {
        let reason = event.reason.as_ref().filter(|_| sees_reasons);
        Self {
            id: event.id,
            received_at: event.received_at,
            status: event.status,
            integration: plain(&event.integration.0),
            code: reason.map(|it| plain(&it.code)).unwrap_or_default(),
            tasks: event.task_ids.len(),
            size: bytes(event.body_bytes),
        }
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|it| !is_unprintable(*it)).take(200).collect()
}
