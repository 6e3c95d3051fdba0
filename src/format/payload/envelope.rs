//! Removes wrappers that n8n and other tools put around a payload, unless the schema expects them.

use serde_json::{Map, Value};

use super::decode::inner_json;
use super::decode_error::DecodeError;
use super::decoded::{Payload, Rules};
use crate::format::schema::Shape;

/// Maximum number of nested wrappers.
const LEVELS: usize = 4;
/// Fields of an n8n Webhook node's item; `body` is the payload.
const WEBHOOK_ITEM: [&str; 6] = ["headers", "params", "query", "body", "webhookUrl", "executionMode"];

/// Removes wrappers around a payload.
///
/// # Errors
/// [`DecodeError::MultipleItems`] if there are several items, [`DecodeError::NotAnObject`] if there is none, or
/// another value.
pub fn unwrap_envelope(mut payload: Payload, shape: &Shape, rules: &Rules) -> Result<Payload, DecodeError> {
    for _ in 0..LEVELS {
        if rules.strict {
            break;
        }
        match step(payload.value.take(), shape)? {
            EnvelopeStep::Done(value) => {
                payload.value = value;
                break;
            }
            EnvelopeStep::Unwrapped(value) => {
                payload.value = value;
                payload.loosened.add("envelope");
            }
        }
    }
    match &payload.value {
        Value::Object(_) => Ok(payload),
        Value::Array(_) if shape.takes_array() => Ok(payload),
        other => Err(DecodeError::NotAnObject { got: kind(other) }),
    }
}

enum EnvelopeStep {
    Done(Value),
    Unwrapped(Value),
}

fn step(value: Value, shape: &Shape) -> Result<EnvelopeStep, DecodeError> {
    match value {
        Value::Array(items) if shape.takes_array() => Ok(EnvelopeStep::Done(Value::Array(items))),
        Value::Array(mut items) => match items.len() {
            1 => Ok(EnvelopeStep::Unwrapped(items.remove(0))),
            0 => Err(DecodeError::NotAnObject { got: "an empty array" }),
            count => Err(DecodeError::MultipleItems { count }),
        },
        Value::Object(mut map) => match wrapper(&map, shape) {
            None => Ok(EnvelopeStep::Done(Value::Object(map))),
            Some(name) => Ok(EnvelopeStep::Unwrapped(match map.swap_remove(name) {
                Some(Value::String(text)) => inner_json(&text)?,
                inner => inner.unwrap_or_default(),
            })),
        },
        other => Ok(EnvelopeStep::Done(other)),
    }
}

/// Returns the name of the field with the payload, if this object is a wrapper.
fn wrapper(map: &Map<String, Value>, shape: &Shape) -> Option<&'static str> {
    let foreign = |name: &str| !shape.knows(name);
    let holds = |name: &str| matches!(map.get(name), Some(Value::Object(_) | Value::Array(_) | Value::String(_)));
    if map.keys().any(|name| !foreign(name)) {
        return None;
    }
    let webhook_item = map.contains_key("headers")
        && map.contains_key("query")
        && map.keys().all(|it| WEBHOOK_ITEM.contains(&it.as_str()));
    if webhook_item && holds("body") {
        return Some("body");
    }
    ["json", "data", "body"].into_iter().find(|name| foreign(name) && holds(name) && plain_wrapper(map, name))
}

/// Returns whether this object wraps its payload in the field `name`. An item may have n8n's own fields next to
/// `json`; text under `data` or `body` is content, unless it is JSON.
fn plain_wrapper(map: &Map<String, Value>, name: &str) -> bool {
    match map.get(name) {
        Some(Value::String(text)) => text.trim_start().starts_with(['{', '[']),
        Some(_) => true,
        None => false,
    }
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

    use super::super::decoded::{Encoding, Loosened};
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
        let payload = Payload { value, encoding: Encoding::Json, loosened: Loosened::default() };
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
            json!({ "json": inner, "pairedItem": 0 }),
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
        let list = shape(&json!({ "type": "array" }));
        assert_eq!(unwrapped(json!([{ "json": 1 }]), &list, false).unwrap(), (json!([{ "json": 1 }]), false));
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
            (json!({ "json": ["x"] }), "text"),
            (json!({ "headers": {}, "query": {}, "body": "call back" }), "text"),
        ] {
            let error = error(value.clone());
            assert!(matches!(&error, DecodeError::NotAnObject { got } if *got == expected), "{value}: {error}");
        }
    }
}
