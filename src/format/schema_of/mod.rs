//! Writes a JSON Schema (draft 2020-12) for what an example payload contains.
//!
//! The schema has names and types, and never a value of the payload. It is strict about what was seen, and accepts
//! additional members, because senders add some over time. `schema_of/seen.rs` collects what the payload contains.

mod seen;

use serde_json::{Map, Value, json};

use seen::{SeenMembers, SeenValues};

/// Maximum number of members of one object that the schema describes.
const MEMBERS: usize = 256;
/// Maximum number of members that the schema describes in all. A check of so many takes less than a millisecond.
const MEMBERS_IN_ALL: usize = 2_000;
/// Maximum depth that the schema describes.
pub(crate) const DEPTH: usize = 12;
/// Maximum length of a member's name in the schema, in bytes.
const NAME: usize = 128;

/// A schema for an example.
#[derive(Debug)]
pub(crate) struct SchemaOf {
    /// The schema.
    pub(crate) schema: Value,
    /// Whether some of the example is not described, which a `$comment` says in its place.
    pub(crate) is_partial: bool,
}

/// Returns a schema that accepts the example, and does not accept an empty object.
#[must_use]
pub(crate) fn schema_of(example: &Value, title: &str) -> SchemaOf {
    let mut draft = Draft { members_left: MEMBERS_IN_ALL, is_partial: false };
    let mut schema = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    let written = draft.schema(&SeenValues::of(example, DEPTH));
    let is_required = written.get("required").is_some();
    if let Some(map) = schema.as_object_mut() {
        map.extend(written);
        match example {
            Value::Object(_) if !is_required => drop(map.insert("minProperties".into(), 1.into())),
            Value::Array(_) => drop(map.insert("minItems".into(), 1.into())),
            _ => {}
        }
    }
    SchemaOf { schema, is_partial: draft.is_partial }
}

struct Draft {
    members_left: usize,
    is_partial: bool,
}

impl Draft {
    fn schema(&mut self, seen: &SeenValues) -> Map<String, Value> {
        let mut schema = Map::new();
        let types = types(seen);
        if seen.is_cut {
            self.is_partial = true;
            comment(&mut schema, format!("what is deeper than {DEPTH} levels is not described"));
        }
        match types.as_slice() {
            [] if seen.null => comment(&mut schema, "the example has null here, so any value is accepted".to_owned()),
            [] => {}
            [one] => drop(schema.insert("type".into(), (*one).into())),
            several => drop(schema.insert("type".into(), json!(several))),
        }
        if let Some(format) = seen.texts.as_ref().and_then(|it| it.format()) {
            schema.insert("format".into(), format.into());
        }
        if let Some(items) = seen.items.as_ref().filter(|it| !it.is_nothing()) {
            schema.insert("items".into(), Value::Object(self.schema(items)));
        }
        if let Some(members) = &seen.members {
            self.members(members, &mut schema);
        }
        schema
    }

    fn members(&mut self, members: &SeenMembers, schema: &mut Map<String, Value>) {
        if let Some(each) = members.of_a_table() {
            comment(schema, "the names of the members look like data, so the schema does not list them".to_owned());
            schema.insert("additionalProperties".into(), Value::Object(self.schema(&each)));
            return;
        }
        let fits = |name: &str| name.len() <= NAME && Value::from(name).to_string().len() <= 2 * NAME;
        let shown: Vec<_> = members.iter().filter(|it| fits(&it.name)).take(MEMBERS.min(self.members_left)).collect();
        // Counted before those of its members, so that one large member does not use up the place of its siblings.
        self.members_left -= shown.len();
        if shown.len() < members.len() {
            self.is_partial = true;
            comment(schema, format!("{} more members are not described", members.len() - shown.len()));
        }
        let required: Vec<_> = shown.iter().filter(|it| members.requires(it)).map(|it| it.name.as_str()).collect();
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        let described: Map<String, Value> =
            shown.iter().map(|it| (it.name.clone(), Value::Object(self.schema(&it.seen)))).collect();
        if !described.is_empty() {
            schema.insert("properties".into(), Value::Object(described));
        }
    }
}

/// Adds to a schema's comment.
fn comment(schema: &mut Map<String, Value>, sentence: String) {
    let before = schema.get("$comment").and_then(Value::as_str).map(|it| format!("{it}; "));
    schema.insert("$comment".into(), (before.unwrap_or_default() + &sentence).into());
}

/// Returns the types that were seen. Null alone says nothing about the type of other values.
fn types(seen: &SeenValues) -> Vec<&'static str> {
    let is_long_number = seen.texts.as_ref().is_some_and(|it| it.long_number);
    let all = [
        ("boolean", seen.boolean),
        // A whole number in an example is not a promise, and a number that is too long arrives as text.
        ("number", seen.number || is_long_number),
        ("string", seen.texts.is_some()),
        ("array", seen.items.is_some()),
        ("object", seen.members.is_some()),
    ];
    let mut types: Vec<_> = all.into_iter().filter(|(_, is_seen)| *is_seen).map(|(name, _)| name).collect();
    if seen.null && !types.is_empty() {
        types.push("null");
    }
    types
}

#[cfg(test)]
mod tests;
