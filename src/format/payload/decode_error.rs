//! Why a body cannot be decoded.

/// Why a body cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is empty.
    #[error("the body is empty")]
    Empty,
    /// The body is empty, and its fields are in the URL.
    #[error("the body is empty; the fields are in the URL's query, where they are not read")]
    OnlyQuery,
    /// The text is not UTF-8.
    #[error("the body is not valid UTF-8 at byte offset {offset}")]
    NotUtf8 {
        /// Number of bytes before the invalid one.
        offset: usize,
    },
    /// Text that is not of its charset, or a charset that is not known.
    #[error("{}", if *.known { format!("the text is not valid {got}") } else { format!("the charset \"{got}\" is not known") })]
    Charset {
        /// The charset, truncated to 64 characters.
        got: String,
        /// Whether it is known.
        known: bool,
    },
    /// A content coding that is not supported, or a body that is not in it.
    #[error("{message}")]
    ContentCoding {
        /// What is wrong with it.
        message: String,
    },
    /// A body that is too large once its content coding is removed.
    #[error("without its content coding, the body is larger than {limit} bytes")]
    Expanded {
        /// Maximum number of bytes for this body.
        limit: usize,
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
    /// A number that a 64-bit float cannot hold exactly.
    #[error("a number in the body has more digits than a 64-bit float holds")]
    InexactNumber,
    /// A body in a binary format.
    #[error("the body is {what}, not JSON or a form")]
    Binary {
        /// What it is.
        what: &'static str,
    },
    /// Invalid XML.
    #[error("the XML cannot be read: {message}")]
    Xml {
        /// What is wrong with it.
        message: String,
    },
    /// Not a JSON Web Token.
    #[error("the body is not a JSON Web Token with a JSON payload")]
    Jwt,
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
            Self::Empty | Self::OnlyQuery => "empty_body",
            Self::NotUtf8 { .. } | Self::Charset { .. } => "not_utf8",
            Self::ContentCoding { .. } => "unsupported_encoding",
            Self::Expanded { .. } => "body_too_large",
            Self::Json { .. } => "malformed_json",
            Self::TooDeep { .. } => "too_deep",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::NumberOutOfRange | Self::InexactNumber => "number_out_of_range",
            Self::Xml { .. } => "malformed_xml",
            Self::Jwt => "malformed_jwt",
            Self::UnsupportedMediaType { .. } | Self::Binary { .. } => "unsupported_media_type",
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
            Self::Empty => Some("send a JSON object; in n8n, turn on \"Send Body\""),
            Self::OnlyQuery => Some(
                "send them in the body, as JSON; in n8n, turn on \"Send Body\", and to forward the query of a Webhook node use {{ $json.query }} as the body",
            ),
            Self::NotUtf8 { .. } => Some(
                "send the text as UTF-8, or name its charset, as in Content-Type: text/plain; charset=windows-1252",
            ),
            Self::Charset { known: true, .. } => Some("send the text as UTF-8, or correct the charset in Content-Type"),
            Self::Charset { known: false, .. } => Some("send the text as UTF-8"),
            Self::ContentCoding { .. } => {
                Some("send the body without Content-Encoding, or as gzip, deflate, br or zstd, at most two of them")
            }
            Self::Expanded { .. } => Some("send less in one request, or without Content-Encoding"),
            Self::UnsupportedMediaType { .. } => Some("send JSON, with Content-Type: application/json"),
            Self::Binary { what: "gzip data" } => Some("add the header Content-Encoding: gzip"),
            Self::Binary { what: "zstd data" } => Some("add the header Content-Encoding: zstd"),
            Self::Binary { .. } => {
                Some("send a form with the file: multipart/form-data, with the other fields next to it")
            }
            Self::Xml { .. } => Some("send well-formed XML without a DTD"),
            Self::Jwt => None,
            Self::MultipleItems { .. } => {
                Some("send one request per item, or send several tasks to POST /v1/tasks/batch")
            }
            Self::TooManyItems { .. } => Some("send them in several batches"),
            Self::NoItems | Self::NotAList => Some("send an array of tasks, {\"tasks\": [...]}, or one task per line"),
            Self::NumberOutOfRange | Self::InexactNumber => Some("send it as text, in quotes"),
            Self::DuplicateKey { .. } => Some("send it once"),
            Self::Json { .. } | Self::TooDeep { .. } | Self::NotAnObject { .. } | Self::Form { .. } => None,
        }
    }
}
