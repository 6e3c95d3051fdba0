//! Drops the partitions of days whose events have all expired.
//!
//! A partition is detached concurrently, which locks out neither reads nor writes, and then dropped as a table of its own. A
//! long read (an export) delays that: the next sweep tries again, and finishes a detachment that was interrupted.

use tokio_postgres::Client;
use uuid::Uuid;

use super::failure::Trouble;
use super::leases::Lease;
use super::partitions::{self, Day, State, first_of, name};
use super::shared::SharedDatabase;

const LIMITS: &str = "SET lock_timeout = '2s'; SET statement_timeout = '60s'";
const QUEUED: &str = "SELECT EXISTS (SELECT 1 FROM hookmill.queue WHERE event_id >= $1 AND event_id < $2)";

/// Drops the days that lie below this event and have no queued events. Returns the number of bytes.
pub(super) async fn expire_events(shared: &SharedDatabase, lease: &Lease<'_>, from: Uuid) -> u64 {
    let mut bytes = 0;
    if let Err(trouble) = drop_days(shared, lease, from, &mut bytes).await {
        let cause = trouble.into_error();
        tracing::warn!(%cause, "expired events cannot be removed from the database now; the next sweep tries again");
    }
    bytes
}

async fn drop_days(shared: &SharedDatabase, lease: &Lease<'_>, from: Uuid, bytes: &mut u64) -> Result<(), Trouble> {
    let client = shared.connections.own().await?;
    client.batch_execute(LIMITS).await?;
    for (day, tables) in partitions::existing(&client).await? {
        if first_of(day + 1) > from || !lease.renew().await? {
            break;
        }
        if !queued(&client, day).await? {
            shared.partitions.dropped(day);
            *bytes += drop_day(&client, lease, day, &tables).await?;
        }
    }
    Ok(())
}

async fn drop_day(
    client: &Client,
    lease: &Lease<'_>,
    day: Day,
    tables: &[(&'static str, State)],
) -> Result<u64, Trouble> {
    for (table, state) in tables {
        let how = match state {
            State::Attached => "CONCURRENTLY",
            State::Detaching => "FINALIZE",
            State::Detached => continue,
        };
        // Each may take a minute.
        if !lease.renew().await? {
            return Ok(0);
        }
        let name = name(table, day);
        client.batch_execute(&format!("ALTER TABLE hookmill.{table} DETACH PARTITION hookmill.{name} {how}")).await?;
    }
    // An event of a wrong clock may have been stored meanwhile. From now on nothing can be.
    if queued(client, day).await? {
        for (table, _) in tables {
            let (name, from, to) = (name(table, day), first_of(day), first_of(day + 1));
            let attach = format!(
                "ALTER TABLE hookmill.{table} ATTACH PARTITION hookmill.{name} FOR VALUES FROM ('{from}') TO ('{to}')"
            );
            client.batch_execute(&attach).await?;
        }
        return Ok(0);
    }
    let mut bytes: i64 = 0;
    for (table, _) in tables {
        let name = format!("hookmill.{}", name(table, day));
        let size = client.query_one("SELECT pg_total_relation_size(to_regclass($1))", &[&name]).await?;
        bytes += size.get::<_, Option<i64>>(0).unwrap_or(0);
        client.batch_execute(&format!("DROP TABLE {name}")).await?;
    }
    Ok(bytes.unsigned_abs())
}

async fn queued(client: &Client, day: Day) -> Result<bool, Trouble> {
    Ok(client.query_one(QUEUED, &[&first_of(day), &first_of(day + 1)]).await?.get(0))
}
