//! Values: what people and workflow tools send becomes what the task schema asks for.
//!
//! Each field is read by its rule; then the schema judges the result. A field that cannot be read is a violation
//! of its own, which says more than the schema could.

use serde_json::{Map, Value};

use super::time::{format_utc, parse_deadline};
use super::{Encoding, Loosened, Payload, Rules};
use crate::schema::{self, Violation, got};

/// Integers beyond this lose digits on their way through a 64-bit float (IEEE 754 binary64 has 53 bits).
const EXACT: f64 = 9_007_199_254_740_992.0;

#[derive(Clone, Copy)]
pub(super) enum Rule {
    Text,
    Id,
    List,
    OneOf(&'static [&'static str]),
    Deadline,
    Object,
    Version,
}

/// Every field of the task schema: its rule, and whether it has to be there.
pub(super) const FIELDS: [(&str, Rule, bool); 14] = [
    ("title", Rule::Text, true),
    ("description", Rule::Text, true),
    ("assigned_user_ids", Rule::List, true),
    ("created_by_id", Rule::Id, true),
    ("deadline", Rule::Deadline, true),
    ("tags", Rule::List, false),
    ("call_id", Rule::Id, false),
    ("fax_id", Rule::Id, false),
    ("assistant_id", Rule::Id, false),
    ("session_id", Rule::Id, false),
    ("patient_id", Rule::Id, false),
    ("status", Rule::OneOf(&["pending", "in_progress", "completed"]), false),
    ("priority", Rule::OneOf(&["low", "medium", "high", "urgent"]), false),
    ("type", Rule::Id, false),
];

/// What a value was read as.
pub(super) enum Read {
    /// As it should be.
    Exact(Value),
    /// Changed to what it should be.
    Loose(Value),
    /// A blank: for an optional field, nothing.
    Blank,
    /// Nothing that this field could be.
    Wrong(Wrong),
}

pub(super) struct Wrong {
    code: &'static str,
    expected: &'static str,
    said: String,
    hint: Option<&'static str>,
}

/// The known fields of a task, read loosely unless the rules are strict, and accepted by the task schema.
///
/// # Errors
/// Every violation, in document order.
pub fn task_fields(payload: Payload, rules: &Rules) -> Result<(Map<String, Value>, Loosened), Vec<Violation>> {
    let Payload { value, encoding, mut loosened } = payload;
    let Value::Object(source) = &value else {
        return schema::task_create().check(&value).map(|()| (Map::new(), loosened));
    };
    let mut canonical = Map::new();
    let mut violations = Vec::new();
    for (name, sent) in source {
        let Some((_, rule, required)) = FIELDS.iter().find(|(known, ..)| known == name) else { continue };
        match read(sent, *rule, *required, encoding, rules) {
            Read::Exact(value) => drop(canonical.insert(name.clone(), value)),
            Read::Loose(value) => {
                loosened.add(name);
                canonical.insert(name.clone(), value);
            }
            Read::Blank if sent.is_null() => {}
            Read::Blank => loosened.add(name),
            Read::Wrong(wrong) => violations.push(violation(name, sent, wrong)),
        }
    }
    let canonical = Value::Object(canonical);
    if let Err(found) = schema::task_create().check(&canonical) {
        let told = |it: &Violation| violations.iter().any(|own| own.pointer == it.pointer);
        let found: Vec<_> = found.into_iter().filter(|it| !told(it)).collect();
        violations.extend(found);
    }
    match canonical {
        Value::Object(canonical) if violations.is_empty() => Ok((canonical, loosened)),
        _ => Err(schema::in_document_order(violations, &value)),
    }
}

/// A text of a query, read as the field of this name is: none where it is blank.
pub(crate) fn filter_text(name: &str, text: &str, rules: &Rules) -> Option<String> {
    let rule = FIELDS.iter().find(|(known, ..)| *known == name).map_or(Rule::Id, |(_, rule, _)| *rule);
    match read(&Value::String(text.to_owned()), rule, false, Encoding::Form, rules) {
        Read::Exact(Value::String(text)) | Read::Loose(Value::String(text)) => Some(text),
        Read::Blank => None,
        // Nothing stored is like this, and the filter finds as much.
        Read::Exact(_) | Read::Loose(_) | Read::Wrong(_) => Some(text.to_owned()),
    }
}

pub(super) fn violation(name: &str, sent: &Value, wrong: Wrong) -> Violation {
    Violation {
        pointer: format!("/{name}"),
        code: wrong.code.into(),
        expected: wrong.expected.into(),
        got: Some(got(sent)),
        message: format!("{name}: {}", wrong.said),
        hint: wrong.hint.map(str::to_owned),
    }
}

pub(super) fn read(sent: &Value, rule: Rule, required: bool, encoding: Encoding, rules: &Rules) -> Read {
    if has_nul(sent) {
        return wrong(
            "nul",
            "text without NUL characters",
            "holds a NUL character (\\u0000), which cannot be stored".into(),
            None,
        );
    }
    if rules.strict {
        return strict(sent, rule, rules);
    }
    if is_blank(sent) {
        return if required {
            wrong("blank", "a value", format!("is required, and {} is blank", got(sent)), None)
        } else {
            Read::Blank
        };
    }
    match rule {
        Rule::Text => text(sent, false),
        Rule::Id => text(sent, true),
        Rule::List => list(sent, required, encoding),
        Rule::OneOf(names) => one_of(sent, names),
        Rule::Deadline => deadline(sent, rules),
        Rule::Object => object(sent),
        Rule::Version => version(sent),
    }
}

