//! Body encodings: JSON, JSON in a JSON string, forms, and JSON under another name.

use serde_json::Value;

use super::{Encoding, Loosened, Payload, Rules, form, json, multipart};
use crate::schema::cut;

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing was sent.
    #[error("the body is empty")]
    Empty,
    /// Text that is no text.
    #[error("the body is not UTF-8: the byte at offset {offset} fits no character")]
    NotUtf8 {
        /// Bytes before it.
        offset: usize,
    },
    /// Broken JSON.
    #[error("the body is not JSON: {message} at line {line}, column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// JSON nested beyond reason.
    #[error("the body is nested deeper than {limit} levels")]
    TooDeep {
        /// Levels.
        limit: usize,
    },
    /// A name twice in one object: nobody can say which one counts.
    #[error("the name \"{key}\" stands twice in one object")]
    DuplicateKey {
        /// The name, cut to 64 characters.
        key: String,
    },
    /// A number that no 64-bit float holds.
    #[error("a number in the body is too large")]
    NumberOutOfRange,
    /// Neither JSON nor a form.
    #[error("the body is neither JSON nor a form: its content type is {got}")]
    UnsupportedMediaType {
        /// The content type, cut to 64 characters.
        got: String,
    },
    /// Several items where one is due.
    #[error("the body holds {count} items, and one is due")]
    MultipleItems {
        /// How many.
        count: usize,
    },
    /// JSON, and no object.
    #[error("the body is {got}, and an object is due")]
    NotAnObject {
        /// The kind of value.
        got: &'static str,
    },
    /// A batch without items.
    #[error("the batch holds no items")]
    NoItems,
    /// A batch beyond reason.
    #[error("the batch holds {count} items, and at most {limit} are taken at once")]
    TooManyItems {
        /// How many.
        count: usize,
        /// Most.
        limit: usize,
    },
    /// No batch.
    #[error("the body is no list of tasks")]
    NotAList,
    /// A broken form.
    #[error("the form cannot be read: {message}")]
    Form {
        /// What is wrong.
        message: String,
    },
}

impl DecodeError {
    /// The error's `detail.code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_body",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::Json { .. } => "malformed_json",
            Self::TooDeep { .. } => "too_deep",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::MultipleItems { .. } => "multiple_items",
            Self::NotAnObject { .. } => "not_an_object",
            Self::NoItems => "no_items",
            Self::TooManyItems { .. } => "too_many_items",
            Self::NotAList => "not_a_list",
            Self::Form { .. } => "malformed_form",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("send a JSON object"),
            Self::NotUtf8 { .. } => Some("send the text as UTF-8"),
            Self::UnsupportedMediaType { .. } => Some("send JSON, with Content-Type: application/json"),
            Self::MultipleItems { .. } => {
                Some("send one request for each item, or tasks together to POST /v1/tasks/batch")
            }
            Self::TooManyItems { .. } => Some("send them in several batches"),
            Self::NoItems | Self::NotAList => Some("send an array of tasks, {\"tasks\": [...]}, or a task a line"),
            Self::NumberOutOfRange => Some("send it as text"),
            Self::DuplicateKey { .. } => Some("send it once"),
            Self::Json { .. } | Self::TooDeep { .. } | Self::NotAnObject { .. } | Self::Form { .. } => None,
        }
    }
}

/// What a content type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Form,
    Multipart,
    Lines,
    Other,
}

/// Reads a body.
///
/// # Errors
/// Where it is none of the encodings, or a broken one.
pub fn decode(content_type: Option<&str>, body: &[u8], rules: &Rules) -> Result<Payload, DecodeError> {
    let content_type = content_type.unwrap_or_default();
    let kind = kind(content_type);
    if rules.strict && kind != Kind::Json {
        return Err(unsupported(content_type));
    }
    let mut loosened = Loosened::default();
    if kind == Kind::Multipart {
        let value = multipart::parse(content_type, body, &mut loosened)?;
        return Ok(Payload { value, encoding: Encoding::Form, loosened });
    }
    let text = std::str::from_utf8(body).map_err(|e| DecodeError::NotUtf8 { offset: e.valid_up_to() })?;
    // A byte order mark says nothing in UTF-8 (RFC 8259 section 8.1 lets a reader ignore it).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start().chars().next().ok_or(DecodeError::Empty)?;
    match (kind, start) {
        (Kind::Json, _) => {}
        (_, '{' | '[' | '"') => loosened.add("content-type"),
        (Kind::Form, _) => {
            let value = form::parse(text)?;
            return Ok(Payload { value, encoding: Encoding::Form, loosened });
        }
        (Kind::Other | Kind::Lines | Kind::Multipart, _) => return Err(unsupported(content_type)),
    }
    let mut value = json::parse(text)?;
    if let (Value::String(inner), false) = (&value, rules.strict) {
        value = inner_json(inner)?;
        loosened.add("body");
    }
    Ok(Payload { value, encoding: Encoding::Json, loosened })
}

/// JSON sent as a JSON string, one level.
pub(crate) fn inner_json(text: &str) -> Result<Value, DecodeError> {
    match text.trim_start().chars().next() {
        Some('{' | '[') => json::parse(text),
        _ => Err(DecodeError::NotAnObject { got: "text" }),
    }
}

pub(super) fn unsupported(content_type: &str) -> DecodeError {
    let got = if content_type.trim().is_empty() { "missing".to_owned() } else { format!("\"{}\"", cut(content_type)) };
    DecodeError::UnsupportedMediaType { got }
}

pub(super) fn kind(content_type: &str) -> Kind {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => Kind::Json,
        "application/x-www-form-urlencoded" => Kind::Form,
        "multipart/form-data" => Kind::Multipart,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => Kind::Lines,
        // RFC 6839 section 3.1
        other if other.ends_with("+json") => Kind::Json,
        _ => Kind::Other,
    }
}
