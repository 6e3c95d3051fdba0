//! The lineage of the database: a random number that says which history the numbers of changes belong to.
//!
//! After a restore, numbers are given out a second time, and a cursor of the change feed from before would skip changes. A
//! restored copy is in another cluster, or its write-ahead log has another timeline
//! (<https://www.postgresql.org/docs/current/continuous-archiving.html>, 26.3.5), or its tables have other object ids, because
//! they were created again from a dump. Each begins another lineage. So does a failover, because a standby may lack the last
//! changes.

use deadpool_postgres::Transaction;
use tokio_postgres::Client;

use super::failure::Trouble;

/// Identifies the cluster, its timeline, and the table.
const CLUSTER: &str = "SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || \
     'hookmill.installation'::regclass::oid::text FROM pg_control_system()";

/// Writes the first lineage.
pub(super) async fn begin(transaction: &Transaction<'_>) -> Result<(), Trouble> {
    let cluster: String = transaction.query_one(CLUSTER, &[]).await?.get(0);
    let insert = "INSERT INTO hookmill.installation (lineage, cluster) VALUES ($1, $2)";
    transaction.execute(insert, &[&random()?, &cluster]).await?;
    Ok(())
}

/// Returns the lineage; begins another one if the database is in another cluster or timeline than before.
pub(super) async fn current(client: &Client) -> Result<i64, Trouble> {
    let cluster: String = client.query_one(CLUSTER, &[]).await?.get(0);
    let update = "UPDATE hookmill.installation SET lineage = $1, cluster = $2 WHERE cluster <> $2";
    let changed = client.execute(update, &[&random()?, &cluster]).await?;
    if changed > 0 {
        tracing::warn!("the database was restored or has failed over: cursors of the change feed expire");
    }
    Ok(client.query_one("SELECT lineage FROM hookmill.installation", &[]).await?.get(0))
}

fn random() -> Result<i64, Trouble> {
    let number = getrandom::u64().map_err(|e| Trouble::Passing(format!("no randomness: {e}")))?;
    Ok(i64::from_ne_bytes(number.to_ne_bytes()))
}
