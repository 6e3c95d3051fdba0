//! Reads of events: one by its id, and lists.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::failure::{self, damaged};
use super::shared::SharedDatabase;
use super::text::stored;
use super::writer::{version_of, whole_event};
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::store::document::{EventDocument, SentParts};
use crate::store::error::StoreError;
use crate::store::id_time::first_id;
use crate::store::json_size::json_bytes;
use crate::store::query::{EventFilter, EventPage, WHOLE_BYTES, WholeEvents};
use crate::store::write::Versioned;

/// Maximum number of events that one request examines.
const LOOKED_AT: i64 = 20_000;

const ONE: &str = "SELECT e.id, e.document, b.sent, b.body, e.version, q.token FROM hookmill.events e \
     LEFT JOIN hookmill.event_bodies b ON b.company_id = $1 AND b.id = $2 \
     LEFT JOIN hookmill.queue q ON q.company_id = $1 AND q.event_id = $2 \
     WHERE e.company_id = $1 AND e.id = $2 \
     AND (q.event_id IS NOT NULL OR e.id >= (SELECT events_from FROM hookmill.installation))";

/// Returns the current state of an event, with what was sent. `None` if it has expired; queued events do not expire.
pub(super) async fn one(
    shared: &SharedDatabase,
    company: &CompanyId,
    id: EventId,
    token: Option<i64>,
) -> Result<Option<Versioned>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(ONE).await.map_err(failure::read)?;
    let row = client.query_opt(&statement, &[&company.as_str(), &id.0]).await.map_err(failure::read)?;
    let Some(row) = row else { return Ok(None) };
    let held: Option<i64> = row.get(5);
    if token.is_some() && token != held {
        return Ok(None);
    }
    Ok(Some(Versioned { event: whole_event(&row)?, version: version_of(row.get(4), held) }))
}

/// Returns a company's events, newest first. What a list examines is bounded, so a page may be short.
pub(super) async fn list(
    shared: &SharedDatabase,
    company: &CompanyId,
    filter: &EventFilter,
    after: Option<EventId>,
    limit: usize,
) -> Result<EventPage, StoreError> {
    let EventFilter { integration, status, reason, since, until, task_id, id, repeats } = filter;
    if id.as_ref().is_some_and(|it| it.contains('\0')) {
        // No id has one, and PostgreSQL takes no text with one.
        return Ok(EventPage { events: Vec::new(), next: None });
    }
    let client = shared.connections.read().await.map_err(failure::read)?;
    let until = until.map_or(Uuid::max(), first_id);
    let before = after.map_or(until, |it| it.0.min(until));
    let since = since.map_or(Uuid::nil(), first_id);
    let integrations: Vec<String> = integration.iter().map(|it| stored(it).into_owned()).collect();
    let statuses: Vec<i16> = status.iter().map(|it| *it as i16).collect();
    let reasons: Vec<String> = reason.iter().map(|it| stored(it).into_owned()).collect();
    let task = task_id.map(|it| it.0.to_string());
    let most = i64::try_from(limit).unwrap_or(i64::MAX - 1);
    let (company_id, first) = (company.as_str(), repeats.map(|it| it.0));
    let mut values: Vec<&(dyn ToSql + Sync)> =
        vec![&company_id, &before, &since, &integrations, &statuses, &reasons, &task, id, &most, &LOOKED_AT];
    values.extend(first.as_ref().map(|it| it as &(dyn ToSql + Sync)));
    let list = if first.is_some() { &*REPETITIONS } else { LIST };
    let statement = client.prepare_cached(list).await.map_err(failure::read)?;
    let rows = client.query(&statement, &values).await.map_err(failure::read)?;
    let sent = sent(&client, company, &rows).await.map_err(failure::read)?;
    let (mut page, mut shown) = (EventPage { events: Vec::new(), next: None }, 0);
    for row in &rows {
        let examined: i64 = row.get(0);
        if let Some(event) = listed(row, &sent)?.filter(|it| filter.fits(it)) {
            shown += json_bytes(&event);
            page.events.push(event);
        }
        let enough = page.events.len() == limit || examined >= LOOKED_AT || shown >= shared.options.page_bytes;
        if enough {
            page.next = Some(EventId(row.get(1)));
            break;
        }
    }
    Ok(page)
}

