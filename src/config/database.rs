//! Settings of a PostgreSQL database.

use std::time::Duration;

use super::error::ConfigError;
use super::file::StoreFile;
use crate::model::secret::Secret;
use crate::store::embedded::StoreOptions;
use crate::store::postgres::{DatabaseUrl, PostgresOptions};

/// Fewest connections: six for writes, six for the node's own work, and one for reads.
const POOL_MIN: usize = 13;
/// Shortest lease: a busy node must be able to renew it.
const LEASE_MIN_MS: u64 = 1000;

/// Returns the settings, if there is a URL. `kept` has the retention.
pub(super) fn options(
    file: &str,
    flag: Option<&Secret>,
    given: &StoreFile,
    kept: &StoreOptions,
) -> Result<Option<PostgresOptions>, ConfigError> {
    let of_file = given.url.as_deref().map(|url| (url, "store.url"));
    let of_flag = flag.map(|url| (url.expose(), "--database-url or HOOKMILL_DATABASE_URL"));
    let Some((url, named)) = of_flag.or(of_file) else { return Ok(None) };
    let invalid = |cause: String| ConfigError::Parse { file: file.to_owned(), cause };
    // A secret that is missing must not make a server keep what it acknowledges to itself.
    let parsed = if url.is_empty() {
        Err("is empty; set it, or remove it to keep the data in the data directory".into())
    } else {
        DatabaseUrl::parse(url)
    };
    let url = parsed.map_err(|why| match flag {
        Some(_) => ConfigError::DatabaseUrl { named, why },
        None => invalid(format!("{named}: {why}")),
    })?;
    let default = PostgresOptions::new(url);
    let time = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
    if given.pool.is_some_and(|it| it < POOL_MIN) {
        return Err(invalid(format!("store.pool must be at least {POOL_MIN}")));
    }
    if given.lease_ms.is_some_and(|it| it < LEASE_MIN_MS) {
        return Err(invalid(format!("store.lease_ms must be at least {LEASE_MIN_MS}")));
    }
    Ok(Some(PostgresOptions {
        pool: given.pool.unwrap_or(default.pool),
        pool_wait: time(given.pool_wait_ms, default.pool_wait),
        lease: time(given.lease_ms, default.lease),
        idempotency: kept.idempotency,
        events: kept.events,
        deleted_tasks: kept.deleted_tasks,
        audit: kept.audit,
        page_bytes: kept.page_bytes,
        ..default
    }))
}
