//! Memory that is used again: a request notes its event on one thread and ends on another, which allocators are slow at.

use std::sync::{Mutex, PoisonError};

/// Most vectors that are kept, and the most numbers that one of them has room for.
const KEPT: usize = 256;
const ROOM: usize = 4096;

/// Empty vectors to be used again.
#[derive(Default)]
pub(super) struct SpareMemory(Mutex<Vec<Vec<u64>>>);

impl SpareMemory {
    /// Takes an empty vector.
    pub(super) fn take(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives one back.
    pub(super) fn give(&self, mut used: Vec<u64>) {
        if used.capacity() <= ROOM {
            used.clear();
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(used);
            }
        }
    }
}
