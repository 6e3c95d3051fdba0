//! How the plugins folder is watched.

use std::time::Duration;

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
