//! Parses JSON (RFC 8259) in one pass, and refuses a name that occurs twice in one object.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::decode_error::DecodeError;
use crate::format::schema::cut;

/// serde_json's own limit, which protects the stack.
const DEPTH: usize = 128;
/// Prefix that marks our own error among the parser's.
const DUPLICATE: &str = "duplicate key: ";

pub(super) fn parse(text: &str) -> Result<Value, DecodeError> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Unique::deserialize(&mut parser).map_err(|e| explain(&e))?.0;
    parser.end().map_err(|e| explain(&e))?;
    Ok(value)
}

fn explain(error: &serde_json::Error) -> DecodeError {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    // Everything after the marker is the name, which may itself contain " at line ".
    if let Some(rest) = text.strip_prefix(DUPLICATE) {
        let key = rest.rsplit_once(" at line ").map_or(rest, |(key, _)| key);
        return DecodeError::DuplicateKey { key: cut(key) };
    }
    match message {
        "recursion limit exceeded" => DecodeError::TooDeep { limit: DEPTH },
        "number out of range" => DecodeError::NumberOutOfRange,
        message => DecodeError::Json { line: error.line(), column: error.column(), message: message.to_owned() },
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

#[derive(Clone, Copy)]
struct UniqueVisitor;

impl<'de> DeserializeSeed<'de> for UniqueVisitor {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{DUPLICATE}{name}")));
            }
            map.insert(name, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}
