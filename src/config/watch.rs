//! Where plugins come from, and how their folder is watched.

use std::time::Duration;

/// Where a server's plugins come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginSource {
    /// The plugins folder.
    #[default]
    Folder,
    /// The active versions in the PostgreSQL database.
    Database,
}

/// How the folder is watched.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether file system notifications are used; true by default.
    pub notifications: bool,
    /// How long a folder must be unchanged before it is loaded; 500 ms by default.
    pub settle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { notifications: true, settle: Duration::from_millis(500) }
    }
}
