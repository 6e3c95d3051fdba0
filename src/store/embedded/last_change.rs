//! A task's place in the order of its company's changes.

/// The place of a task in the order of changes: changes of one record of the journal are ordered by row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct LastChange {
    /// The sequence of the journal's record with the task's newest value; 0 for a value in format 2, which has none.
    pub(super) sequence: u64,
    /// The task's row.
    pub(super) row: u32,
}
