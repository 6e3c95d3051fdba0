//! Writes violations as sentences, for people who build workflows and have never seen a JSON Schema.

use std::borrow::Cow;
use std::time::Duration;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::excerpt::{SHOWN, cut, cut_at, field, got, plural};
use super::violation::Violation;

/// Returns the place of a violation; for a missing field, the place where it should be.
pub(super) fn place<'e>(error: &'e ValidationError<'_>) -> Cow<'e, str> {
    let pointer = error.instance_path().as_str();
    match error.kind() {
        Kind::Required { property } => format!("{pointer}/{}", escape(property.as_str().unwrap_or_default())).into(),
        _ => pointer.into(),
    }
}

/// Returns the approximate length of the longest JSON Pointer into a value, in bytes.
pub(super) fn longest_pointer(value: &Value) -> usize {
    let below = |step: usize, value| 1 + step + longest_pointer(value);
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| below(name.len(), value)).max().unwrap_or(0),
        Value::Array(items) => items.iter().map(|value| below(7, value)).max().unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn nowhere(limit: Duration) -> Violation {
    let said = format!("does not match the schema; the place could not be found within {} ms", limit.as_millis());
    violation(String::new(), "schema", "a value that matches the schema", None, &said)
}

pub(super) fn too_slow(limit: Duration) -> Violation {
    let said = format!("cannot be checked against the schema within {} ms", limit.as_millis());
    violation(String::new(), "schema_time", "a value that the schema can be checked with", None, &said)
}

pub(super) fn explain(error: &ValidationError<'_>) -> Violation {
    let pointer = place(error).into_owned();
    let instance = error.instance().as_ref();
    if let Kind::Required { .. } = error.kind() {
        return violation(pointer, "required", "a value", None, "required");
    }
    let shown = got(instance);
    let (code, expected, said) = match error.kind() {
        Kind::Type { kind } => ("type", kind_names(kind), None),
        Kind::Enum { options } => ("enum", one_of(options), None),
        Kind::Constant { expected_value } => ("const", got(expected_value), None),
        Kind::Format { format } if format == "date-time" => {
            ("date_time", "RFC 3339 date-time".into(), Some(not_a_time(&shown)))
        }
        Kind::Format { format } => ("format", format.clone(), Some(format!("{shown} is not a valid {format}"))),
        Kind::MinLength { limit: 1 } => ("min_length", "text".into(), Some("is empty".into())),
        Kind::MinLength { limit } => ("min_length", format!("at least {limit} characters"), None),
        Kind::MaxLength { limit } => ("max_length", format!("at most {limit} characters"), None),
        Kind::MinItems { limit } => ("min_items", format!("at least {limit} {}", plural(*limit, "item")), None),
        Kind::MaxItems { limit } => ("max_items", format!("at most {limit} {}", plural(*limit, "item")), None),
        Kind::Minimum { limit } => ("minimum", format!("{limit} or more"), None),
        Kind::Maximum { limit } => ("maximum", format!("{limit} or less"), None),
        Kind::Pattern { pattern } => ("pattern", format!("text that matches {}", cut_at(pattern, 128)), None),
        Kind::AdditionalProperties { unexpected } => {
            let names = unexpected.iter().take(SHOWN).map(|it| cut(it)).collect::<Vec<_>>().join(", ");
            ("unknown_field", "known fields only".into(), Some(format!("has unknown fields: {}", cut(&names))))
        }
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => ("shape", "one of the shapes in the schema".into(), None),
        Kind::Not { .. } => ("not_allowed", "another value".into(), None),
        other => {
            let keyword = other.keyword();
            ("schema", format!("a value that matches the schema's \"{keyword}\""), None)
        }
    };
    let said = said.unwrap_or_else(|| format!("{shown} is not {expected}"));
    violation(pointer, code, &expected, Some(shown), &said)
}

fn violation(pointer: String, code: &str, expected: &str, got: Option<String>, said: &str) -> Violation {
    let is_verb = ["is ", "does ", "has "].iter().any(|it| said.starts_with(it));
    let separator = if is_verb { " " } else { ": " };
    let message = format!("{}{separator}{said}", field(&pointer));
    Violation { message, pointer, code: code.into(), expected: expected.into(), got, hint: None }
}

fn not_a_time(shown: &str) -> String {
    format!("{shown} is not a date-time; send e.g. 2026-12-01T17:00:00Z")
}

fn kind_names(kind: &TypeKind) -> String {
    let named = |name: String| match name.as_str() {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {name}"),
        other => format!("a {other}"),
    };
    match kind {
        TypeKind::Single(one) => named(one.to_string()),
        TypeKind::Multiple(set) => set.iter().map(|it| named(it.to_string())).collect::<Vec<_>>().join(" or "),
    }
}

fn one_of(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |it: &Value| it.as_str().map_or_else(|| got(it), cut);
    let names: Vec<_> = options.iter().take(SHOWN).map(name).collect();
    let more = if options.len() > SHOWN { ", …" } else { "" };
    format!("one of {}{more}", names.join(", "))
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
