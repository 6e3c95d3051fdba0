//! Statements over arrays.

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;

use crate::store::postgres::failure::Trouble;

/// Executes a statement, unless it has nothing to do.
pub(super) async fn run(
    client: &Object,
    rows: usize,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<(), Trouble> {
    if rows == 0 {
        return Ok(());
    }
    let statement = client.prepare_cached(statement).await?;
    client.execute(&statement, parameters).await?;
    Ok(())
}
