//! Companies.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A company: every task, event and key belongs to exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct CompanyId(Arc<str>);

impl CompanyId {
    /// Maximum length of an id, in bytes. It is part of every stored key, so it is short.
    pub const MAX_LEN: usize = 64;

    /// Parses an id of letters, digits, `-`, `_` and `.`. It never contains a NUL, which ends the id in stored
    /// keys.
    ///
    /// # Errors
    /// A sentence that says which ids are valid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN;
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits && plain {
            return Ok(Self(text.into()));
        }
        Err(format!("a company id must have 1 to {} letters, digits, '-', '_' or '.'", Self::MAX_LEN))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CompanyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for CompanyId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}
