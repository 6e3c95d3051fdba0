//! Counts and sizes of a store.

/// What one [`Upkeep::expire`](super::Upkeep::expire) removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Number of expired idempotency keys.
    pub idempotency_keys: u64,
    /// Number of purged tasks.
    pub tasks: u64,
    /// Number of expired entries of the audit log.
    pub audit_entries: u64,
    /// Bytes of expired events that were returned to the file system.
    pub event_bytes: u64,
}

/// What a company has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct CompanyStats {
    /// Id of the company.
    pub company_id: String,
    /// Number of tasks, without deleted ones.
    pub tasks: u64,
    /// Number of soft-deleted tasks that are not purged yet.
    pub deleted_tasks: u64,
    /// Size of the stored tasks, in bytes.
    pub task_bytes: u64,
}

/// Counts and sizes for `hookmill store stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "StoreStats")]
pub struct Stats {
    /// Companies, sorted by id.
    pub companies: Vec<CompanyStats>,
    /// Number of API keys, including revoked ones.
    pub api_keys: u64,
    /// Number of idempotency keys.
    pub idempotency_keys: u64,
    /// Sizes on disk, in bytes, by kind of file.
    pub disk: std::collections::BTreeMap<String, u64>,
    /// Sequence of the last durable change.
    pub sequence: u64,
    /// Number of closed journal segments that were not read at the start and are still to be verified.
    #[serde(default)]
    pub unverified_segments: u64,
    /// Damage found in the journal since the start, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damages: Vec<String>,
    /// Number of entries of the read view that is being rebuilt; `None` if no rebuild is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<u64>,
}

impl Stats {
    /// Returns the number of entries of a complete read view.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let tasks: u64 = self.companies.iter().map(|it| it.tasks + it.deleted_tasks).sum();
        tasks + self.api_keys + self.idempotency_keys
    }
}
