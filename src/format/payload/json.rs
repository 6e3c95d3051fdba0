//! Parses JSON (RFC 8259) in one pass, and refuses a name that occurs twice in one object.
//!
//! Where the rules are not strict, a lone surrogate becomes U+FFFD, and a number that a 64-bit float does not hold
//! becomes its text; both are reported.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::number;
use super::surrogate::without_lone_surrogates;
use crate::format::schema::cut;

/// serde_json's own limit, which protects the stack: values are nested less deeply.
pub(super) const DEPTH: usize = 128;
/// Prefix that marks our own error among the parser's.
const DUPLICATE: &str = "duplicate key: ";

/// Parses JSON.
///
/// # Errors
/// Fails if the text is not JSON, or has a number that a 64-bit float does not hold.
pub(super) fn parse(text: &str) -> Result<Value, DecodeError> {
    let (value, floats) = parse_with(text, &[])?;
    match floats {
        1.. if !number::inexact(text).is_empty() => Err(DecodeError::InexactNumber),
        _ => Ok(value),
    }
}

/// Parses JSON, and reads what [`parse`] refuses if its meaning is clear.
///
/// # Errors
/// Fails if the text is not JSON.
pub(super) fn read(text: &str, loosened: &mut Loosened) -> Result<Value, DecodeError> {
    let repaired;
    let (mut text, mut parsed) = (text, parse_with(text, &[]));
    if parsed.as_ref().is_err_and(DecodeError::may_be_a_surrogate)
        && let Some(it) = without_lone_surrogates(text)
    {
        loosened.add("surrogate");
        repaired = it;
        text = &repaired;
        parsed = parse_with(text, &[]);
    }
    let (value, floats) = parsed?;
    let inexact = if floats > 0 { number::inexact(text) } else { Vec::new() };
    if inexact.is_empty() {
        return Ok(value);
    }
    loosened.add("number");
    parse_with(text, &inexact).map(|(value, _)| value)
}

/// Returns the value, and how many floats it has. The floats at `as_text` become their text.
fn parse_with(text: &str, as_text: &[(usize, &str)]) -> Result<(Value, usize), DecodeError> {
    let floats = Cell::new(0);
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Unique { floats: &floats, as_text }.deserialize(&mut parser).map_err(|e| explain(&e))?;
    parser.end().map_err(|e| explain(&e))?;
    Ok((value, floats.get()))
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

impl DecodeError {
    /// Returns whether this is how the parser describes half of a surrogate pair.
    fn may_be_a_surrogate(&self) -> bool {
        matches!(self, Self::Json { message, .. } if message.contains("hex escape"))
    }
}

#[derive(Clone, Copy)]
struct Unique<'a> {
    floats: &'a Cell<usize>,
    as_text: &'a [(usize, &'a str)],
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
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
        let place = self.floats.get();
        self.floats.set(place + 1);
        if let Ok(found) = self.as_text.binary_search_by_key(&place, |(place, _)| *place) {
            return Ok(self.as_text.get(found).map_or(Value::Null, |(_, text)| Value::String((*text).to_owned())));
        }
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
