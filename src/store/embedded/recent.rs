//! Changes that are durable but may not be in the read view yet. The writer looks here before it reads the view, so
//! that a decision never waits for the applier.
//!
//! A lookup is correct when every durable change is either in here or in the tree that is read. That holds because:
//! - A group is added as soon as it is durable, and removed only once `applied` has reached its last sequence. The
//!   tree is read after that check, so the tree has every group that was removed.
//! - `applied` never decreases, and no tree ever becomes current that lacks a change up to `applied`. A view that is
//!   swapped in (`ApplierWork::Swap`) first catches up to the `applied` of the old one, on the applier thread, which is the
//!   only one to advance it. A view that is rebuilt after a failure first catches up to everything acknowledged.
//!   Both become current (`SharedStore::replace`) before `applied` is set.
//! - The tree may have more than `applied` says. Groups are consulted newest first and before the tree, so that shows
//!   nothing that is not durable and nothing old.
//! - While the view has failed, the writer accepts nothing. A lookup that fails rejects its own change only.
//!
//! It is bounded by the groups that may be behind: the applier's queue, the one being applied and the one just written.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// New values by key; `None` if the key was removed.
pub(super) type Changes = HashMap<Vec<u8>, Option<Bytes>>;

/// Groups, oldest first, each with the sequence of its last record.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(u64, Changes)>);

impl Recent {
    /// Adds a group that has just become durable.
    pub(super) fn push(&mut self, last: u64, changes: Changes) {
        self.0.push_back((last, changes));
    }

    /// Removes the groups that the view has applied.
    pub(super) fn forget(&mut self, applied: u64) {
        while self.0.front().is_some_and(|(last, _)| *last <= applied) {
            self.0.pop_front();
        }
    }

    /// Returns the newest state of a key, if one of these groups changed it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.0.iter().rev().find_map(|(_, changes)| changes.get(key))
    }
}
