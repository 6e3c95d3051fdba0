//! Settings of a PostgreSQL store; `[store]` and `[retention]` in `hookmill.toml`.

use std::time::Duration;

use super::url::DatabaseUrl;

/// Settings of a PostgreSQL store.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `store.url`: where the database is.
    pub url: DatabaseUrl,
    /// `store.pool`: number of connections of this node; 18 by default. Six are for writes, six for the node's own
    /// work, the others for reads. Long work (an export, the removal of expired days, a vacuum) opens one more.
    pub pool: usize,
    /// `store.pool_wait_ms`: how long a request waits for a connection; 5 s by default. Then 503.
    pub pool_wait: Duration,
    /// `store.lease_ms`: how long a node keeps its claims after it was last seen; 10 s by default.
    pub lease: Duration,
    /// `retention.idempotency_hours`: how long an idempotency key is stored; 24 h by default.
    pub idempotency: chrono::Duration,
    /// `retention.events_days`: how long events and their bodies are stored; 90 days by default, `None` is forever.
    pub events: Option<chrono::Duration>,
    /// `retention.deleted_tasks_days`: how long after its deletion a task is purged; 30 days by default, `None` is
    /// never.
    pub deleted_tasks: Option<chrono::Duration>,
    /// `retention.audit_days`: how long entries of the audit log are stored; six years by default, `None` is forever.
    pub audit: Option<chrono::Duration>,
    /// `limits.page_bytes`: maximum size of a page of a list as JSON, in bytes; 4 MiB by default.
    pub page_bytes: usize,
    /// What this node does, for the list of nodes; `command` if it is not a server.
    pub role: &'static str,
}

impl PostgresOptions {
    /// The default settings for this database.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            pool: 18,
            pool_wait: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            idempotency: chrono::Duration::hours(24),
            events: Some(chrono::Duration::days(90)),
            deleted_tasks: Some(chrono::Duration::days(30)),
            audit: Some(chrono::Duration::days(6 * 365)),
            page_bytes: 4 << 20,
            role: "command",
        }
    }
}
