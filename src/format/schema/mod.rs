//! JSON Schemas (draft 2020-12), compiled once, with violations in plain words.
//!
//! A plugin's schema is untrusted: `schema/cost.rs` bounds what it can expand to, `schema/meter.rs` the cost of a
//! check, and `schema/violations.rs` the output. `schema/metered.rs` is a document that counts accesses,
//! `schema/order.rs` sorts violations, and `schema/explain.rs` writes their texts. `schema/file_schema.rs` does so for TOML files,
//! and `schema/keywords.rs` finds misspelled keywords.

mod cost;
mod error;
mod excerpt;
mod explain;
mod file_schema;
mod keywords;
mod meter;
mod metered;
mod order;
mod shape;
mod violation;
mod violations;

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use meter::{Allowance, AllowanceUsed, MatchCost};
use metered::{Metered, MeteredValue};

pub use error::SchemaError;
pub(crate) use excerpt::{cut, got};
pub(crate) use file_schema::{FileError, FileSchema};
pub(crate) use keywords::ignored_keywords;
pub use shape::Shape;
pub use violation::Violation;
pub use violations::{MOST, Violations};

/// Approximate memory that a search for violations may use, in bytes.
const ROOM: usize = 32 << 20;

/// Minimum memory that a violation counts for, in bytes, so that at most ten thousand are counted.
const EACH: usize = ROOM / 10_000;

/// Memory of a violation without its place, in bytes.
const BARE: usize = 512;

/// Stack size of the thread that compiles a schema, in bytes; only the used part takes memory.
const STACK: usize = 64 << 20;

/// Maximum size of a schema, in bytes.
const TEXT: usize = 1 << 20;

/// Maximum size of a compiled pattern, in bytes. `^\p{L}+$` takes 44 KiB, a name of two such classes twice that; an
/// e-mail address 9 KiB, a phone number with `\s` 18 KiB. The time of a match grows with this size and with the
/// text: up to 32 µs per byte, so `schema/meter.rs` estimates it before a match starts.
const PATTERN: usize = 128 << 10;

/// Smallest limit that is tried for the patterns of a schema, in bytes.
const SMALL_PATTERN: usize = 1 << 10;

/// Why a value was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It violates the schema.
    Violations(Violations),
    /// The check did not end within this CPU time.
    Time(Duration),
}

/// Predicate for JSON Pointers at which violations are ignored.
pub type Ignored<'a> = Option<&'a dyn Fn(&str) -> bool>;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator<Metered>,
    shape: Shape,
    sha256: [u8; 32],
    limit: Option<Duration>,
    matching: MatchCost,
}

impl Schema {
    /// Compiles a schema. `$ref` may point inside the document only: nothing is fetched. Checks have no time limit;
    /// see [`Self::within`].
    ///
    /// # Errors
    /// Where and why it cannot be used.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        if text.len() > TEXT {
            return Err(SchemaError::TooLarge { limit: TEXT });
        }
        // References can be nested deeply, and the compiler follows them recursively.
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
        // The time of a match is linear in the length of the text.
        let build = |size: usize| {
            jsonschema::options_for::<Metered>()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .with_pattern_options(PatternOptions::regex().size_limit(size))
                .offline()
                .build(&schema)
        };
        // The smallest size that fits its patterns bounds the time of a match.
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
            matching: MatchCost::new(patterns, size),
        })
    }

    /// Returns this schema with a limit for the CPU time of a check, for untrusted documents.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Returns the limit for the CPU time of a check, if there is one.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Checks a value.
    ///
    /// # Errors
    /// The violations in the value's own order; missing fields come after existing ones. A check that takes too
    /// long is a violation too.
    pub fn check(&self, value: &Value) -> Result<(), Violations> {
        self.judge(value, None).map_err(|unfit| match unfit {
            Unfit::Violations(all) => all,
            Unfit::Time(limit) => explain::too_slow(limit).into(),
        })
    }

    /// Checks a value, ignoring violations at some places.
    ///
    /// # Errors
    /// The violations, or that the limit was reached.
    pub fn judge(&self, value: &Value, ignored: Ignored<'_>) -> Result<(), Unfit> {
        let allowance = self.limit.map_or(Allowance::Any, Allowance::Time);
        let late = |AllowanceUsed| Unfit::Time(self.limit.unwrap_or_default());
        self.checked(allowance, value, ignored).map_err(late)?.map_err(Unfit::Violations)
    }

    /// Checks a value within a tenth of a millisecond, whatever the limit; `None` if that is not enough.
    #[must_use]
    pub fn judge_quickly(&self, value: &Value, ignored: Ignored<'_>) -> Option<Result<(), Violations>> {
        self.checked(Allowance::Quick, value, ignored).ok()
    }

    fn checked(
        &self,
        allowance: Allowance,
        value: &Value,
        ignored: Ignored<'_>,
    ) -> Result<Result<(), Violations>, AllowanceUsed> {
        let misfit = Cell::new(false);
        let result = meter::within(allowance, self.matching, || {
            // The quick check first, because nearly every value is valid.
            if self.validator.is_valid(MeteredValue(value)) {
                return Ok(());
            }
            misfit.set(true);
            let found = self.violations(value, ignored);
            if found.is_empty() { Ok(()) } else { Err(found) }
        });
        match (result, allowance) {
            (Err(AllowanceUsed), Allowance::Time(limit)) if misfit.get() => Ok(Err(explain::nowhere(limit).into())),
            (result, _) => result,
        }
    }

    /// Returns the first violations in the document's order. The search ends at a memory limit, so the total number
    /// may be unknown.
    fn violations(&self, value: &Value, ignored: Ignored<'_>) -> Violations {
        // If places are ignored, violations after the first ten thousand matter too.
        let each = BARE + explain::longest_pointer(value);
        let (room, each) = if ignored.is_some() { (2 * ROOM, each) } else { (ROOM, each.max(EACH)) };
        let (mut found, cut_short) =
            meter::with_room(room, each, || self.validator.iter_errors(MeteredValue(value)).collect::<Vec<_>>());
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

    /// Returns the SHA-256 of the schema's text.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns the names of the schema's top level.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Describes the error without the schema's values, because not only the schema's author reads it.
fn unquoted(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Referencing(_) => {
            "a \"$ref\" does not resolve within this document, and nothing is fetched".to_owned()
        }
        _ => error.masked().to_string(),
    }
}

static TASK_CREATE: LazyLock<Schema> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "our own schema, compiled by every test")]
    Schema::compile(include_str!("../../../schemas/task-create.schema.json"))
        .expect("schemas/task-create.schema.json is a schema")
});

/// Returns `schemas/task-create.schema.json`.
#[must_use]
pub fn task_create() -> &'static Schema {
    &TASK_CREATE
}

static TASK_UPDATE: LazyLock<Schema> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "our own schema, compiled by every test")]
    Schema::compile(include_str!("../../../schemas/task-update.schema.json"))
        .expect("schemas/task-update.schema.json is a schema")
});

/// Returns `schemas/task-update.schema.json`.
#[must_use]
pub fn task_update() -> &'static Schema {
    &TASK_UPDATE
}
