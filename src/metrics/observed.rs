//! States that are looked up at each scrape. Nothing here may wait for the disk.

/// States at the time of one scrape.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Version of this build.
    pub(crate) version: &'static str,
    /// Time of the scrape, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Live integrations, by name.
    pub(crate) integrations: Vec<LiveIntegration>,
    /// Plugin folders that are refused.
    pub(crate) refused: u64,
    /// Plugin folders that are being loaded.
    pub(crate) loading: u64,
    /// Requests that count towards `limits.concurrency`.
    pub(crate) concurrency: u64,
    pub(crate) concurrency_limit: u64,
    pub(crate) queue_limit: u64,
    /// Queued deliveries of all servers, if they share the store.
    pub(crate) queue_stored: Option<u64>,
    /// Whether the store is in files of this server, whose sizes and backups are its own.
    pub(crate) has_files: bool,
    /// `store.reserve_mib`, in bytes.
    pub(crate) reserve_bytes: u64,
}

/// A live integration.
#[derive(Debug)]
pub(crate) struct LiveIntegration {
    pub(crate) name: String,
    pub(crate) company: String,
    pub(crate) version: String,
    /// Calls of its plugin that wait for a thread.
    pub(crate) waiting: u64,
}
