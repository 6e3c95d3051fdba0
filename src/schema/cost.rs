//! What a schema can expand to: how many subschemas a single value may be checked against, found when it is loaded.
//!
//! `allOf`, `$ref` and their like apply subschemas to the same value, so 33 levels of two references each are 2^33 checks of
//! one value. Recursion through a value's parts is fine: every level uses up a level of the document. What documents can make
//! of the rest is bounded when they are checked (`meter.rs`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::SchemaError;

/// Most subschemas that one value may be checked against.
const EXPANSIONS: u64 = 10_000;
/// Most patterns that one name may be matched with.
const PATTERNS: usize = 100;
/// Most subschemas of one value that lead into each other, references included.
const DEPTH: usize = 400;
/// Most subschemas that lead into each other at all. The compiler's stack has room for more.
const CHAIN: usize = 2000;

/// Keywords whose subschemas apply to the value itself: one, a list, or one for each name.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
/// Those that apply to its parts.
const PARTS: [&str; 10] = [
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
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The patterns that are in a schema.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patterns {
    /// Whether there are any.
    pub(super) any: bool,
    /// Most that a member's name is matched with in one step of a check.
    pub(super) per_name: usize,
}

/// The schema's patterns, where every value can be checked against a bearable number of subschemas.
pub(super) fn check(schema: &Value) -> Result<Patterns, SchemaError> {
    let mut names = Names::default();
    names.read(schema);
    let mut walk = Walk { root: schema, names, known: HashMap::new() };
    walk.all(schema, "", 0)?;
    walk.chain(schema, 0, &mut HashSet::new())?;
    let mut found = Found::default();
    found.read(schema);
    // It matches a name with the patterns of all subschemas in one step.
    let per_name = if found.unevaluated { found.sum } else { found.most };
    Ok(Patterns { any: found.any, per_name })
}

/// Patterns anywhere in a schema: a reference can lead to any place.
#[derive(Default)]
struct Found {
    any: bool,
    unevaluated: bool,
    most: usize,
    sum: usize,
}

impl Found {
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
struct Names<'a> {
    ids: HashMap<&'a str, &'a Value>,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Names<'a> {
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

struct Walk<'a> {
    root: &'a Value,
    names: Names<'a>,
    /// By address; none while it is being counted.
    known: HashMap<usize, Option<u64>>,
}

impl<'a> Walk<'a> {
    /// Every subschema that is written down.
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

    /// How many subschemas a value is checked against, where it is checked against this one.
    fn expansions(&mut self, schema: &'a Value, place: &str, depth: usize) -> Result<u64, SchemaError> {
        let fail = |cause: String| SchemaError::Cost { place: place.to_owned(), cause };
        let Value::Object(map) = schema else { return Ok(1) };
        if depth > DEPTH {
            return Err(fail(format!("more than {DEPTH} subschemas lead into each other; make the chain shorter")));
        }
        let address = std::ptr::from_ref(schema) as usize;
        match self.known.get(&address) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => {
                return Err(fail(
                    "the schema refers to itself without going into a part of the value; refer to it from \"properties\" or \"items\"".into(),
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
            return Err(fail("the format \"regex\" would compile whatever a sender sends; leave it out".into()));
        }
        if sum > EXPANSIONS {
            return Err(fail(format!(
                "one value would be checked against more than {EXPANSIONS} subschemas; use fewer branches in anyOf, oneOf, allOf and $ref"
            )));
        }
        self.known.insert(address, Some(sum));
        Ok(sum)
    }

    /// As the compiler goes through it: into every value that is written down, and along every reference, once.
    fn chain(&self, value: &'a Value, depth: usize, seen: &mut HashSet<usize>) -> Result<(), SchemaError> {
        if !matches!(value, Value::Object(_) | Value::Array(_)) || !seen.insert(std::ptr::from_ref(value) as usize) {
            return Ok(());
        }
        if depth > CHAIN {
            let cause =
                format!("more than {CHAIN} subschemas lead into each other; make the chain of references shorter");
            return Err(SchemaError::Cost { place: String::new(), cause });
        }
        let targets = value.as_object().map(|it| self.targets(it)).unwrap_or_default();
        targets.into_iter().chain(children(value)).try_for_each(|it| self.chain(it, depth + 1, seen))
    }

    fn targets(&self, map: &serde_json::Map<String, Value>) -> Vec<&'a Value> {
        let named = |it: &str| map.get(it).and_then(Value::as_str);
        let fixed = named("$ref").map(|it| self.target(it)).unwrap_or_default();
        // Which one it is, a document decides: all of them are counted.
        let dynamic = named("$dynamicRef").map(|it| self.target(it)).unwrap_or_default();
        fixed.into_iter().chain(dynamic).collect()
    }

    /// What is not found is refused by the compiler, or leads into one of the standard's own schemas.
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