/// Returns what was sent, without bodies, of the events in these rows.
async fn sent(
    client: &Object,
    company: &CompanyId,
    rows: &[Row],
) -> Result<HashMap<Uuid, String>, tokio_postgres::Error> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(1)).collect();
    let (first, last) = (ids.iter().min(), ids.iter().max());
    let statement = client.prepare_cached(SENT).await?;
    let rows = client.query(&statement, &[&company.as_str(), &ids, &first, &last]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Reads an event without its body; `None` for the row that only says how far the list was examined.
fn listed(row: &Row, sent: &HashMap<Uuid, String>) -> Result<Option<Event>, StoreError> {
    let Some(document) = row.get::<_, Option<&str>>(2) else { return Ok(None) };
    let document: EventDocument = serde_json::from_str(document).map_err(|e| damaged("event", &e))?;
    let sent = sent.get(&row.get(1));
    let sent =
        sent.map_or(Ok(SentParts::default()), |it| serde_json::from_str(it).map_err(|e| damaged("event", &e)))?;
    Ok(Some(document.whole(sent, Bytes::new())))
}

// The last event that was examined is among the rows, without its document, if the page is not full before. Otherwise the
// rows after the page's last are not read. The lower bound is a comparison of rows, because the planner takes a range with an
// unknown end for a small one, which it would sort instead of reading the index in order.
const LIST: &str = "WITH matching AS MATERIALIZED ( \
       SELECT n, id, document FROM ( \
         SELECT row_number() OVER (ORDER BY id DESC) AS n, id, integration, status, stage, code, document FROM hookmill.events \
         WHERE company_id = $1 AND id < $2 \
         AND (company_id, id) >= ($1, greatest($3, (SELECT events_from FROM hookmill.installation))) \
         ORDER BY id DESC LIMIT $10 \
       ) examined WHERE (cardinality($4::text[]) = 0 OR integration = ANY($4)) \
       AND (cardinality($5::int2[]) = 0 OR status = ANY($5)) \
       AND (cardinality($6::text[]) = 0 OR stage = ANY($6) OR code = ANY($6)) \
       AND ($7::text IS NULL OR position($7 in document) > 0) AND ($8::text IS NULL OR position($8 in id::text) > 0) \
       ORDER BY id DESC LIMIT $9 \
     ), last AS ( \
       SELECT $10::int8 AS n, id, NULL::text AS document FROM ( \
         SELECT id FROM hookmill.events WHERE company_id = $1 AND id < $2 \
         AND (company_id, id) >= ($1, greatest($3, (SELECT events_from FROM hookmill.installation))) ORDER BY id DESC OFFSET $10::int8 - 1 LIMIT 1 \
       ) e WHERE (SELECT count(*) FROM matching) < $9 AND id NOT IN (SELECT id FROM matching) \
     ) \
     SELECT n, id, document FROM matching UNION ALL SELECT * FROM last ORDER BY 1";

/// The same of the duplicates of an event, which have an index of their own.
static REPETITIONS: LazyLock<String> = LazyLock::new(|| {
    LIST.replace("WHERE company_id = $1 AND id < $2", "WHERE company_id = $1 AND repeats = $11 AND id < $2")
});

const SENT: &str = "SELECT id, sent FROM hookmill.event_bodies \
     WHERE company_id = $1 AND id = ANY($2) AND id >= $3 AND id <= $4";

// The size of a column is known without reading it, so what is not returned is not read.
// Each event is looked up by itself: given all ids at once and no statistics yet, the planner may read a whole partition.
const OF_IDS: &str = "SELECT id, CASE WHEN newer < $3::int8 THEN document END, CASE WHEN newer < $3::int8 THEN sent END, \
       CASE WHEN newer < $3::int8 THEN body END \
     FROM ( \
       SELECT e.id, e.document, b.sent, b.body, coalesce(sum(octet_length(e.document)::int8 + coalesce(octet_length(b.sent), 0) \
         + coalesce(octet_length(b.body), 0)) OVER (ORDER BY e.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS newer \
       FROM (SELECT DISTINCT unnest($2::uuid[]) AS id) asked \
       CROSS JOIN LATERAL (SELECT id, document FROM hookmill.events WHERE company_id = $1 AND id = asked.id LIMIT 1) e \
       LEFT JOIN LATERAL (SELECT sent, body FROM hookmill.event_bodies WHERE company_id = $1 AND id = asked.id LIMIT 1) b ON true \
       WHERE e.id >= (SELECT events_from FROM hookmill.installation) \
     ) sized ORDER BY id DESC";

/// Returns these events with what was sent, as far as they exist and are not too large together.
pub(super) async fn of_ids(
    shared: &SharedDatabase,
    company: &CompanyId,
    ids: &[EventId],
) -> Result<WholeEvents, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|it| it.0).collect();
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(OF_IDS).await.map_err(failure::read)?;
    let values: [&(dyn ToSql + Sync); 3] = [&company.as_str(), &ids, &(WHOLE_BYTES as i64)];
    let rows = client.query(&statement, &values).await.map_err(failure::read)?;
    let mut read = WholeEvents::default();
    for row in &rows {
        match row.get::<_, Option<&str>>(1) {
            // One that cannot be read must not keep others from being found.
            Some(_) => match whole_event(row) {
                Ok(event) => read.events.push(event),
                Err(error) => {
                    let id: Uuid = row.get(0);
                    tracing::error!(event_id = %id, cause = %error, "an event cannot be read and is left out");
                }
            },
            None => read.unread.push(EventId(row.get(0))),
        }
    }
    Ok(read)
}

