//! Removes wrappers that n8n and other tools put around a payload, unless the schema expects them.
//!
//! A wrapper holds nothing but the payload, or only n8n's own markers next to it: what is lost has no meaning.

use serde_json::{Map, Value};

use super::decode_error::DecodeError;
use super::decoded::{Encoding, Loosened, Payload, Rules};
use super::json;
use super::stored::is_file;
use crate::format::schema::Shape;

/// Maximum number of nested wrappers.
const LEVELS: usize = 4;
/// Names of wrappers, each with n8n's own names next to it: those of an item, and those of the Webhook node.
const WRAPPERS: [(&str, &[&str]); 3] = [
    ("json", &["pairedItem", "binary"]),
    ("body", &["headers", "params", "query", "webhookUrl", "executionMode"]),
    ("data", &[]),
];

/// Removes wrappers around a payload.
///
/// # Errors
/// [`DecodeError::MultipleItems`] if there are several items, [`DecodeError::NotAnObject`] if there is none, or
/// another value.
pub fn unwrap_envelope(mut payload: Payload, shape: &Shape, rules: &Rules) -> Result<Payload, DecodeError> {
    for _ in 0..LEVELS {
        if rules.strict || !rules.unwrap {
            break;
        }
        let Some((step, inner)) = wrapped(&payload, shape)? else { break };
        payload.enter(&step);
        if let Some((inner, loosened)) = inner {
            payload.value = inner;
            payload.encoding = Encoding::Json;
            loosened.iter().for_each(|it| payload.loosened.add(it));
        }
        if payload.encoding == Encoding::JsonField {
            payload.encoding = Encoding::Json;
        }
        payload.loosened.add("envelope");
    }
    match &payload.value {
        Value::Object(_) => Ok(payload),
        Value::Array(_) if shape.takes_array() => Ok(payload),
        Value::Array(items) if items.is_empty() => Err(DecodeError::NotAnObject { got: "an empty array" }),
        other => Err(DecodeError::NotAnObject { got: kind(other) }),
    }
}

/// JSON that was sent as text.
type InnerJson = Option<(Value, Loosened)>;

/// Returns the place of the payload in a value that wraps it.
fn wrapped(payload: &Payload, shape: &Shape) -> Result<Option<(String, InnerJson)>, DecodeError> {
    match &payload.value {
        Value::Array(_) if shape.takes_array() => Ok(None),
        Value::Array(items) => match items.len() {
            0 => Ok(None),
            1 => Ok(Some(("0".into(), None))),
            count => Err(DecodeError::MultipleItems { count }),
        },
        Value::Object(map) if !map.keys().any(|it| shape.knows(it)) => Ok(wrapper(map, payload.encoding)),
        _ => Ok(None),
    }
}

/// Returns the name of the field with the payload, if this object is a wrapper.
fn wrapper(map: &Map<String, Value>, encoding: Encoding) -> Option<(String, InnerJson)> {
    for (name, markers) in WRAPPERS {
        // A file next to the payload, or in its place, would be lost.
        if !map.keys().all(|it| it == name || markers.contains(&it.as_str())) || map.values().any(holds_file) {
            continue;
        }
        let Some(inner) = map.get(name) else { continue };
        match inner {
            Value::Object(_) => return Some((name.into(), None)),
            // A list of texts or numbers is content, unless n8n's own names are next to it.
            Value::Array(items) if map.len() > 1 || items.iter().all(Value::is_object) => {
                return Some((name.into(), None));
            }
            Value::String(text) => {
                let inner = json_of(text, &['{', '[']).filter(|(value, _)| is_one_object(value));
                return inner.map(|inner| (name.into(), Some(inner)));
            }
            _ => return None,
        }
    }
    // A form with one field whose value is an object, as GitHub and Slack send it.
    let (name, value) = map.iter().next().filter(|_| encoding != Encoding::Json && map.len() == 1)?;
    if encoding == Encoding::JsonField && value.is_object() {
        return Some((name.clone(), None));
    }
    Some((name.clone(), Some(json_of(value.as_str()?, &['{'])?)))
}

