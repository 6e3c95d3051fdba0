//! Reads one value by the rule of its field.

use serde_json::Value;

use super::decoded::{Encoding, Loosened, Rules};
use super::rule::FieldRule;
use super::stored::is_file;
use super::time::parse_deadline;
use super::unevaluated::Unevaluated;
use crate::format::schema::got;
use crate::model::time::format_utc;

/// Integers beyond this lose digits in a 64-bit float (IEEE 754 binary64 has 53 bits).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What to do about a field that is a file.
const SENT_AS_FILE: &str =
    "send it as a field of the form without a filename; with curl, -F 'field=<FILE' instead of @";

/// The result of reading a value.
pub(super) enum ReadValue {
    /// Valid as sent.
    Exact(Value),
    /// Converted to a valid value.
    Loose(Value),
    /// Valid or converted, with something that the sender should know; see [`Noted`].
    Noted(Value, Noted),
    /// A blank: for an optional field, no value.
    Blank,
    /// Not a value of this field.
    Wrong(Wrong),
}

/// Why a value that was accepted may not be what the sender meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// An id that JavaScript may have rounded.
    Rounded,
    /// Prose that contains an expression; it may mention it, or not be evaluated.
    Unevaluated,
}

impl Noted {
    /// Adds to the names of what was read loosely.
    pub(super) fn add_to(self, loosened: &mut Loosened, name: &str) {
        match self {
            // It was a number.
            Self::Rounded => {
                loosened.add(name);
                loosened.add(&format!("rounded:{name}"));
            }
            Self::Unevaluated => loosened.add(&format!("unevaluated:{name}")),
        }
    }
}

pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) expected: &'static str,
    pub(super) said: String,
    pub(super) hint: Option<&'static str>,
}

/// Reads a value strictly: the schema alone decides. A deadline is still converted to UTC, which changes only its
/// notation.
pub(super) fn strict(sent: &Value, rule: FieldRule, rules: &Rules) -> ReadValue {
    match rule {
        FieldRule::Deadline => match parse_deadline(sent, rules.timezone) {
            Ok((time, false)) => ReadValue::Exact(Value::String(format_utc(time))),
            _ => wrong(
                "date_time",
                "RFC 3339 date-time",
                format!("{} is not a date-time; send e.g. 2026-12-01T17:00:00Z", got(sent)),
                None,
            ),
        },
        _ => ReadValue::Exact(sent.clone()),
    }
}

pub(super) fn wrong(code: &'static str, expected: &'static str, said: String, hint: Option<&'static str>) -> ReadValue {
    ReadValue::Wrong(Wrong { code, expected, said, hint })
}

/// Returns whether a value looks like an empty field, or a failed expression of a workflow tool.
pub(crate) fn is_blank(sent: &Value) -> bool {
    match sent {
        Value::Null => true,
        Value::String(text) => blank_text(text),
        _ => false,
    }
}

fn blank_text(text: &str) -> bool {
    matches!(text.trim(), "" | "null" | "undefined" | "NaN")
}

