//! Values that are replaced before anything is stored, logged or handed to the plugin.

use serde_json::{Map, Value};

use super::Integration;
use crate::event::RawEvent;
use crate::payload::{DecodeError, Payload};

/// What stands in the place of a text. Numbers become 0, booleans false, lists and objects empty: the types stay, so
/// that a mapper which reads them goes on working.
pub const PLACEHOLDER: &str = "[redacted]";

/// Places in a payload: JSON Pointers (RFC 6901), in which `*` stands for every member of an object or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redact(Vec<Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    pointer: String,
    steps: Vec<String>,
}

impl Redact {
    /// These pointers.
    #[must_use]
    pub fn new(pointers: &[String]) -> Self {
        Self(pointers.iter().map(|it| Place { pointer: it.clone(), steps: steps(it) }).collect())
    }

    /// Whether there is nothing to replace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this place is replaced, or stands in one that is.
    #[must_use]
    pub fn covers(&self, pointer: &str) -> bool {
        let found = steps(pointer);
        let fits = |(step, found): (&String, &String)| step == "*" || step == found;
        self.0.iter().any(|it| it.steps.len() <= found.len() && it.steps.iter().zip(&found).all(fits))
    }

    /// Replaces what is there; gives the pointers at which something was.
    pub fn apply(&self, payload: &mut Value) -> Vec<String> {
        let replaced = self.0.iter().filter(|it| replace(payload, &it.steps));
        replaced.map(|it| it.pointer.clone()).collect()
    }
}

/// The steps of a pointer, as they stand in the value.
fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect()
}

/// Whether anything was there. Null says nothing and stays.
fn replace(value: &mut Value, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        *value = match value {
            Value::Null => return false,
            Value::Bool(_) => Value::Bool(false),
            Value::Number(_) => 0.into(),
            Value::String(_) => PLACEHOLDER.into(),
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(Map::new()),
        };
        return true;
    };
    let mut found = false;
    match value {
        Value::Object(map) => {
            for (_, it) in map.iter_mut().filter(|(name, _)| step == "*" || *name == step) {
                found |= replace(it, rest);
            }
        }
        Value::Array(items) => {
            let index: Option<usize> = step.parse().ok();
            for (_, it) in items.iter_mut().enumerate().filter(|(at, _)| step == "*" || Some(*at) == index) {
                found |= replace(it, rest);
            }
        }
        _ => {}
    }
    found
}

impl Integration {
    /// A delivery's payload as the plugin may see it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn payload(&self, raw: &RawEvent) -> Result<Payload, DecodeError> {
        let mut payload = raw.decode(&self.schema, &self.rules)?;
        self.redact.apply(&mut payload.value);
        Ok(payload)
    }

    /// Makes of a delivery what may be stored: where this integration redacts, the payload with its values replaced, as JSON
    /// and without what was wrapped around it. One that cannot be read loses its body, as nobody can tell what stands in it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn redact(&self, raw: &mut RawEvent) -> Result<(), DecodeError> {
        if self.redact.is_empty() {
            return Ok(());
        }
        let decoded = raw.decode(&self.schema, &self.rules);
        raw.body = bytes::Bytes::new();
        match decoded {
            Ok(mut payload) => {
                raw.redacted = self.redact.apply(&mut payload.value);
                raw.body = payload.value.to_string().into();
                raw.content_type = Some("application/json".into());
                Ok(())
            }
            Err(error) => {
                raw.redacted = vec![String::new()];
                Err(error)
            }
        }
    }
}
