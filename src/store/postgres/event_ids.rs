//! Which events there are: what a node needs to notice those that other nodes have stored.

use std::ops::Range;

use tokio_postgres::Row;
use uuid::Uuid;

use super::failure;
use super::shared::SharedDatabase;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::store::{EventCount, StoreError};

/// Digits that the ids of 4.1 seconds have in common: they begin with 48 bits of milliseconds (RFC 9562, version 7).
const DIGITS: usize = 9;

const COUNTS: &str = "SELECT e.company_id, left(replace(e.id::text, '-', ''), $2::int4), count(*) FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT id, company_id FROM hookmill.events WHERE company_id = c.company_id AND id >= $1 \
     ) e GROUP BY 1, 2";

/// Returns how many events each company has from this id on.
pub(super) async fn counts(shared: &SharedDatabase, since: EventId) -> Result<Vec<EventCount>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(COUNTS).await.map_err(failure::read)?;
    let rows = client.query(&statement, &[&since.0, &(DIGITS as i32)]).await.map_err(failure::read)?;
    Ok(rows.iter().filter_map(|row| count(row, since)).collect())
}

fn count(row: &Row, since: EventId) -> Option<EventCount> {
    let first = u128::from_str_radix(row.get(1), 16).ok()?;
    let id = |it: u128| EventId(Uuid::from_u128(it << (128 - 4 * DIGITS)));
    Some(EventCount {
        company: CompanyId::parse(row.get(0)).ok()?,
        ids: id(first).max(since)..id(first + 1),
        count: u64::try_from(row.get::<_, i64>(2)).ok()?,
    })
}

const IDS: &str = "SELECT id FROM hookmill.events WHERE company_id = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4";

/// Returns a company's events of a range, oldest first, at most so many.
pub(super) async fn ids(
    shared: &SharedDatabase,
    company: &CompanyId,
    range: Range<EventId>,
    most: usize,
) -> Result<Vec<EventId>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(IDS).await.map_err(failure::read)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&company.as_str(), &range.start.0, &range.end.0, &most]).await;
    Ok(rows.map_err(failure::read)?.iter().map(|row| EventId(row.get(0))).collect())
}
