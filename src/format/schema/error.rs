//! Why a schema cannot be used.

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is not valid JSON.
    #[error("not JSON: {}", crate::format::parse::json_error(.0))]
    Json(#[from] serde_json::Error),
    /// It uses another draft, or does not name one.
    #[error("\"$schema\" must be \"https://json-schema.org/draft/2020-12/schema\"")]
    Draft,
    /// It is larger than the limit.
    #[error("the schema has more than {} KiB", limit >> 10)]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A single value could be checked against too many subschemas.
    #[error("at {place}: {cause}")]
    Cost {
        /// JSON Pointer into the schema.
        place: String,
        /// What is too expensive, and what to do about it.
        cause: String,
    },
    /// The compiler's thread could not be started.
    #[error("the schema compiler's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// The compiler crashed.
    #[error("the schema compiler crashed; please report this together with the schema")]
    Panic,
    /// It is not a valid schema.
    #[error("not a JSON Schema: at {place}: {cause}")]
    Invalid {
        /// JSON Pointer into the schema.
        place: String,
        /// What is wrong.
        cause: String,
    },
}
