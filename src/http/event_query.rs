//! The query of `GET /v1/events`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::query::{Query, QueryParameter, QueryParameters, parameter};
use crate::model::event::EventStatus;
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::store::EventFilter;

/// Events per page: the default and the maximum.
const LIMIT: usize = 50;
const MOST: usize = 100;

/// The query of a list of events.
pub(super) struct EventQuery {
    pub(super) filter: EventFilter,
    pub(super) after: Option<EventId>,
    pub(super) limit: usize,
}

impl QueryParameters for EventQuery {
    const PARAMETERS: &'static [QueryParameter] = &[
        parameter::<IntegrationName>("integration", "Only events of this integration; `tasks` for `POST /v1/tasks`."),
        parameter::<EventStatus>("status", "Only events of this status."),
        parameter::<String>("reason", "Only events whose reason has this stage or code; not with `tasks:read` alone."),
        parameter::<DateTime<Utc>>("since", "Only events that were received at this time or later."),
        parameter::<DateTime<Utc>>("until", "Only events that were received before this time."),
        parameter::<TaskId>("task_id", "Only the event that created this task."),
        parameter::<String>("id", "Only events whose id contains this text."),
        parameter::<usize>("limit", "Most events of a page, 1 to 100; 50 by default."),
        parameter::<EventId>("cursor", "The `next_cursor` of the page before."),
    ];

    fn read(query: &mut Query) -> Self {
        let filter = EventFilter {
            integration: query.text("integration"),
            status: query.one_of("status", "one of queued, stored, skipped, duplicate, quarantined, rejected"),
            reason: query.text("reason"),
            since: time(query, "since"),
            until: time(query, "until"),
            task_id: uuid(query, "task_id").map(TaskId),
            id: query.text("id").map(|it| it.to_ascii_lowercase()),
        };
        let after = uuid(query, "cursor").map(EventId);
        let limit = query.number("limit", "a number from 1 to 100", 1, MOST).unwrap_or(LIMIT);
        Self { filter, after, limit }
    }
}

fn uuid(query: &mut Query, name: &str) -> Option<Uuid> {
    let text = query.text(name)?;
    query.or_wrong(name, &text, "an id from a response", Uuid::parse_str(&text).ok())
}

fn time(query: &mut Query, name: &str) -> Option<DateTime<Utc>> {
    let text = query.text(name)?;
    // A plus sign that was sent without escaping arrives as a space.
    let read = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|it| it.to_utc());
    query.or_wrong(name, &text, "a time such as 2026-12-01T09:00:00Z", read)
}
