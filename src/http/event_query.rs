//! The query of `GET /v1/events`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::query::Query;
use crate::event::EventId;
use crate::payload::Rules;
use crate::schema::Violation;
use crate::store::EventFilter;
use crate::task::TaskId;

const KNOWN: [&str; 9] = ["integration", "status", "reason", "since", "until", "task_id", "id", "limit", "cursor"];
/// Events a page, where nothing is said, and most.
const LIMIT: usize = 50;
const MOST: usize = 100;

/// What the list of events is asked for.
pub(super) struct EventQuery {
    pub(super) filter: EventFilter,
    pub(super) after: Option<EventId>,
    pub(super) limit: usize,
}

impl EventQuery {
    pub(super) fn parse(raw: &str) -> Result<Self, Vec<Violation>> {
        let mut query = Query::read(raw, &Rules::default(), &KNOWN);
        let filter = EventFilter {
            integration: query.text("integration"),
            status: query.one_of("status", "one of queued, stored, skipped, duplicate, quarantined, rejected"),
            reason: query.text("reason"),
            since: time(&mut query, "since"),
            until: time(&mut query, "until"),
            task_id: uuid(&mut query, "task_id").map(TaskId),
            id: query.text("id").map(|it| it.to_ascii_lowercase()),
        };
        let after = uuid(&mut query, "cursor").map(EventId);
        let limit = query.number("limit", "a number from 1 to 100", 1, MOST).unwrap_or(LIMIT);
        if query.violations.is_empty() { Ok(Self { filter, after, limit }) } else { Err(query.violations) }
    }
}

fn uuid(query: &mut Query, name: &str) -> Option<Uuid> {
    let text = query.text(name)?;
    query.or_wrong(name, &text, "an id, as it was answered", Uuid::parse_str(&text).ok())
}

fn time(query: &mut Query, name: &str) -> Option<DateTime<Utc>> {
    let text = query.text(name)?;
    // A plus sign that was not escaped has become a space.
    let read = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|it| it.to_utc());
    query.or_wrong(name, &text, "a time such as 2026-12-01T09:00:00Z", read)
}
