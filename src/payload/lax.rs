//! Values: what people and workflow tools send becomes what the task schema asks for.
//!
//! Each field is read by its rule; then the schema judges the result. A field that cannot be read is a violation
//! of its own, which says more than the schema could.

use serde_json::{Map, Value};

use super::values::{Read, Wrong, deadline, has_nul, is_blank, list, object, one_of, strict, text, version, wrong};
use super::{Encoding, Loosened, Payload, Rules};
use crate::schema::{self, Violation, Violations, got};

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

/// The known fields of a task, read loosely unless the rules are strict, and accepted by the task schema.
///
/// # Errors
/// Every violation, in document order.
pub fn task_fields(payload: Payload, rules: &Rules) -> Result<(Map<String, Value>, Loosened), Violations> {
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
