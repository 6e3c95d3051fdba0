//! Taking snapshots while the store runs.

use std::sync::PoisonError;

use super::data_dir::snapshot_dir;
use super::shared::SharedStore;
use super::snapshot::{self, Snapshot};
use super::view::guarded;
use crate::metrics::store::STORE;
use crate::store::error::StoreError;

impl SharedStore {
    /// Takes a snapshot, unless the newest one covers this sequence already.
    pub(super) fn take_snapshot(&self, at_least: u64) -> Result<Snapshot, StoreError> {
        let mut current = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_snapshot_into(&mut current, at_least)
    }

    pub(super) fn take_snapshot_into(
        &self,
        current: &mut Option<Snapshot>,
        at_least: u64,
    ) -> Result<Snapshot, StoreError> {
        if let Some(snapshot) = current.as_ref().filter(|it| it.sequence >= at_least) {
            return Ok(snapshot.clone());
        }
        self.settle_at(at_least)?;
        let dir = snapshot_dir(&self.dir);
        // In this order: a view that takes over in between has more changes than `applied` says, never fewer.
        let applied = self.applied();
        let tree = self.current().tree;
        // The applier may be waiting for this lock to rebuild the view. This tick tells the watchdog that it does
        // not hang.
        let go_on = || {
            self.tick();
            !self.closing()
        };
        let written = guarded(|| snapshot::write(&tree, applied, &dir, &go_on));
        if !self.closing() {
            STORE.snapshots.ended(written.is_ok());
        }
        let snapshot = match written {
            Err(error @ (StoreError::Read(_) | StoreError::Damaged { .. })) => return Err(self.view_failed(error)),
            written => written?,
        };
        if let Err(error) = snapshot::keep_only(&dir, &snapshot) {
            tracing::warn!(cause = %error, "an old snapshot cannot be removed");
        }
        *current = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Returns about how many bytes of the journal a rebuild would replay.
    pub(super) fn journal_after_snapshot(&self) -> u64 {
        let current = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.segments.bytes_after(current.as_ref().map_or(0, |it| it.sequence))
    }
}
