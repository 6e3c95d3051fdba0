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
    /// Returns a sentence for the author of a TOML file: without the value, which may be a secret in the wrong place, and without
    /// the terms of JSON Schema.
    #[must_use]
    pub fn in_file(&self) -> String {
        let field = if self.pointer.is_empty() { "the file".to_owned() } else { self.field() };
        match self.code.as_str() {
            "required" | "unknown_field" | "min_length" if self.pointer.is_empty() => {
                let rest = self.message.strip_prefix("body ").map(|it| format!("{field} {it}"));
                return rest.unwrap_or_else(|| self.message.clone());
            }
            "required" | "unknown_field" | "min_length" => return self.message.clone(),
            _ => {}
        }
        let is = |part: &str| self.expected.contains(part);
        if is("\"falseSchema\"") {
            return format!("{field}: is not used with this kind, scheme or sender; remove it");
        }
        if is("\"oneOf\"") && field == "auth" {
            return "auth: name a sender or a scheme, not both".to_owned();
        }
        let words = [
            ("^[0-9]{4}-", "a date, such as 2026-11-25"),
            ("^https?://[^?#]", "an address that begins with http:// or https://, without a query"),
            ("^https?://", "an address that begins with http:// or https://"),
            ("^[a-z0-9", "a name of lower-case letters, digits and hyphens"),
        ];
        let expected = words.iter().find(|(pattern, _)| is(pattern)).map_or(self.expected.as_str(), |(_, it)| it);
        format!("{field}: is not {expected}")
    }

    /// Returns the field as people write it: `deadline`, `assigned_user_ids[0]`; `body` for the whole document.
    #[must_use]
    pub fn field(&self) -> String {
        field(&self.pointer)
    }
}
