//! A decoded body.

use serde_json::Value;

/// How strictly a sender's values are read.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Accept JSON of the documented form only.
    pub strict: bool,
    /// Time zone of deadlines without an offset; UTC by default.
    pub timezone: chrono_tz::Tz,
}

/// The encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON: values have types.
    Json,
    /// A form: every value is text.
    Form,
}

/// A decoded body.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The decoded value.
    pub value: Value,
    /// Encoding of the body.
    pub encoding: Encoding,
    /// What was read loosely so far.
    pub loosened: Loosened,
}

/// Names of what was read loosely, each once, in order; for the response header `X-Loosened`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loosened(Vec<String>);

impl Loosened {
    /// Adds a name.
    pub fn add(&mut self, name: &str) {
        if !self.0.iter().any(|it| it == name) {
            self.0.push(name.to_owned());
        }
    }

    /// Returns the names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Returns the names as in `deadline,tags`; `None` if nothing was read loosely.
    #[must_use]
    pub fn header_value(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(","))
    }
}

/// Estimates how much memory a body takes once it is decoded, in bytes: for each value and name its entry in the
/// tree, and twice the text. Separators within texts count too, so the estimate is rather high.
#[must_use]
pub fn weight(body: &[u8]) -> usize {
    /// Size of a value, with its name and its place in a list that has grown, in bytes.
    const VALUE: usize = 96;
    let values = body.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{' | b'&' | b'\n')).count();
    body.len().saturating_mul(2).saturating_add(values.saturating_mul(VALUE))
}
