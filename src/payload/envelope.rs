//! Wrappers that n8n and others put around a payload, taken off where the schema does not ask for them.

use serde_json::{Map, Value};

use super::decode::inner_json;
use super::{DecodeError, Payload, Rules};
use crate::schema::Shape;

/// Most wrappers around each other.
const LEVELS: usize = 4;
/// An n8n Webhook node's item; `body` is the payload.
const WEBHOOK_ITEM: [&str; 6] = ["headers", "params", "query", "body", "webhookUrl", "executionMode"];

/// Takes n8n's wrappers off.
///
/// # Errors
/// [`DecodeError::MultipleItems`] for several items, [`DecodeError::NotAnObject`] for none and for other values.
pub fn unwrap_envelope(mut payload: Payload, shape: &Shape, rules: &Rules) -> Result<Payload, DecodeError> {
    for _ in 0..LEVELS {
        if rules.strict {
            break;
        }
        match step(payload.value.take(), shape)? {
            Step::Done(value) => {
                payload.value = value;
                break;
            }
            Step::Unwrapped(value) => {
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

enum Step {
    Done(Value),
    Unwrapped(Value),
}

fn step(value: Value, shape: &Shape) -> Result<Step, DecodeError> {
    match value {
        Value::Array(items) if shape.takes_array() => Ok(Step::Done(Value::Array(items))),
        Value::Array(mut items) => match items.len() {
            1 => Ok(Step::Unwrapped(items.remove(0))),
            0 => Err(DecodeError::NotAnObject { got: "an empty array" }),
            count => Err(DecodeError::MultipleItems { count }),
        },
        Value::Object(mut map) => match wrapper(&map, shape) {
            None => Ok(Step::Done(Value::Object(map))),
            Some(name) => Ok(Step::Unwrapped(match map.swap_remove(name) {
                Some(Value::String(text)) => inner_json(&text)?,
                inner => inner.unwrap_or_default(),
            })),
        },
        other => Ok(Step::Done(other)),
    }
}

/// The name under which the payload stands, where this object is a wrapper.
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

/// An item may carry n8n's own marks beside `json`; text under `data` or `body` is content, unless it is JSON.
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
