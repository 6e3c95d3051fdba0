//! Counts and sizes.

use tokio_postgres::error::SqlState;

use super::failure::{self, Trouble};
use super::shared::SharedDatabase;
use crate::store::error::StoreError;
use crate::store::stats::{CompanyStats, Stats};

const COMPANIES: &str = "SELECT company_id, count(*) FILTER (WHERE deleted_at IS NULL), \
     count(*) FILTER (WHERE deleted_at IS NOT NULL), \
     sum(octet_length(document)::int8 + coalesce(octet_length(original), 0))::int8 \
     FROM hookmill.tasks GROUP BY company_id ORDER BY company_id";
const OTHERS: &str = "SELECT (SELECT count(*) FROM hookmill.api_keys), (SELECT count(*) FROM hookmill.answers), \
     (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM hookmill.changes)";
/// Each table with its indexes; the partitions of a table together.
const DISK: &str = "SELECT regexp_replace(c.relname, '_[0-9]{8}$', ''), coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = 'hookmill' AND c.relkind = 'r' GROUP BY 1";

/// Counts everything. It reads whole tables, within the time limit of a statement.
pub(super) async fn stats(shared: &SharedDatabase) -> Result<Stats, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let number = |row: &tokio_postgres::Row, at: usize| row.get::<_, i64>(at).unsigned_abs();
    let companies = client.query(COMPANIES, &[]).await.map_err(too_long)?;
    let companies = companies.iter().map(|row| CompanyStats {
        company_id: row.get(0),
        tasks: number(row, 1),
        deleted_tasks: number(row, 2),
        task_bytes: number(row, 3),
    });
    let others = client.query_one(OTHERS, &[]).await.map_err(too_long)?;
    let disk = client.query(DISK, &[]).await.map_err(too_long)?;
    Ok(Stats {
        companies: companies.collect(),
        api_keys: number(&others, 0),
        idempotency_keys: number(&others, 1),
        disk: disk.iter().map(|row| (row.get(0), number(row, 1))).collect(),
        sequence: number(&others, 2),
        ..Stats::default()
    })
}

fn too_long(error: tokio_postgres::Error) -> StoreError {
    if error.code() == Some(&SqlState::QUERY_CANCELED) {
        let cause = "counting takes longer than a statement may (20 s); ask the database itself, for example with \
                     SELECT count(*) FROM hookmill.tasks";
        return StoreError::Unavailable(cause.into());
    }
    failure::read(Trouble::from(error))
}
