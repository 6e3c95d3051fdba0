//! How far changes have come, and how the last write and the last use of the view ended.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::outcomes::for_callers;
use super::shared::SharedStore;
use crate::metrics::store::STORE;
use crate::store::error::StoreError;

impl SharedStore {
    pub(super) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    pub(super) fn set_acked(&self, sequence: u64) {
        self.acked.store(sequence, Ordering::Release);
        STORE.acked.set(sequence);
    }

    pub(super) fn applied(&self) -> u64 {
        self.progress().applied
    }

    pub(super) fn set_applied(&self, sequence: u64) {
        self.progress().applied = sequence;
        STORE.applied.set(sequence);
        self.tick();
        self.moved.notify_all();
    }

    /// Returns whether the applier has work to do.
    pub(super) fn is_behind(&self) -> bool {
        let progress = self.progress();
        match &progress.view {
            // The applier can do nothing about a damaged journal.
            Some(StoreError::Journal(_)) => false,
            Some(_) => true,
            None => progress.applied < self.acked(),
        }
    }

    /// Marks the view as failed: writes are refused until another view takes over. Returns the error for callers.
    pub(super) fn view_failed(&self, error: StoreError) -> StoreError {
        let readable = matches!(error, StoreError::Read(_) | StoreError::Damaged { .. });
        let error = for_callers(error);
        let mut progress = self.progress();
        progress.readable &= readable;
        progress.view = Some(error.clone());
        drop(progress);
        STORE.view_failed.set(1);
        self.moved.notify_all();
        let _already_awake = self.broken.try_send(());
        error
    }

    /// Records why the failed view cannot be rebuilt yet.
    pub(super) fn not_healed(&self, error: StoreError) {
        self.progress().view = Some(for_callers(error));
        self.moved.notify_all();
    }

    /// Returns whether only reads of the failed view have failed, and resets this for the next view.
    pub(super) fn take_readable(&self) -> bool {
        std::mem::replace(&mut self.progress().readable, true)
    }

    /// Records whether the last group did not fit on the disk.
    pub(super) fn set_full(&self, full: bool) {
        self.progress().full = full;
    }

    /// Returns why the view has failed; `None` once it is rebuilt.
    pub(super) fn view_error(&self) -> Option<StoreError> {
        self.progress().view.clone()
    }

    pub(super) fn journal_failed(&self, error: StoreError) {
        STORE.journal_failed.set(1);
        self.progress().journal = Some(error);
    }

    /// Waits until the view has everything that was acknowledged.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.settle_at(self.acked())
    }

    pub(super) fn settle_at(&self, sequence: u64) -> Result<(), StoreError> {
        let mut progress = self.progress();
        // A view that cannot be rebuilt answers no reads, even if it still has some data.
        if let Some(error @ StoreError::Journal(_)) = &progress.view {
            return Err(error.clone());
        }
        while progress.applied < sequence {
            if let Some(error) = &progress.view {
                return Err(error.clone());
            }
            progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Records the outcome of a write.
    pub(super) fn wrote(&self, succeeded: bool) {
        self.progress().last_write = (succeeded, Instant::now());
    }

    /// Records the outcome of a probe that began at this time, unless a write has failed since.
    pub(super) fn probed(&self, succeeded: bool, began: Instant) {
        let mut progress = self.progress();
        let (last, at) = progress.last_write;
        if last || at < began {
            progress.last_write = (succeeded, Instant::now());
        }
    }

    /// Pretends that the last write succeeded this long ago.
    #[cfg(test)]
    pub(super) fn forget_last_write(&self, ago: Duration) {
        self.progress().last_write = (true, Instant::now().checked_sub(ago).unwrap());
    }

    /// Returns whether the last write succeeded, and how long ago this was known.
    pub(super) fn last_write(&self) -> (bool, Duration) {
        let (succeeded, at) = self.progress().last_write;
        (succeeded, at.elapsed())
    }
}
