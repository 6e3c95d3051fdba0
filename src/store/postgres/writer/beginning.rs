//! The beginning of a transaction that is written at once: it locks, draws its number, and checks what it takes for granted. If
//! that is not so, the transaction fails, and the batch is decided in the usual way.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;

use crate::store::postgres::failure::Trouble;

/// What a batch takes for granted.
pub(super) struct Beginning<'a> {
    pub(super) companies: Vec<&'a str>,
    /// Receipt of its oldest event: no patient of the companies has been erased since.
    pub(super) oldest: DateTime<Utc>,
}

/// All statements of this file.
pub(super) const STATEMENTS: [&str; 2] = [LOCK, NUMBER];

// A division by zero fails the transaction.
const LOCK: &str = "SELECT 1 / (CASE WHEN (SELECT count(*) FROM (SELECT 1 FROM hookmill.companies WHERE company_id = ANY($1) \
     ORDER BY company_id FOR UPDATE) AS locked) = $2 THEN 1 ELSE 0 END)";
// After the lock, so that it sees every erasure that was begun before.
const NUMBER: &str = "SELECT nextval('hookmill.changes'), 1 / (CASE WHEN EXISTS (SELECT 1 FROM hookmill.erasures \
     WHERE company_id = ANY($1) AND at >= $2) THEN 0 ELSE 1 END)";

impl Beginning<'_> {
    /// Sends the statements. They must be prepared.
    pub(super) async fn send(&self, client: &Object) -> Result<(), Trouble> {
        let count = i64::try_from(self.companies.len()).unwrap_or(i64::MAX);
        let locks: [&(dyn ToSql + Sync); 2] = [&self.companies, &count];
        let checks: [&(dyn ToSql + Sync); 2] = [&self.companies, &self.oldest];
        let (lock, number) = (client.prepare_cached(LOCK).await?, client.prepare_cached(NUMBER).await?);
        let (begun, locked, numbered) = tokio::join!(
            biased;
            client.batch_execute("BEGIN"),
            client.query_one(&lock, &locks),
            client.query_one(&number, &checks),
        );
        begun?;
        locked?;
        numbered?;
        Ok(())
    }
}
