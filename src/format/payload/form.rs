//! Parses forms: `application/x-www-form-urlencoded` with bracket names as n8n and PHP use them.
//!
//! `a=1` is a field; `a=1&a=2`, `a[]=1&a[]=2` and `a[0]=1&a[1]=2` are lists; `a[b]=1` is an object. n8n writes a
//! list under the name `a[]` as `a[][0]=1&a[][1]=2`, which is the same list.

use serde_json::{Map, Value};

use super::decode_error::DecodeError;

/// Maximum number of fields in a form.
const FIELDS: usize = 1000;
/// Maximum depth of a name in brackets.
const DEPTH: usize = 16;

pub(super) fn parse(text: &str) -> Result<Value, DecodeError> {
    build(form_urlencoded::parse(text.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())))
}

/// Builds a value from named texts.
pub(super) fn build(fields: impl Iterator<Item = (String, String)>) -> Result<Value, DecodeError> {
    let mut root = Value::Object(Map::new());
    for (index, (name, text)) in fields.enumerate() {
        if index == FIELDS {
            return Err(DecodeError::Form { message: format!("it has more than {FIELDS} fields") });
        }
        insert(&mut root, &path(&name)?, text);
    }
    Ok(root)
}

/// Splits a name: `a[b][0]` → a, b, 0.
fn path(name: &str) -> Result<Vec<&str>, DecodeError> {
    let Some((first, brackets)) = name.split_once('[').filter(|(first, rest)| !first.is_empty() && rest.ends_with(']'))
    else {
        return Ok(vec![name]);
    };
    let mut parts = vec![first];
    parts.extend(brackets[..brackets.len() - 1].split("]["));
    if parts.len() > DEPTH {
        return Err(DecodeError::Form { message: format!("a name is nested deeper than {DEPTH} levels") });
    }
    // n8n's `a[][0]`: only the index counts.
    if let [_, "", rest @ ..] = parts.as_slice()
        && rest.first().is_some_and(|it| is_index(it))
    {
        parts.remove(1);
    }
    Ok(parts)
}

fn is_index(part: &str) -> bool {
    part.is_empty() || (part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit()))
}

fn insert(place: &mut Value, path: &[&str], text: String) {
    let Some((part, rest)) = path.split_first() else {
        return add(place, text);
    };
    if let Value::Array(items) = place {
        // Lists grow in the order of sending, so that an index cannot create a million empty places.
        let at = part.parse::<usize>().ok().filter(|at| *at < items.len() && !rest.is_empty()).unwrap_or(items.len());
        if at == items.len() {
            items.push(empty(rest));
        }
        return insert(&mut items[at], rest, text);
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    if let Value::Object(map) = place {
        insert(map.entry(*part).or_insert_with(|| empty(rest)), rest, text);
    }
}

/// Returns the initial value of a new place, depending on the next part of its name.
fn empty(rest: &[&str]) -> Value {
    match rest.first() {
        None => Value::Null,
        Some(part) if is_index(part) => Value::Array(Vec::new()),
        Some(_) => Value::Object(Map::new()),
    }
}

/// Adds a text; a repeated name becomes a list.
fn add(place: &mut Value, text: String) {
    match place {
        Value::Null => *place = Value::String(text),
        Value::Array(items) => items.push(Value::String(text)),
        other => *other = Value::Array(vec![other.take(), Value::String(text)]),
    }
}
