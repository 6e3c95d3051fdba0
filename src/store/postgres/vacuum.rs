//! Removes old versions of rows, which otherwise stay in the tables' files until PostgreSQL does so by itself.

use std::collections::BTreeSet;

use super::failure::Trouble;
use super::partitions::{self, Day, TABLES};
use super::shared::SharedDatabase;

/// Old rows that VACUUM could not remove (<https://www.postgresql.org/docs/current/monitoring-stats.html>, `n_dead_tup`).
const REMAINING: &str = "SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = 'hookmill' AND relname = ANY($1)";

/// Removes old versions of events of these days, and of responses. If that is not possible now, for example because another
/// client holds a snapshot, a warning says so: PostgreSQL does it later.
pub(super) async fn vacuum(shared: &SharedDatabase, days: &BTreeSet<Day>, answers: bool) {
    let names = days.iter().flat_map(|day| TABLES.map(|table| partitions::name(table, *day)));
    let tables: Vec<String> = names.chain(answers.then(|| "answers".to_owned())).collect();
    let cause = match run(shared, &tables).await {
        Ok(0) => return,
        Ok(rows) => format!("{rows} old rows are still visible to another client's transaction"),
        Err(trouble) => trouble.into_error().to_string(),
    };
    tracing::warn!(cause, "erased content stays in the tables of the database until their next VACUUM");
}

/// Returns the number of old rows that remain.
async fn run(shared: &SharedDatabase, tables: &[String]) -> Result<u64, Trouble> {
    if tables.is_empty() {
        return Ok(0);
    }
    let client = shared.connections.own().await?;
    client.batch_execute("SET statement_timeout = '15min'; SET lock_timeout = '30s'").await?;
    for table in tables {
        // A partition may have been dropped since.
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("hookmill.{table}")]).await?;
        if there.get(0) {
            client.batch_execute(&format!("VACUUM hookmill.{table}")).await?;
        }
    }
    // Rows of other tables are changed by requests all the time.
    let watched: Vec<&String> = tables.iter().filter(|it| !it.starts_with("events_")).collect();
    let remaining = client.query_one(REMAINING, &[&watched]).await?.get::<_, i64>(0);
    Ok(remaining.unsigned_abs())
}
