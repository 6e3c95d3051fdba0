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
    /// Returns a sentence about a place in a TOML file: without the value, which may be a secret in the wrong place, and without the
    /// terms of JSON Schema.
    pub(super) fn in_file(&self, place: &str) -> String {
        if self.code == "min_length" {
            return format!("{place}: is empty");
        }
        let words = [
            ("^[0-9]{4}-", "a date, such as 2026-11-25"),
            ("^https?://[^?#]", "an address that begins with http:// or https://, without a query"),
            ("^https?://", "an address that begins with http:// or https://"),
            ("^[a-z0-9", "a name of lower-case letters, digits and hyphens"),
        ];
        let expected = words.iter().find(|(pattern, _)| self.expected.contains(pattern));
        format!("{place}: is not {}", expected.map_or(self.expected.as_str(), |(_, it)| it))
    }

    /// Returns the field as people write it: `deadline`, `assigned_user_ids[0]`; `body` for the whole document.
    #[must_use]
    pub fn field(&self) -> String {
        field(&self.pointer)
    }
}
