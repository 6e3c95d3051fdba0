//! From any body to JSON of the documented shape.
//!
//! `decode.rs` reads the encoding (with `json.rs`, `form.rs`, `multipart.rs`), `envelope.rs` takes n8n's wrappers
//! off, `lax.rs` reads loose values, `change.rs` those of a change, `time.rs` deadlines; `batch.rs` cuts a body into
//! items. What was loosened is named in [`Loosened`].

mod batch;
mod change;
mod decode;
mod envelope;
mod form;
mod json;
mod lax;
mod multipart;
mod time;
mod values;

use serde_json::Value;

pub use batch::split;
pub use change::task_changes;
pub(crate) use decode::inner_json;
pub use decode::{DecodeError, decode};
pub use envelope::unwrap_envelope;
pub(crate) use lax::filter_text;
pub use lax::task_fields;
pub use time::{TimeError, format_utc, parse_deadline};
pub(crate) use values::is_blank;

/// How loosely a sender is read.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Take JSON of the documented shape only.
    pub strict: bool,
    /// The zone of deadlines without an offset; UTC by default.
    pub timezone: chrono_tz::Tz,
}

/// How a body was written.
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
    /// What it says.
    pub value: Value,
    /// How it was written.
    pub encoding: Encoding,
    /// What had to be read loosely so far.
    pub loosened: Loosened,
}

/// Names of what was read loosely, each once, in order; the response header `X-Loosened`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loosened(Vec<String>);

impl Loosened {
    /// Adds a name.
    pub fn add(&mut self, name: &str) {
        if !self.0.iter().any(|it| it == name) {
            self.0.push(name.to_owned());
        }
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// `deadline,tags`; nothing where nothing was loosened.
    #[must_use]
    pub fn header_value(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(","))
    }
}

/// About how much memory this body takes once it is decoded, in bytes: for each value and name, what the tree has for it,
/// and the text twice. Signs within text count as well, so it is rather too much.
#[must_use]
pub fn weight(body: &[u8]) -> usize {
    /// A value, with its name and its place in a list that has grown.
    const VALUE: usize = 96;
    let values = body.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{' | b'&' | b'\n')).count();
    body.len().saturating_mul(2).saturating_add(values.saturating_mul(VALUE))
}
