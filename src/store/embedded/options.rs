//! How an embedded store is run; `[store]` and `[retention]` in `hookmill.toml`.

use chrono::Duration;

/// Settings of an embedded store.
#[derive(Debug, Clone)]
pub struct Options {
    /// `store.segment_mib`: size of a journal segment, in bytes: 64 MiB. Space comes back in such pieces.
    pub segment_bytes: u64,
    /// `store.reserve_mib`: free space, in bytes, below which nothing is written any more: 256 MiB.
    pub reserve_bytes: u64,
    /// `store.snapshot_mib`: a snapshot is taken after this much journal, in bytes: 1 GiB. It bounds a rebuild.
    pub snapshot_bytes: u64,
    /// `retention.idempotency_hours`: for how long an idempotency key is remembered: 24 h.
    pub idempotency: Duration,
    /// `retention.events_days`: for how long events and their bodies are kept: 90 days; none is for ever.
    pub events: Option<Duration>,
    /// `retention.deleted_tasks_days`: how long after its deletion a task is purged: 30 days; none is never.
    pub deleted_tasks: Option<Duration>,
    /// `retention.audit_days`: how long entries of the audit log are kept: 2,190 days, six years, as HIPAA requires of
    /// documentation (45 CFR 164.316(b)(2)(i)); none is forever.
    pub audit: Option<Duration>,
    /// `limits.page_bytes`: JSON of a page of a list, in bytes: 4 MiB. A page ends before it, or with one item that is
    /// larger.
    pub page_bytes: usize,
    /// `store.group_access`: whether the group of the data directory may keep its rights, as a volume's group in Kubernetes
    /// needs: false. Everybody else never has any.
    pub group_access: bool,
    /// `serve --accept-loss`: serve what is left of a damaged journal.
    pub accept_loss: bool,
}

impl Default for Options {
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
