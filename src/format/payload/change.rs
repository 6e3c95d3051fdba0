//! Parses a change of a task: every field is optional, and null clears a field.

use serde_json::{Map, Value};

use super::decoded::{Encoding, Loosened, Payload, Rules};
use super::lax::{read, violation};
use super::rule::{FIELDS, FieldRule};
use super::values::{ReadValue, is_blank, wrong};
use crate::format::schema;
use crate::format::schema::{Violation, Violations, got};

/// Fields of a change in addition to those of a new task.
const MORE: [(&str, FieldRule, bool); 2] =
    [("external_message_ids", FieldRule::Object, false), ("version", FieldRule::Version, false)];
/// Fields that null clears. `tags` and `external_message_ids` become empty.
const CLEARED: [&str; 8] =
    ["tags", "call_id", "fax_id", "assistant_id", "session_id", "patient_id", "type", "external_message_ids"];

/// Parses the fields to change, and the version, with the rules for a new task. Null is kept for fields that it
/// clears.
///
/// # Errors
/// All violations, in document order.
pub fn task_changes(payload: Payload, rules: &Rules) -> Result<(Map<String, Value>, Loosened), Violations> {
    let Payload { value, encoding, mut loosened, .. } = payload;
    let mut canonical = Map::new();
    let mut violations = Vec::new();
    let mut named = false;
    for (name, sent) in value.as_object().into_iter().flatten() {
        let Some((_, rule, required)) = FIELDS.iter().chain(&MORE).find(|(known, ..)| known == name) else { continue };
        named |= name != "version";
        match read_change(name, sent, *rule, *required, encoding, rules) {
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
    if !named {
        violations.push(nothing_named());
    }
    let canonical = Value::Object(canonical);
    let found = Violations::from(violations);
    let found = match schema::task_update().check(&canonical) {
        Ok(()) => found,
        Err(more) => found.and(more),
    };
    match canonical {
        Value::Object(canonical) if found.is_empty() => Ok((canonical, loosened)),
        _ => Err(found.in_document_order(&value)),
    }
}

fn read_change(
    name: &str,
    sent: &Value,
    rule: FieldRule,
    required: bool,
    encoding: Encoding,
    rules: &Rules,
) -> ReadValue {
    let cleared = CLEARED.contains(&name);
    let keep = "; omit it to keep the current value";
    match sent {
        Value::Null if cleared => ReadValue::Exact(Value::Null),
        // A null version counts as not sent.
        Value::Null if name == "version" => ReadValue::Blank,
        Value::Null => wrong("null", "a value", format!("cannot be null{keep}"), None),
        _ if required && !rules.strict && is_blank(sent) => {
            wrong("blank", "a value", format!("{} is blank{keep}", got(sent)), None)
        }
        _ => read(sent, rule, required, encoding, rules),
    }
}

/// Returns the names of the fields that can be changed.
pub(crate) fn changeable() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, ..)| *name).chain(["external_message_ids"])
}

fn nothing_named() -> Violation {
    let names: Vec<_> = changeable().collect();
    let expected = format!("one or more of {}", names.join(", "));
    Violation {
        message: format!("body: contains no field that can be changed; send {expected}"),
        pointer: String::new(),
        code: "nothing_to_change".into(),
        expected,
        got: None,
        hint: None,
    }
}