pub(super) fn has_nul(sent: &Value) -> bool {
    match sent {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Reads a text, or a number or boolean as text. Ids are trimmed, prose is kept as sent.
pub(super) fn text(sent: &Value, trim: bool) -> ReadValue {
    match sent {
        Value::String(text) if trim && text.trim().len() != text.len() => {
            ReadValue::Loose(Value::String(text.trim().to_owned()))
        }
        Value::String(text) => ReadValue::Exact(Value::String(text.clone())),
        Value::Bool(_) => ReadValue::Loose(Value::String(sent.to_string())),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.abs() >= EXACT => wrong(
                "inexact_number",
                "text",
                format!("{} has more digits than a JSON number can represent exactly", got(sent)),
                Some("send it as text, in quotes"),
            ),
            _ if trim && maybe_rounded(number) => ReadValue::Noted(Value::String(number.to_string()), Noted::Rounded),
            _ => ReadValue::Loose(Value::String(number.to_string())),
        },
        other if is_file(other) => wrong("type", "text", "was sent as a file".into(), Some(SENT_AS_FILE)),
        Value::Object(_) => {
            wrong("type", "text", format!("{} is not text", got(sent)), Some(Unevaluated::Object.hint()))
        }
        other => wrong("type", "text", format!("{} is not text", got(other)), None),
    }
}

/// Returns whether JavaScript would write this number if it had read a similar one: it rounds integers beyond 2^53 to
/// 53 bits, and writes zeros after the 17th digit.
fn maybe_rounded(number: &serde_json::Number) -> bool {
    let float = number.as_f64().filter(|it| !number.is_f64() && it.abs() >= EXACT);
    float.is_some_and(|it| it.to_string() == number.to_string())
}

/// The violation for a text in place of a value.
pub(super) fn unevaluated(sent: &Value, what: Unevaluated) -> ReadValue {
    wrong("unevaluated", "a value", format!("{} {}", got(sent), what.said()), Some(what.hint()))
}

pub(super) fn list(sent: &Value, required: bool, encoding: Encoding) -> ReadValue {
    let (items, mut loose) = match sent {
        Value::Array(items) => (items.clone(), false),
        Value::String(text) => (split(text), true),
        file if is_file(file) => {
            return wrong("type", "a list of texts", "was sent as a file".into(), Some(SENT_AS_FILE));
        }
        Value::Object(_) => return wrong("type", "a list of texts", format!("{} is not a list", got(sent)), None),
        other => (vec![other.clone()], true),
    };
    let mut texts = Vec::with_capacity(items.len());
    let mut noted = None;
    for item in &items {
        if let Value::String(text) = item
            && let Some(what) = Unevaluated::whole(text).or_else(|| Unevaluated::part(text))
        {
            return unevaluated(item, what);
        }
        match item {
            item if is_blank(item) => loose = true,
            // In a form every value is text, and a list is often one text with commas.
            Value::String(text) if encoding == Encoding::Form && text.contains([',', ';', '\n']) => {
                loose = true;
                texts.extend(split(text));
            }
            item => match self::text(item, true) {
                ReadValue::Exact(value) => texts.push(value),
                ReadValue::Loose(value) => {
                    loose = true;
                    texts.push(value);
                }
                ReadValue::Noted(value, what) => {
                    noted = Some(what);
                    texts.push(value);
                }
                ReadValue::Blank => {}
                ReadValue::Wrong(it) => {
                    return ReadValue::Wrong(Wrong { said: format!("one of its items: {}", it.said), ..it });
                }
            },
        }
    }
    match (texts.is_empty(), required) {
        (true, true) => wrong("min_items", "at least 1 item", "is required, and the list is empty".into(), None),
        (true, false) if loose => ReadValue::Blank,
        _ if let Some(what) = noted => ReadValue::Noted(Value::Array(texts), what),
        _ if loose => ReadValue::Loose(Value::Array(texts)),
        _ => ReadValue::Exact(Value::Array(texts)),
    }
}

/// Splits `u1,u2`, `["u1","u2"]`, and n8n's `[u1,u2]`. Text without commas is split at semicolons or lines: with both,
/// a semicolon belongs to an id.
fn split(text: &str) -> Vec<Value> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let (Some(_), Ok(items)) = (inner, serde_json::from_str::<Vec<Value>>(text)) {
        return items;
    }
    let inner = inner.unwrap_or(text);
    let separator = [',', ';'].into_iter().find(|it| inner.contains(*it)).unwrap_or('\n');
    let parts = inner.split(separator).map(str::trim).filter(|part| !blank_text(part));
    parts.map(|part| Value::String(part.to_owned())).collect()
}

pub(super) fn one_of(sent: &Value, names: &[&str]) -> ReadValue {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    match sent {
        Value::String(text) if names.contains(&text.as_str()) => ReadValue::Exact(sent.clone()),
        Value::String(text) => match names.iter().find(|name| plain(name) == plain(text)) {
            Some(name) => ReadValue::Loose(Value::String((*name).to_owned())),
            // The schema's violation lists the valid names.
            None => ReadValue::Exact(sent.clone()),
        },
        other => ReadValue::Exact(other.clone()),
    }
}

pub(super) fn deadline(sent: &Value, rules: &Rules) -> ReadValue {
    match parse_deadline(sent, rules.timezone) {
        Ok((time, true)) => ReadValue::Loose(Value::String(format_utc(time))),
        Ok((time, false)) => ReadValue::Exact(Value::String(format_utc(time))),
        Err(_) if is_file(sent) => {
            wrong("date_time", "RFC 3339 date-time", "was sent as a file".into(), Some(SENT_AS_FILE))
        }
        Err(error) => wrong(
            "date_time",
            "RFC 3339 date-time",
            format!("{} {error}; send e.g. 2026-12-01T17:00:00Z", got(sent)),
            error.hint(),
        ),
    }
}

/// Reads an object, or its JSON as text.
pub(super) fn object(sent: &Value) -> ReadValue {
    match sent {
        Value::Object(_) => ReadValue::Exact(sent.clone()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ Value::Object(_)) if !has_nul(&inner) => ReadValue::Loose(inner),
            _ => wrong("type", "an object", format!("{} is not an object", got(sent)), None),
        },
        other => wrong("type", "an object", format!("{} is not an object", got(other)), None),
    }
}

/// Returns a number that is whole: `3`, and `3.0`, which JSON Schema takes for an integer too (draft 2020-12, 4.2.3).
pub(crate) fn whole(sent: &Value) -> Option<u64> {
    // Beyond this, a float is not exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || sent.as_f64().filter(|it| it.fract() == 0.0 && (0.0..=EXACT).contains(it));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    sent.as_u64().or_else(|| float().map(|it| it as u64))
}

/// Reads a version; the schema checks its minimum.
pub(super) fn version(sent: &Value) -> ReadValue {
    if let Some(number) = whole(sent) {
        return ReadValue::Exact(number.into());
    }
    let number = match sent {
        Value::String(text) => text.trim().parse::<u64>().ok(),
        _ => None,
    };
    match number {
        Some(number) => ReadValue::Loose(number.into()),
        None => {
            wrong("type", "a version", format!("{} is not a version; send the task's own, e.g. 3", got(sent)), None)
        }
    }
}
