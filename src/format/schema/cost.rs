//! Bounds what a schema can expand to when it is loaded: how many subschemas a single value may be checked against.
//!
//! `allOf`, `$ref` and similar keywords apply subschemas to the same value, so 33 levels of two references each are
//! 2^33 checks of one value. Recursion into parts of a value is fine, because every level uses up a level of the
//! document. The remaining cost is bounded during the check (`meter.rs`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::error::SchemaError;

/// Maximum number of subschemas that one value may be checked against.
const EXPANSIONS: u64 = 10_000;
/// Maximum number of patterns that one name may be matched with.
const PATTERNS: usize = 100;
/// Maximum depth of subschemas of one value, including references.
const DEPTH: usize = 400;
/// Maximum depth of subschemas in total. The compiler's stack has room for more.
const CHAIN: usize = 2000;

/// Keywords whose subschemas apply to the value itself: one, a list, or one per name.
pub(super) const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
/// Keywords whose subschemas apply to parts of the value.
pub(super) const PARTS: [&str; 10] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "contains",
    "unevaluatedItems",
    "contentSchema",
];
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The patterns in a schema.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patterns {
    /// Whether the schema has patterns.
    pub(super) any: bool,
    /// Maximum number of patterns that a member's name is matched with in one step.
    pub(super) per_name: usize,
}

/// Checks that no value can be checked against too many subschemas, and returns the schema's patterns.
pub(super) fn check(schema: &Value) -> Result<Patterns, SchemaError> {
    let mut names = SchemaIds::default();
    names.read(schema);
    let mut walk = ExpansionWalk { root: schema, names, known: HashMap::new() };
    walk.all(schema, "", 0)?;
    walk.chain(schema, 0, &mut HashSet::new())?;
    let mut found = PatternCount::default();
    found.read(schema);
    // `unevaluatedProperties` matches a name with the patterns of all subschemas in one step.
    let per_name = if found.unevaluated { found.sum } else { found.most };
    Ok(Patterns { any: found.any, per_name })
}

/// All patterns in a schema, because a reference can lead to any place.
#[derive(Default)]
struct PatternCount {
    any: bool,
    unevaluated: bool,
    most: usize,
    sum: usize,
}

impl PatternCount {
    fn read(&mut self, value: &Value) {
        self.any |= value.get("pattern").is_some_and(Value::is_string);
        self.unevaluated |= value.get("unevaluatedProperties").is_some();
        if let Some(named) = value.get("patternProperties").and_then(Value::as_object) {
            self.any = true;
            self.most = self.most.max(named.len());
            self.sum = self.sum.saturating_add(named.len());
        }
        children(value).for_each(|it| self.read(it));
    }
}

/// Subschemas by `$id`, `$anchor` and `$dynamicAnchor`.
#[derive(Default)]
struct SchemaIds<'a> {
    ids: HashMap<&'a str, &'a Value>,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> SchemaIds<'a> {
    fn read(&mut self, value: &'a Value) {
        if let Some(id) = value.get("$id").and_then(Value::as_str) {
            self.ids.insert(id.trim_end_matches('#'), value);
        }
        for name in ["$anchor", "$dynamicAnchor"].iter().filter_map(|it| value.get(it)?.as_str()) {
            self.anchors.entry(name).or_default().push(value);
        }
        children(value).for_each(|it| self.read(it));
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Object(map) => Box::new(map.values()),
        Value::Array(items) => Box::new(items.iter()),
        _ => Box::new(std::iter::empty()),
    }
}

struct ExpansionWalk<'a> {
    root: &'a Value,
    names: SchemaIds<'a>,
    /// Counts by address; `None` while a count is in progress.
    known: HashMap<usize, Option<u64>>,
}

