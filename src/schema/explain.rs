//! Violations in words, for people who build workflows and have never seen a JSON Schema.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::Violation;

/// Most characters of a value that an error shows: it may be a patient's.
const SHOWN: usize = 64;

pub(super) fn explain(error: &ValidationError<'_>) -> Violation {
    let mut pointer = error.instance_path().to_string();
    let instance = error.instance().as_ref();
    if let Kind::Required { property } = error.kind() {
        pointer = format!("{pointer}/{}", escape(property.as_str().unwrap_or_default()));
        return violation(pointer, "required", "a value", None, "required");
    }
    let shown = got(instance);
    let (code, expected, said) = match error.kind() {
        Kind::Type { kind } => ("type", kind_names(kind), None),
        Kind::Enum { options } => ("enum", one_of(options), None),
        Kind::Constant { expected_value } => ("const", expected_value.to_string(), None),
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
        Kind::Pattern { pattern } => ("pattern", format!("text that matches {pattern}"), None),
        Kind::AdditionalProperties { unexpected } => {
            let names = unexpected.join(", ");
            ("unknown_field", "known fields only".into(), Some(format!("does not take: {}", cut(&names))))
        }
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => ("shape", "one of the shapes in the schema".into(), None),
        Kind::Not { .. } => ("not_allowed", "another value".into(), None),
        other => {
            let keyword = other.keyword();
            ("schema", format!("what the schema's \"{keyword}\" says"), None)
        }
    };
    let said = said.unwrap_or_else(|| format!("{shown} is not {expected}"));
    violation(pointer, code, &expected, Some(shown), &said)
}

fn violation(pointer: String, code: &str, expected: &str, got: Option<String>, said: &str) -> Violation {
    let separator = if said.starts_with("is ") || said.starts_with("does ") { " " } else { ": " };
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
    let names: Vec<_> = options.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect();
    format!("one of {}", names.join(", "))
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// A value's JSON, cut.
pub(crate) fn got(value: &Value) -> String {
    match value {
        // Cut before it is written out: the value may be a megabyte.
        Value::String(text) => cut(&Value::String(text.chars().take(SHOWN).collect()).to_string()),
        Value::Array(items) => format!("an array of {} {}", items.len(), plural(items.len() as u64, "item")),
        Value::Object(_) => "an object".to_owned(),
        other => cut(&other.to_string()),
    }
}

/// The first characters of a text.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A pointer as people write it.
pub(super) fn field(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            text.push_str(&format!("[{part}]"));
        } else {
            text.push_str(if text.is_empty() { "" } else { "." });
            text.push_str(&part);
        }
    }
    if text.is_empty() { "body".into() } else { cut(&text) }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// By where each stands in the document; missing fields keep the schema's order, behind their siblings.
pub(crate) fn in_document_order(mut violations: Vec<Violation>, value: &Value) -> Vec<Violation> {
    violations.sort_by_cached_key(|it| position(&it.pointer, value));
    violations.dedup_by(|a, b| a.pointer == b.pointer && a.code == b.code);
    violations
}

fn position(pointer: &str, root: &Value) -> Vec<usize> {
    let mut value = Some(root);
    pointer
        .split('/')
        .skip(1)
        .map(|part| {
            let name = part.replace("~1", "/").replace("~0", "~");
            let (index, next) = match value {
                Some(Value::Object(map)) => (map.keys().position(|key| *key == name), map.get(&name)),
                Some(Value::Array(items)) => {
                    (name.parse().ok(), name.parse::<usize>().ok().and_then(|it| items.get(it)))
                }
                _ => (None, None),
            };
            value = next;
            index.unwrap_or(usize::MAX)
        })
        .collect()
}
