//! One violation of a schema.

use serde::Serialize;

use super::excerpt::field;

/// One violation of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Violation {
    /// JSON Pointer (RFC 6901) to the value; empty for the whole document.
    pub pointer: String,
    /// The violated rule in snake_case: `required`, `type`, `min_length`, `date_time` and so on.
    pub code: String,
    /// What would be valid.
    pub expected: String,
    /// The value as JSON, truncated to 64 characters because it may be a patient's.
    pub got: Option<String>,
    /// The violation as a sentence.
    pub message: String,
    /// What to do about it, if there is more to say.
    pub hint: Option<String>,
}

impl Violation {
    /// Returns the field as people write it: `deadline`, `assigned_user_ids[0]`; `body` for the whole document.
    #[must_use]
    pub fn field(&self) -> String {
        field(&self.pointer)
    }
}
