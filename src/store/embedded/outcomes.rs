//! The outcomes that the threads of a store tell each other.

use std::time::Instant;

use crate::store::error::StoreError;

/// How far the view is, and how the last operations ended.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) applied: u64,
    /// Why the journal accepts no more writes until a restart.
    pub(super) journal: Option<StoreError>,
    /// Why the view has failed, until it is rebuilt.
    pub(super) view: Option<StoreError>,
    /// Whether only reads of the view have failed, and no write.
    pub(super) readable: bool,
    /// Whether the last group did not fit on the disk.
    pub(super) full: bool,
    /// Whether the last write succeeded, and when this was known.
    pub(super) last_write: (bool, Instant),
}

/// Returns the error for callers when the view fails: a full disk is temporary, a damaged journal remains damaged,
/// and everything else is repaired by a rebuild.
pub(super) fn for_callers(error: StoreError) -> StoreError {
    match error {
        StoreError::Full { .. } | StoreError::NoSpace(_) | StoreError::Rebuilding(_) | StoreError::Journal(_) => error,
        other => StoreError::Rebuilding(other.to_string()),
    }
}
