//! Reads values loosely: converts what people and workflow tools send to what the task schema requires.
//!
//! Each field is read by its rule, then the schema checks the result. A field that cannot be read is a violation of
//! its own, with a better explanation than the schema could give.

use serde_json::{Map, Value};

use super::decoded::{Encoding, Loosened, Payload, Rules};
use super::rule::{FIELDS, FieldRule};
use super::unevaluated::Unevaluated;
use super::values::{
    Noted, ReadValue, Wrong, deadline, has_nul, is_blank, list, object, one_of, strict, text, unevaluated, version,
    wrong,
};
use crate::format::schema;
use crate::format::schema::{Violation, Violations, got};

/// Parses the known fields of a task, loosely unless the rules are strict, and checks them with the task schema.
///
/// # Errors
/// All violations, in document order.
pub fn task_fields(payload: Payload, rules: &Rules) -> Result<(Map<String, Value>, Loosened), Violations> {
    let Payload { value, encoding, mut loosened, .. } = payload;
    let Value::Object(source) = &value else {
        return schema::task_create().check(&value).map(|()| (Map::new(), loosened));
    };
    let mut canonical = Map::new();
    let mut violations = Vec::new();
    for (name, sent) in source {
        let Some((_, rule, required)) = FIELDS.iter().find(|(known, ..)| known == name) else { continue };
        match read(sent, *rule, *required, encoding, rules) {
            ReadValue::Exact(value) => drop(canonical.insert(name.clone(), value)),
            ReadValue::Loose(value) => {
                loosened.add(name);
                canonical.insert(name.clone(), value);
            }
            ReadValue::Noted(value, what) => {
                what.add_to(&mut loosened, name);
                canonical.insert(name.clone(), value);
            }
            ReadValue::Blank if sent.is_null() => {}
            ReadValue::Blank => loosened.add(name),
            ReadValue::Wrong(wrong) => violations.push(violation(name, sent, wrong)),
        }
    }
    let canonical = Value::Object(canonical);
    let own = Violations::from(violations);
    let found = match schema::task_create().check(&canonical) {
        Ok(()) => own,
        Err(mut found) => {
            found.retain(|it| !own.iter().any(|own| own.pointer == it.pointer));
            own.and(found)
        }
    };
    match canonical {
        Value::Object(canonical) if found.is_empty() => Ok((canonical, loosened)),
        _ => Err(found.in_document_order(&value)),
    }
}

/// The text of a query parameter, read as loosely as a field of a task.
pub(crate) enum FilterText {
    /// What to look for.
    Text(String),
    /// Blank: as if it was not sent.
    Absent,
    /// An expression that was not evaluated, or the like. A filter that finds nothing would hide that.
    Unevaluated(Unevaluated),
}

/// Reads the text of a query parameter. `names` are the fixed values of the parameter, if it has any.
pub(crate) fn filter_text(text: &str, names: &'static [&'static str], rules: &Rules) -> FilterText {
    let rule = if names.is_empty() { FieldRule::Id } else { FieldRule::OneOf(names) };
    if let Some(what) = Unevaluated::whole(text).filter(|_| !rules.strict) {
        return FilterText::Unevaluated(what);
    }
    match read(&Value::String(text.to_owned()), rule, false, Encoding::Form, rules) {
        ReadValue::Exact(Value::String(text)) | ReadValue::Loose(Value::String(text)) => FilterText::Text(text),
        ReadValue::Blank => FilterText::Absent,
        // No stored value is like this, so the filter matches nothing.
        ReadValue::Exact(_) | ReadValue::Loose(_) | ReadValue::Noted(..) | ReadValue::Wrong(_) => {
            FilterText::Text(text.to_owned())
        }
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

pub(super) fn read(sent: &Value, rule: FieldRule, required: bool, encoding: Encoding, rules: &Rules) -> ReadValue {
    if has_nul(sent) {
        return wrong(
            "nul",
            "text without NUL characters",
            "contains a NUL character (\\u0000), which cannot be stored".into(),
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
            ReadValue::Blank
        };
    }
    if let Some(what) = in_place_of_a_value(sent, rule) {
        return unevaluated(sent, what);
    }
    match rule {
        FieldRule::Title => text(sent, false),
        FieldRule::Text => match sent.as_str().and_then(Unevaluated::part) {
            Some(_) => ReadValue::Noted(sent.clone(), Noted::Unevaluated),
            None => text(sent, false),
        },
        FieldRule::Id => text(sent, true),
        FieldRule::List => list(sent, required, encoding),
        FieldRule::OneOf(names) => one_of(sent, names),
        FieldRule::Deadline => deadline(sent, rules),
        FieldRule::Object => object(sent),
        FieldRule::Version => version(sent),
    }
}

/// Recognizes text in place of a value. In prose, the whole text must be one; in one line, a part is enough.
fn in_place_of_a_value(sent: &Value, rule: FieldRule) -> Option<Unevaluated> {
    let text = sent.as_str()?;
    match rule {
        FieldRule::Text => Unevaluated::whole(text),
        // `[undefined]` and `[null]` are lists without a value.
        FieldRule::List => Unevaluated::whole(text).filter(|it| *it != Unevaluated::Preview),
        _ => Unevaluated::whole(text).or_else(|| Unevaluated::part(text)),
    }
}
