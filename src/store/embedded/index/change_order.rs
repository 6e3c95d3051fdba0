//! A company's tasks in the order of their last changes.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::store::embedded::last_change::LastChange;

/// A company's tasks, including soft-deleted ones, ordered by their last changes; and the last change of its purged tasks.
#[derive(Debug, Default)]
pub(in super::super) struct ChangeOrder {
    tasks: BTreeSet<LastChange>,
    purged: Option<LastChange>,
}

impl ChangeOrder {
    pub(super) fn add(&mut self, change: LastChange) {
        self.tasks.insert(change);
    }

    pub(super) fn remove(&mut self, change: LastChange) {
        self.tasks.remove(&change);
    }

    /// Notes the last change of tasks that were purged.
    pub(super) fn purge(&mut self, last: LastChange) {
        self.purged = self.purged.max(Some(last));
    }

    /// Returns the last change of the purged tasks. A feed that is read from before it lacks a deletion.
    pub(in super::super) fn purged(&self) -> Option<LastChange> {
        self.purged
    }

    /// Returns the changes after this one, oldest first.
    pub(in super::super) fn after(&self, change: Option<LastChange>) -> impl Iterator<Item = LastChange> {
        let from = change.map_or(Bound::Unbounded, Bound::Excluded);
        self.tasks.range((from, Bound::Unbounded)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that reads on must meet every task at its last change, and no task twice.
    #[test]
    fn a_task_that_changes_moves_to_the_end() {
        let at = |sequence, row| LastChange { sequence, row };
        let mut order = ChangeOrder::default();
        // Rows 0 and 1 have values of the earlier format; 2 and 3 are of one record.
        let all = [at(0, 0), at(0, 1), at(7, 2), at(7, 3)];
        all.into_iter().rev().for_each(|it| order.add(it));
        assert_eq!(order.after(None).collect::<Vec<_>>(), all);
        assert_eq!(order.after(Some(at(7, 2))).collect::<Vec<_>>(), [at(7, 3)]);
        order.remove(at(0, 0));
        order.add(at(9, 0));
        assert_eq!(order.after(Some(at(0, 0))).collect::<Vec<_>>(), [at(0, 1), at(7, 2), at(7, 3), at(9, 0)]);
        order.purge(at(9, 0));
        order.purge(at(7, 2));
        assert_eq!(order.purged(), Some(at(9, 0)), "purged in another order than deleted");
    }
}
