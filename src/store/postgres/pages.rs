//! Stored events with what was sent, a page at a time, oldest first.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::failure::Trouble;
use crate::model::company::CompanyId;

/// Maximum number of events that a page examines, and of bytes of their bodies (after the first event).
const EVENTS: i64 = 1000;
const BYTES: i64 = 8 << 20;

/// Which events of a company to read.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) company: CompanyId,
    /// Only events of this integration, as it is stored.
    pub(super) integration: Option<String>,
    /// Ids from `from` on, below `until`.
    pub(super) from: Uuid,
    pub(super) until: Uuid,
    /// Whether to read events that have expired but are still there.
    pub(super) expired: bool,
}

impl Range {
    /// All events of a company.
    pub(super) fn all(company: CompanyId) -> Self {
        Self { company, integration: None, from: Uuid::nil(), until: Uuid::max(), expired: false }
    }
}

/// A page of events.
#[derive(Debug)]
pub(super) struct EventsPage {
    /// Number of events examined.
    pub(super) examined: u64,
    /// The events of the range, as `whole_event` reads them.
    pub(super) rows: Vec<Row>,
}

// What a page examines is bounded, whatever is left out. A body is looked up by its id, so that only its partition is read.
const PAGE: &str = "SELECT p.id, CASE WHEN p.wanted THEN p.document END, b.sent, b.body FROM ( \
       SELECT id, document, wanted, (sum(bytes) OVER (ORDER BY id))::int8 - bytes AS before FROM ( \
         SELECT e.id, e.document, w.wanted, CASE WHEN w.wanted THEN coalesce((SELECT octet_length(b.body) \
         FROM hookmill.event_bodies b WHERE b.company_id = $1 AND b.id = e.id), 0) ELSE 0 END::int8 AS bytes \
         FROM (SELECT * FROM hookmill.events WHERE company_id = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $6) e \
         CROSS JOIN LATERAL (SELECT ($4::text IS NULL OR e.integration = $4) AND ($5::bool \
         OR e.id >= (SELECT events_from FROM hookmill.installation) OR EXISTS (SELECT 1 FROM hookmill.queue q \
         WHERE q.company_id = $1 AND q.event_id = e.id)) AS wanted OFFSET 0) w \
         OFFSET 0 \
       ) sized \
     ) p LEFT JOIN LATERAL ( \
       SELECT sent, body FROM hookmill.event_bodies b WHERE p.wanted AND b.company_id = $1 AND b.id = p.id OFFSET 0 \
     ) b ON true WHERE p.before < $7 ORDER BY p.id";

/// Reads the next page, and moves the range behind it. `None` at the end.
pub(super) async fn next(client: &Client, range: &mut Range) -> Result<Option<EventsPage>, Trouble> {
    let Range { company, integration, from, until, expired } = &*range;
    let values: [&(dyn ToSql + Sync); 7] = [&company.as_str(), from, until, integration, expired, &EVENTS, &BYTES];
    let mut rows = client.query(PAGE, &values).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let last: Uuid = last.get(0);
    range.from = Uuid::from_u128(last.as_u128().saturating_add(1));
    let examined = rows.len() as u64;
    rows.retain(|row| row.get::<_, Option<&str>>(1).is_some());
    Ok(Some(EventsPage { examined, rows }))
}
