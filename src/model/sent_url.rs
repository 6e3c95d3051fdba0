//! What a delivery's URL says apart from the integration's name: the query, and the rest of the path. Both are stored with the
//! event, without secrets.

use serde::{Deserialize, Serialize};

/// Stands for what is not stored.
pub const REMOVED: &str = "(removed)";

/// A parameter of the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SentParameter {
    /// Its name, decoded.
    pub name: String,
    /// Its value, decoded; `None` if it is not stored, because plugin.toml does not name it or it contains a secret.
    pub value: Option<String>,
}

/// Returns the rest of a path that may be passed on; empty if there was none, or if it was removed.
#[must_use]
pub fn passed_path(stored: &str) -> &str {
    if stored.starts_with('/') { stored } else { "" }
}
