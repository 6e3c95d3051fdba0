//! The feed of a company's changes: each task once, at its last change.
//!
//! Numbers of changes are given out while the company's row is locked, so a change with a lower number is always visible
//! before one with a higher number: a client that has read up to a number has not missed any. `embedded/feed.rs` explains
//! what a cursor holds.

use serde::{Deserialize, Serialize};

use super::failure;
use super::shared::SharedDatabase;
use super::writer::task;
use crate::model::company::CompanyId;
use crate::store::error::StoreError;
use crate::store::feed::{ChangeFeed, FeedCursor, FeedPage};
use crate::store::json_size::json_bytes;

/// What a cursor holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FeedPlace {
    lineage: i64,
    /// The number of the last change when the client began.
    floor: i64,
    /// The last change that the client has; 0 for none.
    last: i64,
}

const PAGE: &str = "SELECT c.purged, c.newest, t.change, t.document FROM ( \
       SELECT coalesce((SELECT purged FROM hookmill.companies WHERE company_id = $1), 0) AS purged, \
       coalesce((SELECT change FROM hookmill.tasks WHERE company_id = $1 ORDER BY change DESC LIMIT 1), 0) AS newest \
     ) c LEFT JOIN LATERAL ( \
       SELECT change, document FROM hookmill.tasks WHERE company_id = $1 AND change > $2 ORDER BY change LIMIT $3 \
     ) t ON true ORDER BY t.change";

/// Returns the changes after this cursor, or from the first one on: at most so many.
pub(super) async fn feed(
    shared: &SharedDatabase,
    company: &CompanyId,
    after: Option<&FeedCursor>,
    limit: usize,
) -> Result<ChangeFeed, StoreError> {
    let lineage = shared.lineage();
    let begun: Option<FeedPlace> = match after.map(|it| postcard::from_bytes::<FeedPlace>(it.bytes())) {
        None => None,
        Some(Ok(it)) if it.lineage == lineage => Some(it),
        Some(_) => return Ok(ChangeFeed::Expired),
    };
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(PAGE).await.map_err(failure::read)?;
    let last = begun.as_ref().map_or(0, |it| it.last);
    let most = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
    let rows = client.query(&statement, &[&company.as_str(), &last, &most]).await.map_err(failure::read)?;
    let (purged, newest): (i64, i64) = rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
    if begun.as_ref().is_some_and(|it| purged > it.last.max(it.floor)) {
        return Ok(ChangeFeed::Expired);
    }
    let position = begun.unwrap_or(FeedPlace { lineage, floor: newest.max(purged), last: 0 });
    let (mut tasks, mut bytes, mut last) = (Vec::new(), 0, None);
    let changes = rows.iter().filter_map(|row| Some((row.get::<_, Option<i64>>(2)?, row)));
    for (change, row) in changes.take(limit) {
        let task = task(row.get(3))?;
        bytes += json_bytes(&task);
        if bytes > shared.options.page_bytes && !tasks.is_empty() {
            break;
        }
        last = Some(change);
        tasks.push(task);
    }
    let Some(last) = last else {
        // The same cursor, so that a client that polls may keep it.
        let next = after.cloned().map_or_else(|| position.cursor(), Ok)?;
        return Ok(ChangeFeed::Page(FeedPage { tasks, next, has_more: false }));
    };
    let has_more = rows.len() > tasks.len();
    let floor = if last > position.floor { 0 } else { position.floor };
    let next = FeedPlace { floor, last, ..position }.cursor()?;
    Ok(ChangeFeed::Page(FeedPage { tasks, next, has_more }))
}

impl FeedPlace {
    fn cursor(&self) -> Result<FeedCursor, StoreError> {
        postcard::to_stdvec(self).map(|it| FeedCursor::new(&it)).map_err(|e| StoreError::Read(e.to_string()))
    }
}
