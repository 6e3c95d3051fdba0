//! Task ids by row. Ids are stored in blocks of rows, so that a block whose tasks were all purged takes no memory.

use std::collections::BTreeMap;

use uuid::Uuid;

/// Number of rows in a block: 16 KiB of ids.
const BLOCK: u32 = 1024;

/// A company's task ids, by row.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<u32, Block>);

#[derive(Debug, Default)]
struct Block {
    /// Nil if the row has no task.
    ids: Vec<Uuid>,
    tasks: u32,
}

impl Ids {
    pub(super) fn get(&self, row: u32) -> Option<Uuid> {
        let block = self.0.get(&(row / BLOCK))?;
        block.ids.get((row % BLOCK) as usize).copied().filter(|id| !id.is_nil())
    }

    pub(super) fn put(&mut self, row: u32, id: Uuid) {
        let block = self.0.entry(row / BLOCK).or_default();
        let at = (row % BLOCK) as usize;
        if block.ids.len() <= at {
            block.ids.resize(at + 1, Uuid::nil());
        }
        block.tasks += u32::from(block.ids[at].is_nil());
        block.ids[at] = id;
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
        let mut ids = Ids::default();
        let id = |row: u32| Uuid::from_u128(u128::from(row) + 1);
        let rows = 10 * BLOCK;
        (0..rows).for_each(|row| ids.put(row, id(row)));
        assert_eq!(ids.0.len(), 10);
        (0..rows).filter(|row| row % 2 == 0).for_each(|row| ids.remove(row));
        assert_eq!(ids.from(BLOCK).next(), Some((BLOCK + 1, id(BLOCK + 1))));
        (0..rows - 1).for_each(|row| ids.remove(row));
        assert_eq!(ids.0.len(), 1, "the last task's block");
        assert_eq!(ids.from(0).collect::<Vec<_>>(), [(rows - 1, id(rows - 1))]);
        // A changed task is removed and put again. A second removal changes nothing.
        ids.put(rows - 1, id(3));
        ids.remove(rows - 2);
        assert_eq!((ids.get(rows - 1), ids.get(rows - 2), ids.get(u32::MAX)), (Some(id(3)), None, None));
        ids.put(u32::MAX - 1, id(4));
        assert_eq!(ids.from(rows).collect::<Vec<_>>(), [(u32::MAX - 1, id(4))]);
    }
}
