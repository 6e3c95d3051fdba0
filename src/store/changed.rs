//! What other servers on the same database have changed.

/// Numbers that increase with each change, within one lineage. They are compared, and mean nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedVersions {
    /// API keys.
    pub keys: i64,
    /// Plugins that are stored in the database.
    pub plugins: i64,
    /// The history that the numbers belong to. In another one, the same number may mean something else.
    pub lineage: i64,
}
