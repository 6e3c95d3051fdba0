//! JSON Schemas (draft 2020-12), compiled once, with violations in words.
//!
//! A plugin's schema is foreign code: `schema/cost.rs` bounds what it can expand to, `schema/meter.rs` what a check may cost,
//! `schema/violations.rs` what comes out. `schema/metered.rs` is a document that counts how often it is looked at,
//! `schema/order.rs` the order of violations, `schema/explain.rs` their words.

mod cost;
mod explain;
mod meter;
mod metered;
mod order;
mod shape;
mod violations;

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) use explain::{cut, got};
use meter::{Allowance, Matching, UsedUp};
use metered::{Metered, Seen};
pub use shape::Shape;
pub use violations::{MOST, Violations};

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
    /// It is larger than any schema has to be.
    #[error("the schema has more than {} KiB", limit >> 10)]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A single value could be checked against more subschemas than anyone can pay for.
    #[error("at {place}: {cause}")]
    Cost {
        /// JSON Pointer into the schema.
        place: String,
        /// What, and what to do about it.
        cause: String,
    },
    /// It could not be compiled.
    #[error("the schema compiler's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// The compiler has failed.
    #[error("the schema compiler failed on it; please report this, with the schema")]
    Panic,
    /// It is no schema.
    #[error("not a JSON Schema: at {place}: {cause}")]
    Invalid {
        /// JSON Pointer into the schema.
        place: String,
        /// What is wrong.
        cause: String,
    },
}

/// Memory that a search for violations may take, in bytes, about.
const ROOM: usize = 32 << 20;
/// What a violation takes of it at least. So no more than ten thousand are counted.
const EACH: usize = ROOM / 10_000;
/// What it takes in memory, without its place.
const BARE: usize = 512;

/// Stack of the thread that compiles a schema, in bytes; only what is used takes memory.
const STACK: usize = 64 << 20;
/// Largest schema, in bytes.
const TEXT: usize = 1 << 20;
/// Largest compiled pattern, in bytes. `^\p{L}+$` takes 44 KiB, a name of two such classes twice that; an e-mail address 9 KiB,
/// a phone number with `\s` 18 KiB. The time of a match grows with this and with the text: 32 µs for each byte at worst, so
/// `schema/meter.rs` estimates it before a match starts.
const PATTERN: usize = 128 << 10;
/// The smallest limit that is tried for the patterns of a schema, in bytes.
const SMALL_PATTERN: usize = 1 << 10;

/// Why a value was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is not as it should be.
    Violations(Violations),
    /// That could not be found out within this processor time.
    Time(Duration),
}

/// Places, as JSON Pointers, at which nothing is a violation.
pub type Ignored<'a> = Option<&'a dyn Fn(&str) -> bool>;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator<Metered>,
    shape: Shape,
    sha256: [u8; 32],
    limit: Option<Duration>,
    matching: Matching,
}

