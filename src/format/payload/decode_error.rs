//! Why a body cannot be decoded.

/// Why a body cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is empty.
    #[error("the body is empty")]
    Empty,
    /// The text is not UTF-8.
    #[error("the body is not valid UTF-8 at byte offset {offset}")]
    NotUtf8 {
        /// Number of bytes before the invalid one.
        offset: usize,
    },
    /// Invalid JSON.
    #[error("the body is not JSON: {message} at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Message of the parser.
        message: String,
    },
    /// JSON that is nested too deeply.
    #[error("the body is nested deeper than {limit} levels")]
    TooDeep {
        /// Maximum number of levels.
        limit: usize,
    },
    /// A name that occurs twice in one object, so that its value is ambiguous.
    #[error("the name \"{key}\" occurs twice in one object")]
    DuplicateKey {
        /// The name, truncated to 64 characters.
        key: String,
    },
    /// A number that exceeds a 64-bit float.
    #[error("a number in the body is too large")]
    NumberOutOfRange,
    /// Neither JSON nor a form.
    #[error("the body is neither JSON nor a form: its content type is {got}")]
    UnsupportedMediaType {
        /// The content type, truncated to 64 characters.
        got: String,
    },
    /// Several items instead of one.
    #[error("the body contains {count} items; only one is allowed")]
    MultipleItems {
        /// Number of items.
        count: usize,
    },
    /// JSON that is not an object.
    #[error("the body is {got}; an object is required")]
    NotAnObject {
        /// Kind of the value.
        got: &'static str,
    },
    /// A batch without items.
    #[error("the batch contains no items")]
    NoItems,
    /// A batch with too many items.
    #[error("the batch contains {count} items; the maximum is {limit}")]
    TooManyItems {
        /// Number of items.
        count: usize,
        /// Maximum number of items.
        limit: usize,
    },
    /// The body is not a batch.
    #[error("the body is not a list of tasks")]
    NotAList,
    /// An invalid form.
    #[error("the form cannot be read: {message}")]
    Form {
        /// What is wrong with it.
        message: String,
    },
}

impl DecodeError {
    /// Returns the error's `detail.code`.
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

    /// Returns what the sender can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("send a JSON object"),
            Self::NotUtf8 { .. } => Some("send the text as UTF-8"),
            Self::UnsupportedMediaType { .. } => Some("send JSON, with Content-Type: application/json"),
            Self::MultipleItems { .. } => {
                Some("send one request per item, or send several tasks to POST /v1/tasks/batch")
            }
            Self::TooManyItems { .. } => Some("send them in several batches"),
            Self::NoItems | Self::NotAList => Some("send an array of tasks, {\"tasks\": [...]}, or one task per line"),
            Self::NumberOutOfRange => Some("send it as text"),
            Self::DuplicateKey { .. } => Some("send it once"),
            Self::Json { .. } | Self::TooDeep { .. } | Self::NotAnObject { .. } | Self::Form { .. } => None,
        }
    }
}
