//! The names of a schema's top level, to distinguish a wrapper from the payload itself.

use std::collections::HashSet;

use serde_json::Value;

/// The top level of a schema.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    names: HashSet<String>,
    takes_array: bool,
}

impl Shape {
    pub(super) fn of(schema: &Value) -> Self {
        let mut shape = Self::default();
        shape.read(schema, schema, 8);
        shape
    }

    /// Returns whether the schema has a property with this name at the top level.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Returns whether the payload may be an array.
    #[must_use]
    pub fn takes_array(&self) -> bool {
        self.takes_array
    }

    /// Reads a schema; `depth` ends a `$ref` cycle.
    fn read(&mut self, schema: &Value, root: &Value, depth: u8) {
        let Some(next) = depth.checked_sub(1) else { return };
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            self.names.extend(properties.keys().cloned());
        }
        self.takes_array |= match schema.get("type") {
            Some(Value::String(name)) => name == "array",
            Some(Value::Array(names)) => names.iter().any(|name| name == "array"),
            _ => false,
        };
        for parts in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()) {
            parts.iter().for_each(|part| self.read(part, root, next));
        }
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|it| root.pointer(it.strip_prefix('#')?));
        if let Some(target) = target {
            self.read(target, root, next);
        }
    }
}
