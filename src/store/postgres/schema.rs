//! The version of the tables, and how they get to it: numbered SQL files, applied one after another under one lock.
//!
//! A node works with a schema one version older or newer than its own, so that nodes can be updated one after another.
//! A migration must therefore never break nodes of the version before it: it adds, and a later one removes.

use deadpool_postgres::Object;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::failure::Trouble;
use super::lineage;

/// The migrations in order; the first gives version 1.
const MIGRATIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// The version that this program has been written for.
pub(super) const VERSION: i32 = 1;

/// Key of the lock that migrations and partitions take for their transaction: "hookmill" as a number.
pub(super) const LOCK: i64 = 0x686f_6f6b_6d69_6c6c;

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// Version before; 0 without any tables.
    pub from: i32,
    /// Version now.
    pub to: i32,
}

/// Returns the version of the schema; 0 without any tables.
pub(super) async fn version(client: &Client) -> Result<i32, Trouble> {
    let there = client.query_one("SELECT to_regclass('hookmill.schema_version') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client.query_opt(READ, &[]).await.map_err(of_another)?;
    Ok(row.map_or(0, |it| it.get(0)))
}

const READ: &str = "SELECT version FROM hookmill.schema_version WHERE one";

/// Says that the schema is another program's, if the table lacks our columns.
fn of_another(error: tokio_postgres::Error) -> Trouble {
    if error.code() == Some(&SqlState::UNDEFINED_COLUMN) {
        let cause = "the schema \"hookmill\" of this database belongs to another program; use another database";
        return Trouble::Unusable(cause.into());
    }
    error.into()
}

/// Checks that this program works with a schema.
pub(super) fn fits(version: i32) -> Result<(), Trouble> {
    let problem = if version > VERSION + 1 {
        format!("the database has schema {version}, and this hookmill knows {VERSION}: update it")
    } else if version < VERSION - 1 {
        format!(
            "the database has schema {version}, and this hookmill needs {VERSION}: run `hookmill store migrate-schema`"
        )
    } else {
        return Ok(());
    };
    Err(Trouble::Unusable(problem))
}

/// Applies the migrations that are missing. Only one node does so at a time; the others wait.
///
/// # Errors
/// Fails if a node that is running would not work with the new schema, or a statement fails. Then nothing is changed.
pub(super) async fn migrate(client: &mut Object) -> Result<Migrated, Trouble> {
    // Nothing may be waiting here: `CREATE` needs no lock that requests hold for long.
    let transaction = client.transaction().await?;
    transaction.batch_execute("SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let there = transaction.query_one("SELECT to_regclass('hookmill.schema_version') IS NOT NULL", &[]).await?;
    let from: i32 = match there.get(0) {
        true => transaction.query_opt(READ, &[]).await.map_err(of_another)?.map_or(0, |row| row.get(0)),
        false => 0,
    };
    if from >= VERSION {
        fits(from)?;
        transaction.rollback().await?;
        return Ok(Migrated { from, to: from });
    }
    if from > 0 {
        let old = "SELECT count(*) FROM hookmill.nodes WHERE leased_until > now() AND schema_version < $1 - 1";
        let old: i64 = transaction.query_one(old, &[&VERSION]).await?.get(0);
        if old > 0 {
            let cause =
                format!("{old} running nodes are too old for schema {VERSION}; stop them, or update step by step");
            return Err(Trouble::Unusable(cause));
        }
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        transaction.batch_execute(migration).await?;
    }
    if from == 0 {
        lineage::begin(&transaction).await?;
    }
    transaction.execute("UPDATE hookmill.schema_version SET version = $1, changed_at = now()", &[&VERSION]).await?;
    transaction.commit().await?;
    Ok(Migrated { from, to: VERSION })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes are updated one after another, before or after the tables; a node of another age would damage data.
    #[test]
    fn a_schema_one_version_older_or_newer_fits_and_no_other() {
        for version in VERSION - 1..=VERSION + 1 {
            assert!(fits(version).is_ok(), "{version}");
        }
        for (version, advice) in [(VERSION - 2, "migrate-schema"), (VERSION + 2, "update it")] {
            let Err(Trouble::Unusable(cause)) = fits(version) else { panic!("{version}") };
            assert!(cause.contains(advice), "{cause}");
        }
    }
}
