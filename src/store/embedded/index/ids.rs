//! Task ids and times of update by row. They are stored in blocks of rows, so that a block whose tasks were all purged takes
//! no memory.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use uuid::Uuid;

/// Number of rows in a block: 24 KiB of ids and times.
const BLOCK: u32 = 1024;

/// A company's task ids, by row.
#[derive(Debug, Default)]
pub(super) struct TaskIds(BTreeMap<u32, RowBlock>);

#[derive(Debug, Default)]
struct RowBlock {
    /// Nil if the row has no task.
    ids: Vec<Uuid>,
    /// Times of the last updates, in nanoseconds since 1970.
    updated: Vec<i64>,
    /// Bounds of these times: a removal does not narrow them.
    first_updated: i64,
    last_updated: i64,
    tasks: u32,
}

impl TaskIds {
    pub(super) fn get(&self, row: u32) -> Option<Uuid> {
        let block = self.0.get(&(row / BLOCK))?;
        block.ids.get((row % BLOCK) as usize).copied().filter(|id| !id.is_nil())
    }

    pub(super) fn put(&mut self, row: u32, id: Uuid, updated: i64) {
        let block =
            self.0.entry(row / BLOCK).or_insert_with(|| RowBlock { first_updated: i64::MAX, ..RowBlock::default() });
        let at = (row % BLOCK) as usize;
        if block.ids.len() <= at {
            block.ids.resize(at + 1, Uuid::nil());
            block.updated.resize(at + 1, 0);
        }
        block.tasks += u32::from(block.ids[at].is_nil());
        block.ids[at] = id;
        block.updated[at] = updated;
        block.first_updated = block.first_updated.min(updated);
        block.last_updated = block.last_updated.max(updated);
    }

    pub(super) fn remove(&mut self, row: u32) {
        let Some(block) = self.0.get_mut(&(row / BLOCK)) else { return };
        let Some(id) = block.ids.get_mut((row % BLOCK) as usize).filter(|id| !id.is_nil()) else { return };
        *id = Uuid::nil();
        block.tasks -= 1;
        if block.tasks == 0 {
            self.0.remove(&(row / BLOCK));
        }
    }

    /// Returns whether the task of this row was updated at this time or later, in nanoseconds since 1970.
    pub(super) fn is_updated_since(&self, row: u32, since: i64) -> bool {
        let updated = self.0.get(&(row / BLOCK)).and_then(|it| it.updated.get((row % BLOCK) as usize));
        updated.is_some_and(|it| *it >= since)
    }

    /// Returns the rows that were updated at this time or later. Some of them may have no task any more. Only blocks with
    /// both older and newer tasks are looked through.
    pub(super) fn updated_since(&self, since: i64) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        for (number, block) in self.0.iter().filter(|(_, block)| block.last_updated >= since) {
            let rows = (number * BLOCK..).zip(&block.updated);
            if block.first_updated >= since {
                found.insert_range(number * BLOCK..=number * BLOCK + (BLOCK - 1));
            } else {
                found.extend(rows.filter(|(_, updated)| **updated >= since).map(|(row, _)| row));
            }
        }
        found
    }

    /// Returns the ids of blocks that have tasks updated at this time or later, in nanoseconds since 1970: all tasks that were
    /// created since, and others.
    pub(super) fn since(&self, since: i64) -> impl Iterator<Item = Uuid> {
        let blocks = self.0.values().filter(move |block| block.last_updated >= since);
        blocks.flat_map(|block| block.ids.iter().copied()).filter(|id| !id.is_nil())
    }

    /// Returns rows and ids from this row on, lowest first.
    pub(super) fn from(&self, row: u32) -> impl Iterator<Item = (u32, Uuid)> {
        let blocks = self.0.range(row / BLOCK..);
        let rows =
            blocks.flat_map(|(number, block)| (0..BLOCK).zip(&block.ids).map(|(at, id)| (*number * BLOCK + at, *id)));
        rows.filter(move |(at, id)| *at >= row && !id.is_nil())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that purges for years must not keep 16 bytes for every task that it has ever stored.
    #[test]
    fn blocks_whose_tasks_are_all_purged_take_no_memory() {
        let mut ids = TaskIds::default();
        let id = |row: u32| Uuid::from_u128(u128::from(row) + 1);
        let rows = 10 * BLOCK;
        (0..rows).for_each(|row| ids.put(row, id(row), 1));
        assert_eq!(ids.0.len(), 10);
        (0..rows).filter(|row| row % 2 == 0).for_each(|row| ids.remove(row));
        assert_eq!(ids.from(BLOCK).next(), Some((BLOCK + 1, id(BLOCK + 1))));
        (0..rows - 1).for_each(|row| ids.remove(row));
        assert_eq!(ids.0.len(), 1, "the last task's block");
        assert_eq!(ids.from(0).collect::<Vec<_>>(), [(rows - 1, id(rows - 1))]);
        // A changed task is removed and put again. A second removal changes nothing.
        ids.put(rows - 1, id(3), 1);
        ids.remove(rows - 2);
        assert_eq!((ids.get(rows - 1), ids.get(rows - 2), ids.get(u32::MAX)), (Some(id(3)), None, None));
        ids.put(u32::MAX - 1, id(4), 1);
        assert_eq!(ids.from(rows).collect::<Vec<_>>(), [(u32::MAX - 1, id(4))]);
    }

    /// A poll for what is new must not look at every task, and must leave none out.
    #[test]
    fn rows_are_found_by_the_time_of_their_update() {
        let mut ids = TaskIds::default();
        (0..3 * BLOCK).for_each(|row| ids.put(row, Uuid::from_u128(1), i64::from(row)));
        ids.put(5, Uuid::from_u128(1), 9000);
        let since = i64::from(3 * BLOCK - 2);
        assert_eq!(ids.updated_since(since).iter().collect::<Vec<_>>(), [5, 3 * BLOCK - 2, 3 * BLOCK - 1]);
        assert_eq!(ids.updated_since(i64::from(BLOCK)).len(), u64::from(2 * BLOCK) + 1);
        assert!(ids.is_updated_since(5, 9000) && !ids.is_updated_since(5, 9001) && !ids.is_updated_since(u32::MAX, 0));
    }
}
