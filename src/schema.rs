//! JSON Schemas (draft 2020-12), compiled once, with violations in words.

mod explain;
mod shape;

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) use explain::{cut, got, in_document_order};
pub use shape::Shape;

/// One place where a value is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where: a JSON Pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What rule, in snake_case: `required`, `type`, `min_length`, `date_time`…
    pub code: String,
    /// What would have been right.
    pub expected: String,
    /// The value's JSON, cut to 64 characters: it may be a patient's.
    pub got: Option<String>,
    /// The whole as a sentence, for people.
    pub message: String,
    /// What to do about it, where there is more to say.
    pub hint: Option<String>,
}

impl Violation {
    /// The place as people write it: `deadline`, `assigned_user_ids[0]`; `body` for the whole.
    #[must_use]
    pub fn field(&self) -> String {
        explain::field(&self.pointer)
    }
}

/// Why a text is no schema that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is no JSON.
    #[error("not JSON: {}", crate::parse::json_error(.0))]
    Json(#[from] serde_json::Error),
    /// It is another draft, or has none.
    #[error("\"$schema\" has to be \"https://json-schema.org/draft/2020-12/schema\"")]
    Draft,
    /// It is no schema.
    #[error("not a JSON Schema: at {place}: {cause}")]
    Invalid {
        /// JSON Pointer into the schema.
        place: String,
        /// What is wrong.
        cause: String,
    },
}

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    shape: Shape,
    sha256: [u8; 32],
}

impl Schema {
    /// Compiles a schema's text. `$ref` may point inside the document only: nothing is fetched.
    ///
    /// # Errors
    /// Where and what.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        let schema: Value = serde_json::from_str(text)?;
        if schema.get("$schema").and_then(Value::as_str) != Some("https://json-schema.org/draft/2020-12/schema") {
            return Err(SchemaError::Draft);
        }
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
        let validator = options.build(&schema).map_err(|error| SchemaError::Invalid {
            place: error.instance_path().to_string(),
            cause: unquoted(&error),
        })?;
        Ok(Self { validator, shape: Shape::of(&schema), sha256: Sha256::digest(text.as_bytes()).into() })
    }

    /// Nothing, where the value fits.
    ///
    /// # Errors
    /// Every violation, in the value's own order; what is missing comes after what is there.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Violation>> {
        // The quick answer first: nearly every value fits.
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let violations = self.validator.iter_errors(value).map(|error| explain::explain(&error)).collect();
        Err(explain::in_document_order(violations, value))
    }

    /// SHA-256 of the schema's text.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What it says of the top level.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// What is wrong, without the schema's values: not only its author reads this.
fn unquoted(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Referencing(_) => {
            "a \"$ref\" leads to nothing in this document, and nothing is fetched".to_owned()
        }
        _ => error.masked().to_string(),
    }
}

static TASK_CREATE: LazyLock<Schema> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "our own schema, compiled by every test")]
    Schema::compile(include_str!("../schemas/task-create.schema.json"))
        .expect("schemas/task-create.schema.json is a schema")
});

/// `schemas/task-create.schema.json`
#[must_use]
pub fn task_create() -> &'static Schema {
    &TASK_CREATE
}

static TASK_UPDATE: LazyLock<Schema> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "our own schema, compiled by every test")]
    Schema::compile(include_str!("../schemas/task-update.schema.json"))
        .expect("schemas/task-update.schema.json is a schema")
});

/// `schemas/task-update.schema.json`
#[must_use]
pub fn task_update() -> &'static Schema {
    &TASK_UPDATE
}