/// Returns whether a value is a file, or a list with one.
fn holds_file(value: &Value) -> bool {
    is_file(value) || value.as_array().is_some_and(|items| items.iter().any(is_file))
}

/// Returns whether a value is an object, or a list of one: any other list in a text is content.
fn is_one_object(value: &Value) -> bool {
    value.is_object() || value.as_array().is_some_and(|it| matches!(it.as_slice(), [Value::Object(_)]))
}

/// Parses text that begins with one of these characters and is JSON.
fn json_of(text: &str, starts: &[char]) -> Option<(Value, Loosened)> {
    let mut loosened = Loosened::default();
    let value = text.trim_start().starts_with(starts).then(|| json::read(text, &mut loosened))?.ok()?;
    Some((value, loosened))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::schema::Schema;

    /// The shape of a schema with these properties.
    fn shape(schema: &Value) -> Shape {
        let mut schema = schema.clone();
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        Schema::compile(&schema.to_string()).unwrap().shape().clone()
    }

    fn task() -> Shape {
        shape(&json!({ "type": "object", "properties": { "title": true } }))
    }

    /// The payload, and whether a wrapper was removed.
    fn unwrapped(value: Value, shape: &Shape, strict: bool) -> Result<(Value, bool), DecodeError> {
        let payload = Payload::of(value);
        let rules = Rules { strict, ..Rules::default() };
        let payload = unwrap_envelope(payload, shape, &rules)?;
        Ok((payload.value, payload.loosened.iter().eq(["envelope"])))
    }

    /// Otherwise a workflow that sends an item as n8n shows it gets "title: required".
    #[test]
    fn every_wrapper_of_n8n_is_removed_and_reported() {
        let inner = json!({ "title": "t" });
        for wrapped in [
            json!([{ "title": "t" }]),
            json!({ "json": inner, "pairedItem": 0, "binary": {} }),
            json!({ "data": inner }),
            json!({ "body": "{\"title\":\"t\"}" }),
            json!({ "headers": {}, "params": {}, "query": {}, "body": inner, "webhookUrl": "x", "executionMode": "test" }),
            json!([{ "json": { "data": { "title": "t" } } }]),
        ] {
            assert_eq!(unwrapped(wrapped.clone(), &task(), false).unwrap(), (inner.clone(), true), "{wrapped}");
        }
        assert_eq!(unwrapped(inner.clone(), &task(), false).unwrap(), (inner, false));
    }

    /// Otherwise a field named `data` or `body` that the schema asks for is taken for a wrapper, and its neighbours are lost.
    #[test]
    fn what_the_schema_knows_is_not_a_wrapper() {
        let own = shape(&json!({ "properties": { "data": true } }));
        for kept in [json!({ "data": { "title": "t" } }), json!({ "data": {}, "json": { "title": "t" } })] {
            assert_eq!(unwrapped(kept.clone(), &own, false).unwrap(), (kept, false));
        }
        // A known field next to it: the object is the payload.
        let both = json!({ "title": "t", "body": { "x": 1 } });
        assert_eq!(unwrapped(both.clone(), &task(), false).unwrap(), (both, false));
        // Text under `body` is content.
        let text = json!({ "body": "call back" });
        assert_eq!(unwrapped(text.clone(), &task(), false).unwrap(), (text, false));
        for text in ["[EXTERNAL] x", "{call back}", "[1", "{\"a\":1} and more"] {
            for sent in [json!({ "body": text }), json!({ "headers": {}, "query": {}, "body": text })] {
                assert_eq!(unwrapped(sent.clone(), &task(), false).unwrap(), (sent, false));
            }
        }
        let list = shape(&json!({ "type": "array" }));
        assert_eq!(unwrapped(json!([{ "json": 1 }]), &list, false).unwrap(), (json!([{ "json": 1 }]), false));
    }

    /// Otherwise what is next to a field named `data` is lost: its ids, the subject, a task's priority.
    #[test]
    fn an_object_with_anything_else_is_not_a_wrapper() {
        for kept in [
            json!({ "subject": "Lead", "priority": "high", "data": { "title": "Dr." } }),
            json!({ "id": "evt_1", "json": { "title": "t" } }),
            json!({ "headers": {}, "query": {}, "body": { "title": "t" }, "id": 1 }),
            json!({ "json": { "title": "t" }, "query": {} }),
            json!({ "data": { "title": "t" }, "headers": {} }),
            json!({ "data": { "title": "t" }, "body": { "title": "u" } }),
            json!({ "data": ["a", "b"] }),
            json!({ "data": 7 }),
        ] {
            assert_eq!(unwrapped(kept.clone(), &task(), false).unwrap(), (kept, false));
        }
        let signed = Rules { unwrap: false, ..Rules::default() };
        let sent = json!({ "data": { "title": "t" } });
        assert_eq!(unwrap_envelope(Payload::of(sent.clone()), &task(), &signed).unwrap().value, sent);
    }

    /// Otherwise an id next to n8n's `body` does not deduplicate, or one inside of it is looked for in the wrong place.
    #[test]
    fn pointers_find_what_is_around_a_payload() {
        let sent = json!([{ "json": { "query": { "id": 7 }, "body": "{\"data\":{\"id\":8,\"x\":[1]}}" } }]);
        let payload = unwrap_envelope(Payload::of(sent), &task(), &Rules::default()).unwrap();
        assert_eq!(payload.value, json!({ "id": 8, "x": [1] }));
        for (pointer, expected) in [
            ("/0/json/query/id", Some(7)),
            ("/0/json/body/data/id", Some(8)),
            ("/0/json/body/data/x/0", Some(1)),
            ("/id", Some(8)),
            ("/x/0", Some(1)),
            ("/0/json/missing", None),
            ("/query/id", None),
        ] {
            assert_eq!(payload.pointer(pointer), expected.map(Value::from).as_ref(), "{pointer}");
        }
        assert_eq!(payload.pointer(""), Some(&json!([null])));
    }

    /// Otherwise a plugin gets the text of GitHub's JSON, and no pointer finds anything in it.
    #[test]
    fn a_form_with_nothing_but_json_is_that_json() {
        let form = |value: Value| {
            let payload = Payload::new(value, Encoding::Form, Loosened::default());
            let payload = unwrap_envelope(payload, &task(), &Rules::default()).unwrap();
            (payload.value, payload.encoding)
        };
        assert_eq!(form(json!({ "payload": "{\"id\":1}" })), (json!({ "id": 1 }), Encoding::Json));
        for kept in [
            json!({ "payload": "{\"id\":1}", "token": "x" }),
            json!({ "payload": "{id}" }),
            json!({ "title": "{\"id\":1}" }),
            json!({ "patient": { "name": "x" } }),
        ] {
            assert_eq!(form(kept.clone()), (kept, Encoding::Form));
        }
    }

    /// A strict key must get the documented form only, and a wrapper in a wrapper must not cost without an end.
    #[test]
    fn strict_rules_and_depth_end_the_unwrapping() {
        let wrapped = json!({ "json": { "title": "t" } });
        assert_eq!(unwrapped(wrapped.clone(), &task(), true).unwrap(), (wrapped, false));
        let nested = |levels: usize| (0..levels).fold(json!({ "title": "t" }), |inner, _| json!({ "json": inner }));
        assert_eq!(unwrapped(nested(LEVELS), &task(), false).unwrap().0, nested(0));
        assert_eq!(unwrapped(nested(LEVELS + 2), &task(), false).unwrap().0, nested(2));
    }

    #[test]
    fn anything_but_one_object_is_an_error_that_names_what_came() {
        let error = |value: Value| unwrapped(value, &task(), false).unwrap_err();
        assert!(matches!(error(json!([1, 2, 3])), DecodeError::MultipleItems { count: 3 }));
        for (value, expected) in [
            (json!([]), "an empty array"),
            (json!(null), "null"),
            (json!(true), "true or false"),
            (json!([1]), "a number"),
            (json!(["x"]), "text"),
        ] {
            let error = error(value.clone());
            assert!(matches!(&error, DecodeError::NotAnObject { got } if *got == expected), "{value}: {error}");
        }
    }
}