/// The schema alone decides; a deadline is still brought to UTC, which changes how it is written only.
fn strict(sent: &Value, rule: Rule, rules: &Rules) -> Read {
    match rule {
        Rule::Deadline => match parse_deadline(sent, rules.timezone) {
            Ok((time, false)) => Read::Exact(Value::String(format_utc(time))),
            _ => wrong(
                "date_time",
                "RFC 3339 date-time",
                format!("{} is not a date-time; send e.g. 2026-12-01T17:00:00Z", got(sent)),
                None,
            ),
        },
        _ => Read::Exact(sent.clone()),
    }
}

pub(super) fn wrong(code: &'static str, expected: &'static str, said: String, hint: Option<&'static str>) -> Read {
    Read::Wrong(Wrong { code, expected, said, hint })
}

/// What an empty field or a failed expression of a workflow tool looks like.
pub(crate) fn is_blank(sent: &Value) -> bool {
    match sent {
        Value::Null => true,
        Value::String(text) => blank_text(text),
        _ => false,
    }
}

fn blank_text(text: &str) -> bool {
    matches!(text.trim(), "" | "null" | "undefined")
}

fn has_nul(sent: &Value) -> bool {
    match sent {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Text as it is, or the text of a number or boolean. Ids are trimmed, prose is kept as sent.
fn text(sent: &Value, trim: bool) -> Read {
    match sent {
        Value::String(text) if trim && text.trim().len() != text.len() => {
            Read::Loose(Value::String(text.trim().to_owned()))
        }
        Value::String(text) => Read::Exact(Value::String(text.clone())),
        Value::Bool(_) => Read::Loose(Value::String(sent.to_string())),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.abs() >= EXACT => wrong(
                "inexact_number",
                "text",
                format!("{} has more digits than a JSON number can be trusted with", got(sent)),
                Some("send it as text, in quotes"),
            ),
            _ => Read::Loose(Value::String(number.to_string())),
        },
        other => wrong("type", "text", format!("{} is not text", got(other)), None),
    }
}

fn list(sent: &Value, required: bool, encoding: Encoding) -> Read {
    let (items, mut loose) = match sent {
        Value::Array(items) => (items.clone(), false),
        Value::String(text) => (split(text), true),
        Value::Object(_) => return wrong("type", "a list of texts", format!("{} is not a list", got(sent)), None),
        other => (vec![other.clone()], true),
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in &items {
        match item {
            item if is_blank(item) => loose = true,
            // In a form every value is text, and a list is often one text with commas.
            Value::String(text) if encoding == Encoding::Form && text.contains(',') => {
                loose = true;
                texts.extend(split(text));
            }
            item => match self::text(item, true) {
                Read::Exact(value) => texts.push(value),
                Read::Loose(value) => {
                    loose = true;
                    texts.push(value);
                }
                Read::Blank => {}
                Read::Wrong(it) => return Read::Wrong(Wrong { said: format!("one of its items: {}", it.said), ..it }),
            },
        }
    }
    match (texts.is_empty(), required) {
        (true, true) => wrong("min_items", "at least 1 item", "is required, and the list is empty".into(), None),
        (true, false) if loose => Read::Blank,
        _ if loose => Read::Loose(Value::Array(texts)),
        _ => Read::Exact(Value::Array(texts)),
    }
}

/// `u1,u2`, `["u1","u2"]`, and n8n's `[u1,u2]`.
fn split(text: &str) -> Vec<Value> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let (Some(_), Ok(items)) = (inner, serde_json::from_str::<Vec<Value>>(text)) {
        return items;
    }
    let parts = inner.unwrap_or(text).split(',').map(str::trim).filter(|part| !blank_text(part));
    parts.map(|part| Value::String(part.to_owned())).collect()
}

fn one_of(sent: &Value, names: &[&str]) -> Read {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    match sent {
        Value::String(text) if names.contains(&text.as_str()) => Read::Exact(sent.clone()),
        Value::String(text) => match names.iter().find(|name| plain(name) == plain(text)) {
            Some(name) => Read::Loose(Value::String((*name).to_owned())),
            // The schema says which ones there are.
            None => Read::Exact(sent.clone()),
        },
        other => Read::Exact(other.clone()),
    }
}

fn deadline(sent: &Value, rules: &Rules) -> Read {
    match parse_deadline(sent, rules.timezone) {
        Ok((time, true)) => Read::Loose(Value::String(format_utc(time))),
        Ok((time, false)) => Read::Exact(Value::String(format_utc(time))),
        Err(error) => wrong(
            "date_time",
            "RFC 3339 date-time",
            format!("{} {error}; send e.g. 2026-12-01T17:00:00Z", got(sent)),
            error.hint(),
        ),
    }
}

/// An object, or its JSON as text.
fn object(sent: &Value) -> Read {
    match sent {
        Value::Object(_) => Read::Exact(sent.clone()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ Value::Object(_)) if !has_nul(&inner) => Read::Loose(inner),
            _ => wrong("type", "an object", format!("{} is not an object", got(sent)), None),
        },
        other => wrong("type", "an object", format!("{} is not an object", got(other)), None),
    }
}

/// The schema says how small a version may be.
fn version(sent: &Value) -> Read {
    let number = match sent {
        Value::Number(number) if number.is_u64() => return Read::Exact(sent.clone()),
        Value::String(text) => text.trim().parse::<u64>().ok(),
        _ => None,
    };
    match number {
        Some(number) => Read::Loose(number.into()),
        None => {
            wrong("type", "a version", format!("{} is not a version; send the task's own, e.g. 3", got(sent)), None)
        }
    }
}
