//! Retention: removes what has expired. One node at a time does so.

use chrono::{DateTime, Duration, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::expire_events::expire_events;
use super::failure::Trouble;
use super::leases::Lease;
use super::shared::SharedDatabase;
use crate::store::error::StoreError;
use crate::store::id_time::first_id;
use crate::store::stats::Expired;

/// Number of rows that one statement removes.
const CHUNK: i64 = 1000;

// Indexes begin with the company. Rows that a write has locked are left for the next time, so that no write waits for this
// one while this one waits for it.
const ANSWERS: &str = "DELETE FROM hookmill.answers a USING ( \
       SELECT e.* FROM hookmill.companies c CROSS JOIN LATERAL ( \
         SELECT company_id, kind, name FROM hookmill.answers WHERE company_id = c.company_id AND expires_at <= $1 \
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED \
       ) e LIMIT $2 \
     ) e WHERE a.company_id = e.company_id AND a.kind = e.kind AND a.name = e.name AND a.expires_at <= $1";
const AUDIT: &str = "DELETE FROM hookmill.audit a USING ( \
       SELECT e.* FROM hookmill.companies c CROSS JOIN LATERAL ( \
         SELECT company_id, id FROM hookmill.audit WHERE company_id = c.company_id AND id < $1 ORDER BY id LIMIT $2 \
       ) e LIMIT $2 \
     ) e WHERE a.company_id = e.company_id AND a.id = e.id";
const DELETED: &str = "SELECT c.company_id FROM hookmill.companies c WHERE EXISTS ( \
       SELECT 1 FROM hookmill.tasks WHERE company_id = c.company_id AND deleted_at IS NOT NULL AND deleted_at < $1 \
     )";
const LOCK: &str = "SELECT 1 FROM hookmill.companies WHERE company_id = $1 FOR UPDATE";
const PURGE: &str = "WITH gone AS ( \
       DELETE FROM hookmill.tasks WHERE company_id = $1 AND id = ANY(ARRAY( \
         SELECT id FROM hookmill.tasks WHERE company_id = $1 AND deleted_at IS NOT NULL AND deleted_at < $2 \
         ORDER BY deleted_at LIMIT $3 \
       )) RETURNING change \
     ), last AS (SELECT count(*) AS purged, max(change) AS change FROM gone), noted AS ( \
       UPDATE hookmill.companies c SET purged = greatest(c.purged, last.change) FROM last \
       WHERE c.company_id = $1 AND last.purged > 0 \
     ) SELECT purged FROM last";
// Times of the database: a node's clock may be wrong.
const OTHERS: &str = "DELETE FROM hookmill.erasures WHERE begun_at < now() - interval '24 hours'";

/// Removes everything that has expired. Does nothing while another node does so.
pub(super) async fn expire(shared: &SharedDatabase, now: DateTime<Utc>) -> Result<Expired, StoreError> {
    let lease = Lease::take(shared, "expire").await.map_err(Trouble::into_error)?;
    let Some(lease) = lease else { return Ok(Expired::default()) };
    let mut expired = Expired::default();
    let swept = sweep(shared, &lease, now, &mut expired).await;
    if let Err(trouble) = lease.release().await {
        tracing::debug!(cause = ?trouble, "a lease ends by itself");
    }
    swept.map_err(Trouble::into_error)?;
    Ok(expired)
}

async fn sweep(
    shared: &SharedDatabase,
    lease: &Lease<'_>,
    now: DateTime<Utc>,
    expired: &mut Expired,
) -> Result<(), Trouble> {
    // First, because writes need them.
    shared.partitions.ahead(&shared.connections, now).await?;
    expired.idempotency_keys = delete(shared, lease, ANSWERS, &now).await?;
    if let Some(age) = shared.options.deleted_tasks {
        expired.tasks = purge(shared, lease, now - age).await?;
    }
    if let Some(age) = shared.options.audit {
        expired.audit_entries = delete(shared, lease, AUDIT, &first_id(now - age)).await?;
    }
    if let Some(age) = shared.options.events {
        expired.event_bytes = events(shared, lease, now, age).await?;
    }
    shared.connections.write().await?.batch_execute(OTHERS).await?;
    Ok(())
}

/// Deletes rows below a limit, until there are none.
async fn delete(
    shared: &SharedDatabase,
    lease: &Lease<'_>,
    statement: &str,
    limit: &(dyn ToSql + Sync),
) -> Result<u64, Trouble> {
    let mut all = 0;
    while lease.renew().await? {
        let client = shared.connections.write().await?;
        let count = client.execute(statement, &[limit, &CHUNK]).await?;
        all += count;
        if count == 0 {
            break;
        }
    }
    Ok(all)
}

/// Purges tasks that were deleted before this time.
async fn purge(shared: &SharedDatabase, lease: &Lease<'_>, before: DateTime<Utc>) -> Result<u64, Trouble> {
    let companies = shared.connections.write().await?.query(DELETED, &[&before]).await?;
    let mut all = 0;
    for company in &companies {
        let company: &str = company.get(0);
        while lease.renew().await? {
            let mut client = shared.connections.write().await?;
            let transaction = client.transaction().await?;
            transaction.execute(LOCK, &[&company]).await?;
            let count: i64 = transaction.query_one(PURGE, &[&company, &before, &CHUNK]).await?.get(0);
            transaction.commit().await?;
            all += count.unsigned_abs();
            if count < CHUNK {
                break;
            }
        }
    }
    Ok(all)
}

/// The oldest queued event.
const QUEUED: &str = "SELECT q.event_id FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT event_id FROM hookmill.queue WHERE company_id = c.company_id ORDER BY event_id LIMIT 1 \
     ) q ORDER BY q.event_id LIMIT 1";
const RAISE: &str = "UPDATE hookmill.installation SET events_from = $1 WHERE events_from < $1";

/// Hides expired events, and drops the days that have only such. Queued events, and all events received after them, are kept
/// until they are processed.
async fn events(shared: &SharedDatabase, lease: &Lease<'_>, now: DateTime<Utc>, age: Duration) -> Result<u64, Trouble> {
    let client = shared.connections.write().await?;
    let queued: Option<Uuid> = client.query_opt(QUEUED, &[]).await?.map(|row| row.get(0));
    let before = first_id(now - age);
    client.execute(RAISE, &[&queued.map_or(before, |it| it.min(before))]).await?;
    let from: Uuid = client.query_one("SELECT events_from FROM hookmill.installation", &[]).await?.get(0);
    drop(client);
    Ok(expire_events(shared, lease, from).await)
}
