//! Leases of periodic work: of the nodes on a database, one at a time does it.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::failure::Trouble;
use super::shared::SharedDatabase;
use crate::model::time::now;

/// How long work may take without renewing its lease, in seconds.
const TIME: f64 = 120.0;

const TAKE: &str = "INSERT INTO hookmill.leases (name, node, leased_until) VALUES ($1, $2, now() + $3 * interval '1 second') \
     ON CONFLICT (name) DO UPDATE SET node = excluded.node, leased_until = excluded.leased_until \
     WHERE leases.node = excluded.node OR leases.leased_until < now()";
const CLOCK: &str = "SELECT clock_timestamp()";
/// How far this node's clock may be from the database's. Retention goes by this node's clock, and cannot be undone.
const CLOCK_DIFFERS: chrono::Duration = chrono::Duration::seconds(60);

/// The right to do this work.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    shared: &'a SharedDatabase,
    name: &'static str,
    /// The node that took it. This node may get another id meanwhile.
    node: Uuid,
}

impl<'a> Lease<'a> {
    /// Takes a lease; `None` if another node has it.
    ///
    /// # Errors
    /// Also fails if this node's clock is wrong.
    pub(super) async fn take(shared: &'a SharedDatabase, name: &'static str) -> Result<Option<Self>, Trouble> {
        if shared.left.load(Ordering::Acquire) {
            return Ok(None);
        }
        let clock = shared.connections.write().await?.query_one(CLOCK, &[]).await?;
        let ahead = now() - clock.get::<_, DateTime<Utc>>(0);
        if ahead.abs() > CLOCK_DIFFERS {
            let (seconds, side) =
                (ahead.num_seconds().abs(), if ahead.num_seconds() > 0 { "ahead of" } else { "behind" });
            return Err(Trouble::Unusable(format!(
                "this server's clock is {seconds} seconds {side} the database's; set it, because expired data is removed by it"
            )));
        }
        let lease = Self { shared, name, node: shared.node() };
        Ok(lease.renew().await?.then_some(lease))
    }

    /// Keeps it for as long again. Returns false if another node has it, because this one was too slow.
    pub(super) async fn renew(&self) -> Result<bool, Trouble> {
        let client = self.shared.connections.write().await?;
        Ok(client.execute(TAKE, &[&self.name, &self.node, &TIME]).await? == 1)
    }

    /// Gives it back, so that another node need not wait until it ends.
    pub(super) async fn release(self) -> Result<(), Trouble> {
        let client = self.shared.connections.write().await?;
        let delete = "DELETE FROM hookmill.leases WHERE name = $1 AND node = $2";
        client.execute(delete, &[&self.name, &self.node]).await?;
        Ok(())
    }
}