impl<'a> ExpansionWalk<'a> {
    /// Checks every subschema in the document.
    fn all(&mut self, schema: &'a Value, place: &str, depth: usize) -> Result<(), SchemaError> {
        let Value::Object(map) = schema else { return Ok(()) };
        self.expansions(schema, place, depth)?;
        for (name, value) in map {
            let place = format!("{place}/{name}");
            let listed = matches!(
                name.as_str(),
                "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions"
            );
            let known = IN_PLACE.iter().chain(&PARTS).chain(&DEFINITIONS).any(|it| it == name);
            match value {
                _ if !known => {}
                Value::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        self.all(item, &format!("{place}/{index}"), depth + 1)?;
                    }
                }
                Value::Object(named) if listed => {
                    for (name, value) in named {
                        self.all(value, &format!("{place}/{name}"), depth + 1)?;
                    }
                }
                value => self.all(value, &place, depth + 1)?,
            }
        }
        Ok(())
    }

    /// Returns how many subschemas a value is checked against, if it is checked against this one.
    fn expansions(&mut self, schema: &'a Value, place: &str, depth: usize) -> Result<u64, SchemaError> {
        let fail = |cause: String| SchemaError::Cost { place: place.to_owned(), cause };
        let Value::Object(map) = schema else { return Ok(1) };
        if depth > DEPTH {
            return Err(fail(format!(
                "more than {DEPTH} nested subschemas apply to one value; make the chain shorter"
            )));
        }
        let address = std::ptr::from_ref(schema) as usize;
        match self.known.get(&address) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => {
                return Err(fail(
                    "the schema refers to itself for the same value; refer to it from \"properties\" or \"items\""
                        .into(),
                ));
            }
            None => drop(self.known.insert(address, None)),
        }
        let mut sum: u64 = 1;
        for (name, value) in map.iter().filter(|(name, _)| IN_PLACE.contains(&name.as_str())) {
            let place = format!("{place}/{name}");
            let listed = value.is_array() || name == "dependentSchemas";
            if listed {
                for (index, it) in children(value).enumerate() {
                    sum = sum.saturating_add(self.expansions(it, &format!("{place}/{index}"), depth + 1)?);
                }
            } else {
                sum = sum.saturating_add(self.expansions(value, &place, depth + 1)?);
            }
        }
        for target in self.targets(map) {
            sum = sum.saturating_add(self.expansions(target, place, depth + 1)?);
        }
        if map.get("patternProperties").is_some_and(|it| children(it).count() > PATTERNS) {
            return Err(fail(format!("\"patternProperties\" has more than {PATTERNS} patterns; use fewer")));
        }
        if map.get("format").is_some_and(|it| it == "regex") {
            return Err(fail("the format \"regex\" would compile patterns from senders; remove it".into()));
        }
        if sum > EXPANSIONS {
            return Err(fail(format!(
                "one value would be checked against more than {EXPANSIONS} subschemas; use fewer branches in anyOf, oneOf, allOf and $ref"
            )));
        }
        self.known.insert(address, Some(sum));
        Ok(sum)
    }

    /// Follows the schema as the compiler does: into every value, and along every reference, once.
    fn chain(&self, value: &'a Value, depth: usize, seen: &mut HashSet<usize>) -> Result<(), SchemaError> {
        if !matches!(value, Value::Object(_) | Value::Array(_)) || !seen.insert(std::ptr::from_ref(value) as usize) {
            return Ok(());
        }
        if depth > CHAIN {
            let cause =
                format!("more than {CHAIN} subschemas refer to each other; make the chain of references shorter");
            return Err(SchemaError::Cost { place: String::new(), cause });
        }
        let targets = value.as_object().map(|it| self.targets(it)).unwrap_or_default();
        targets.into_iter().chain(children(value)).try_for_each(|it| self.chain(it, depth + 1, seen))
    }

    fn targets(&self, map: &serde_json::Map<String, Value>) -> Vec<&'a Value> {
        let named = |it: &str| map.get(it).and_then(Value::as_str);
        let fixed = named("$ref").map(|it| self.target(it)).unwrap_or_default();
        // The document decides which one applies, so all of them are counted.
        let dynamic = named("$dynamicRef").map(|it| self.target(it)).unwrap_or_default();
        fixed.into_iter().chain(dynamic).collect()
    }

    /// Returns the targets of a reference. If none is found, the compiler refuses it, or it is one of the
    /// standard's own schemas.
    fn target(&self, reference: &str) -> Vec<&'a Value> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if document.is_empty() {
            Some(self.root)
        } else {
            let is_meant = |id: &str| id == document || id.ends_with(&format!("/{document}"));
            self.names.ids.iter().find(|(id, _)| is_meant(id)).map(|(_, it)| *it)
        };
        match fragment {
            "" => base.into_iter().collect(),
            pointer if pointer.starts_with('/') => {
                let pointer = percent_decoded(pointer);
                base.and_then(|it| it.pointer(&pointer)).into_iter().collect()
            }
            name => self.names.anchors.get(name).cloned().unwrap_or_default(),
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex =
            after.get(..2).and_then(|it| std::str::from_utf8(it).ok()).and_then(|it| u8::from_str_radix(it, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