impl Schema {
    /// Compiles a schema's text. `$ref` may point inside the document only: nothing is fetched. Checks take as long as they
    /// take; see [`Self::within`].
    ///
    /// # Errors
    /// Where and what.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        if text.len() > TEXT {
            return Err(SchemaError::TooLarge { limit: TEXT });
        }
        // References can lead into each other deeply, and the compiler follows them on its stack.
        std::thread::scope(|scope| {
            let compiler = std::thread::Builder::new().name("schema".into()).stack_size(STACK);
            let compiled = compiler.spawn_scoped(scope, || Self::compiled(text)).map(|it| it.join());
            compiled.map_err(SchemaError::Thread)?.unwrap_or(Err(SchemaError::Panic))
        })
    }

    fn compiled(text: &str) -> Result<Self, SchemaError> {
        let schema: Value = serde_json::from_str(text)?;
        if schema.get("$schema").and_then(Value::as_str) != Some("https://json-schema.org/draft/2020-12/schema") {
            return Err(SchemaError::Draft);
        }
        let patterns = cost::check(&schema)?;
        // A pattern takes time that grows with the text, and never a power of it.
        let build = |size: usize| {
            jsonschema::options_for::<Metered>()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .with_pattern_options(PatternOptions::regex().size_limit(size))
                .offline()
                .build(&schema)
        };
        // The smallest size that is enough for its patterns bounds the time of a match.
        let mut size = if patterns.any { SMALL_PATTERN } else { PATTERN };
        let validator = loop {
            match build(size) {
                Ok(validator) => break validator,
                Err(_) if size < PATTERN => size *= 2,
                Err(error) => {
                    let place = error.instance_path().to_string();
                    return Err(SchemaError::Invalid { place, cause: unquoted(&error) });
                }
            }
        };
        Ok(Self {
            validator,
            shape: Shape::of(&schema),
            sha256: Sha256::digest(text.as_bytes()).into(),
            limit: None,
            matching: Matching::new(patterns, size),
        })
    }

    /// The same, for documents of strangers: a check ends when it has used this much processor time.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Most processor time of a check, where it is bounded.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Nothing, where the value fits.
    ///
    /// # Errors
    /// What is wrong, in the value's own order; what is missing comes after what is there. A check that takes too long is a
    /// violation as well.
    pub fn check(&self, value: &Value) -> Result<(), Violations> {
        self.judge(value, None).map_err(|unfit| match unfit {
            Unfit::Violations(all) => all,
            Unfit::Time(limit) => explain::too_slow(limit).into(),
        })
    }

    /// Nothing, where the value fits; what is wrong at places that are to be ignored, by their JSON Pointers, fits.
    ///
    /// # Errors
    /// What is wrong, or that the limit was reached before that was known.
    pub fn judge(&self, value: &Value, ignored: Ignored<'_>) -> Result<(), Unfit> {
        let allowance = self.limit.map_or(Allowance::Any, Allowance::Time);
        let late = |UsedUp| Unfit::Time(self.limit.unwrap_or_default());
        self.checked(allowance, value, ignored).map_err(late)?.map_err(Unfit::Violations)
    }

    /// The same in a tenth of a millisecond at most, whatever the limit; none where that is not enough.
    #[must_use]
    pub fn judge_quickly(&self, value: &Value, ignored: Ignored<'_>) -> Option<Result<(), Violations>> {
        self.checked(Allowance::Quick, value, ignored).ok()
    }

    fn checked(
        &self,
        allowance: Allowance,
        value: &Value,
        ignored: Ignored<'_>,
    ) -> Result<Result<(), Violations>, UsedUp> {
        let misfit = Cell::new(false);
        let result = meter::within(allowance, self.matching, || {
            // The quick answer first: nearly every value fits.
            if self.validator.is_valid(Seen(value)) {
                return Ok(());
            }
            misfit.set(true);
            let found = self.violations(value, ignored);
            if found.is_empty() { Ok(()) } else { Err(found) }
        });
        match (result, allowance) {
            (Err(UsedUp), Allowance::Time(limit)) if misfit.get() => Ok(Err(explain::nowhere(limit).into())),
            (result, _) => result,
        }
    }

    /// The first in the document's order. Beyond some memory nothing more is looked for, so nobody knows how many there are.
    fn violations(&self, value: &Value, ignored: Ignored<'_>) -> Violations {
        // Where places are ignored, what is behind ten thousand of them matters.
        let each = BARE + explain::longest_pointer(value);
        let (room, each) = if ignored.is_some() { (2 * ROOM, each) } else { (ROOM, each.max(EACH)) };
        let (mut found, cut_short) =
            meter::with_room(room, each, || self.validator.iter_errors(Seen(value)).collect::<Vec<_>>());
        found.retain(|it| !ignored.is_some_and(|ignored| ignored(&explain::place(it))));
        let places: Vec<_> = found.iter().map(explain::place).collect();
        let mut ordered = order::in_document_order(&places, value);
        let same = |a: &usize, b: &usize| {
            let kind = |it: usize| found.get(it).map(|it: &ValidationError<'_>| it.kind().keyword());
            places.get(*a) == places.get(*b) && kind(*a) == kind(*b)
        };
        ordered.dedup_by(|a, b| same(a, b));
        let count = ordered.len();
        let shown = ordered.into_iter().take(MOST).filter_map(|it| found.get(it)).map(explain::explain);
        Violations::counted(shown.collect(), count, cut_short)
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