// For each company, its newest events are read in the order of the index; the ids of all of them are then sorted, and their
// sizes added up.
const BEFORE: &str = "SELECT e.id, e.company_id, coalesce(sum(octet_length(e.document)::int8 + coalesce(s.size, 0)) \
       OVER (ORDER BY e.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < $3::int8 AS fits FROM ( \
       SELECT e.* FROM hookmill.companies c CROSS JOIN LATERAL ( \
         SELECT id, company_id, document FROM hookmill.events WHERE company_id = c.company_id AND id < $1 \
         AND id >= (SELECT events_from FROM hookmill.installation) ORDER BY id DESC LIMIT $2 \
       ) e ORDER BY e.id DESC LIMIT $2 \
     ) e LEFT JOIN LATERAL ( \
       SELECT octet_length(sent) + octet_length(body) AS size FROM hookmill.event_bodies b \
       WHERE b.company_id = e.company_id AND b.id = e.id LIMIT 1 \
     ) s ON true ORDER BY e.id DESC";

/// Returns events of all companies with what was sent, newest first.
pub(super) async fn before(shared: &SharedDatabase, before: EventId, limit: usize) -> Result<EventPage, StoreError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(BEFORE).await.map_err(failure::read)?;
    let rows = client.query(&statement, &[&before.0, &most, &(WHOLE_BYTES as i64)]).await.map_err(failure::read)?;
    drop(client);
    let fitting = rows.iter().take_while(|row| row.get(2)).count();
    let mut companies: HashMap<String, Vec<EventId>> = HashMap::new();
    for row in &rows[..fitting] {
        companies.entry(row.get(1)).or_default().push(EventId(row.get(0)));
    }
    let mut events = Vec::with_capacity(fitting);
    for (company, mut ids) in companies {
        let Ok(company) = CompanyId::parse(&company) else { continue };
        // Together they fit, so this ends after one round, unless one was stored again meanwhile.
        while !ids.is_empty() {
            let read = of_ids(shared, &company, &ids).await?;
            events.extend(read.events);
            ids = read.unread;
        }
    }
    events.sort_unstable_by_key(|it| std::cmp::Reverse(it.id));
    let is_last = fitting == rows.len() && rows.len() < limit;
    let next = rows[..fitting].last().filter(|_| !is_last).map(|row| EventId(row.get(0)));
    Ok(EventPage { events, next })
}

/// Returns the queued events of all companies, in the order in which they were stored.
pub(super) async fn queued(shared: &SharedDatabase) -> Result<Vec<(CompanyId, EventId)>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let rows = client.query("SELECT company_id, event_id FROM hookmill.queue ORDER BY place", &[]).await;
    let named = |row: &Row| Some((CompanyId::parse(row.get(0)).ok()?, EventId(row.get(1))));
    Ok(rows.map_err(failure::read)?.iter().filter_map(named).collect())
}
