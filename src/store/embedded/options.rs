//! Settings of an embedded store; `[store]` and `[retention]` in `hookmill.toml`.

use chrono::Duration;

/// Settings of an embedded store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `store.segment_mib`: the size of a journal segment, in bytes; 64 MiB by default. Disk space is freed in such
    /// units.
    pub segment_bytes: u64,
    /// `store.reserve_mib`: free disk space, in bytes, below which writes are refused; 256 MiB by default.
    pub reserve_bytes: u64,
    /// `store.snapshot_mib`: journal bytes after which a snapshot is taken; 1 GiB by default. It bounds the time of
    /// a rebuild.
    pub snapshot_bytes: u64,
    /// `retention.idempotency_hours`: how long an idempotency key is stored; 24 h by default.
    pub idempotency: Duration,
    /// `retention.events_days`: how long events and their bodies are stored; 90 days by default, `None` is forever.
    pub events: Option<Duration>,
    /// `retention.deleted_tasks_days`: how long after its deletion a task is purged; 30 days by default, `None` is
    /// never.
    pub deleted_tasks: Option<Duration>,
    /// `retention.audit_days`: how long entries of the audit log are stored; 2,190 days (six years) by default, as
    /// HIPAA requires of documentation (45 CFR 164.316(b)(2)(i)). `None` is forever.
    pub audit: Option<Duration>,
    /// `limits.page_bytes`: maximum size of a page of a list as JSON, in bytes; 4 MiB by default. A page with a
    /// single larger item exceeds it.
    pub page_bytes: usize,
    /// `store.group_access`: whether the group of the data directory keeps its permissions, as a volume's group in
    /// Kubernetes needs; false by default. Other users never have access.
    pub group_access: bool,
    /// `serve --accept-loss`: start with what is left of a damaged journal.
    pub accept_loss: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: 256 << 20,
            snapshot_bytes: 1 << 30,
            idempotency: Duration::hours(24),
            events: Some(Duration::days(90)),
            deleted_tasks: Some(Duration::days(30)),
            audit: Some(Duration::days(6 * 365)),
            page_bytes: 4 << 20,
            group_access: false,
            accept_loss: false,
        }
    }
}
