//! What a check of a data directory found.

use serde::Serialize;

use crate::store::error::StoreError;

/// Result of a check.
#[derive(Debug, Default, Clone, Serialize, schemars::JsonSchema)]
#[schemars(rename = "BackupReport")]
pub struct CheckReport {
    /// Number of records in the journal.
    pub records: u64,
    /// Number of events in the journal.
    pub events: u64,
    /// Sequence of the journal's last record.
    pub sequence: u64,
    /// Number of entries in the newest snapshot.
    pub snapshot_entries: u64,
    /// Number of entries in the read view; `None` if the directory has no view.
    pub view_entries: Option<u64>,
    /// Damage that this directory cannot repair, as sentences.
    pub damages: Vec<String>,
    /// Damage that a start or `--repair` repairs without loss, as sentences.
    pub repairable: Vec<String>,
    /// What could not be checked because the disk has too little free space, as sentences.
    pub unchecked: Vec<String>,
}

impl CheckReport {
    /// Adds a failed part of the check.
    pub(super) fn note(&mut self, what: &str, error: &StoreError) {
        let full = matches!(error, StoreError::Full { .. } | StoreError::NoSpace(_));
        let list = if full { &mut self.unchecked } else { &mut self.repairable };
        list.push(format!("{what}: {error}"));
    }
}
