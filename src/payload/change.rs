//! A change of a task: every field may be missing, and null means something.

use serde_json::{Map, Value};

use super::lax::{FIELDS, Rule, read, violation};
use super::values::{Read, is_blank, wrong};
use super::{Encoding, Loosened, Payload, Rules};
use crate::schema::{self, Violation, Violations, got};

/// Beside those of a new task.
const MORE: [(&str, Rule, bool); 2] =
    [("external_message_ids", Rule::Object, false), ("version", Rule::Version, false)];
/// What null clears. `tags` and `external_message_ids` are empty then.
const CLEARED: [&str; 8] =
    ["tags", "call_id", "fax_id", "assistant_id", "session_id", "patient_id", "type", "external_message_ids"];

/// The fields that are to be changed, and the version, read as those of a new task are. Null stays where it clears.
///
/// # Errors
/// Every violation, in document order.
pub fn task_changes(payload: Payload, rules: &Rules) -> Result<(Map<String, Value>, Loosened), Violations> {
    let Payload { value, encoding, mut loosened } = payload;
    let mut canonical = Map::new();
    let mut violations = Vec::new();
    let mut named = false;
    for (name, sent) in value.as_object().into_iter().flatten() {
        let Some((_, rule, required)) = FIELDS.iter().chain(&MORE).find(|(known, ..)| known == name) else { continue };
        named |= name != "version";
        match read_change(name, sent, *rule, *required, encoding, rules) {
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

fn read_change(name: &str, sent: &Value, rule: Rule, required: bool, encoding: Encoding, rules: &Rules) -> Read {
    let cleared = CLEARED.contains(&name);
    let keep = "; leave it out to keep what is there";
    match sent {
        Value::Null if cleared => Read::Exact(Value::Null),
        // A version of null is one that was not sent.
        Value::Null if name == "version" => Read::Blank,
        Value::Null => wrong("null", "a value", format!("cannot be null{keep}"), None),
        _ if required && !rules.strict && is_blank(sent) => {
            wrong("blank", "a value", format!("{} is blank{keep}", got(sent)), None)
        }
        _ => read(sent, rule, required, encoding, rules),
    }
}

fn nothing_named() -> Violation {
    let names: Vec<_> = FIELDS.iter().map(|(name, ..)| *name).chain(["external_message_ids"]).collect();
    let expected = format!("one or more of {}", names.join(", "));
    Violation {
        message: format!("body: names no field that can be changed; send {expected}"),
        pointer: String::new(),
        code: "nothing_to_change".into(),
        expected,
        got: None,
        hint: None,
    }
}
