//! Redaction: replaces values before anything is stored, logged or passed to the plugin.
//!
//! A sender decides the structure of a payload, so redaction fails closed: names match in any letter case and with
//! any separators, JSON sent as text and lists in place of objects are searched too, and a value with another
//! structure than a pointer expects is replaced as a whole (docs/decisions).

use serde_json::{Map, Value};

use crate::format::payload::{inner_json, is_file};

/// Replacement for a text. Numbers become 0, booleans false, lists and objects empty: types are kept, so that a
/// plugin that reads them continues to work.
pub const PLACEHOLDER: &str = "[redacted]";

/// Names under which senders and workflow tools wrap a payload, and of what n8n puts next to it.
const WRAPPERS: [&str; 9] = ["json", "data", "body", "payload", "query", "params", "headers", "items", "event"];

/// Places in a payload: JSON Pointers (RFC 6901), in which `*` matches every member of an object or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redact(Vec<RedactedPlace>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct RedactedPlace {
    pointer: String,
    steps: Vec<PathStep>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PathStep {
    name: String,
    /// The name without letter case and separators.
    plain: String,
    is_index: bool,
}

/// What was replaced, as JSON Pointers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplacedValues {
    /// The configured places at which values were replaced.
    pub places: Vec<String>,
    /// Places at which a value with an unexpected structure was replaced as a whole.
    pub wholes: Vec<String>,
}

impl Redact {
    /// Creates a redaction of these pointers.
    #[must_use]
    pub fn new(pointers: &[String]) -> Self {
        Self(pointers.iter().map(|it| RedactedPlace { pointer: it.clone(), steps: steps(it) }).collect())
    }

    /// Returns whether there is nothing to redact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether this place, or one that contains it, is replaced.
    #[must_use]
    pub fn covers(&self, pointer: &str) -> bool {
        let found = steps(pointer);
        self.0.iter().any(|it| it.covers(&found))
    }

    /// Returns whether this place may be replaced in some payload: [`Self::covers`] it, or a redacted place is
    /// inside it.
    #[must_use]
    pub fn may_replace(&self, pointer: &str) -> bool {
        let found = steps(pointer);
        let within = |it: &RedactedPlace| {
            it.steps.len() > found.len() && it.steps.iter().zip(&found).all(|(a, b)| a.fits(&b.name))
        };
        self.covers(pointer) || self.0.iter().any(within)
    }

    /// Returns the places of `earlier` that contain none of these: those that earlier settings are known to have
    /// replaced.
    #[must_use]
    pub fn without_parents(&self, earlier: &[String]) -> Self {
        let is_own = |it: &&String| self.0.iter().any(|own| own.pointer == **it);
        let kept: Vec<_> = earlier.iter().filter(|it| is_own(it) || !self.may_replace(it)).cloned().collect();
        Self::new(&kept)
    }

    /// Replaces the values in a payload.
    pub fn apply(&self, payload: &mut Value) -> ReplacedValues {
        let active: Vec<_> = self.0.iter().map(|place| Active { place, done: 0 }).collect();
        let mut found = Replacements::default();
        replace(payload, &active, &mut found);
        let places = self.0.iter().filter(|it| found.places.iter().any(|found| std::ptr::eq(*found, *it)));
        ReplacedValues { places: places.map(|it| it.pointer.clone()).collect(), wholes: found.wholes }
    }
}

impl RedactedPlace {
    fn covers(&self, found: &[PathStep]) -> bool {
        let mut steps = self.steps.iter().peekable();
        for step in found {
            match steps.peek() {
                None => break,
                Some(own) if own.fits(&step.name) => drop(steps.next()),
                // A list in place of an object.
                Some(own) if step.is_index && !own.is_index => {}
                Some(_) => return false,
            }
        }
        steps.peek().is_none()
    }

    /// Returns the first `done` steps as a pointer.
    fn upto(&self, done: usize) -> String {
        let escaped = |it: &PathStep| format!("/{}", it.name.replace('~', "~0").replace('/', "~1"));
        self.steps.iter().take(done).map(escaped).collect()
    }
}

impl PathStep {
    fn new(name: String) -> Self {
        let is_index = !name.is_empty() && name.bytes().all(|it| it.is_ascii_digit());
        Self { plain: plain(&name).collect(), is_index, name }
    }

    /// Returns whether this step matches a member with this name.
    fn fits(&self, name: &str) -> bool {
        self.name == "*" || self.name == name || (!self.plain.is_empty() && plain(name).eq(self.plain.chars()))
    }
}

/// Returns a name without letter case and separators: `First-Name` is `firstname`.
fn plain(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// Splits a pointer into its unescaped steps.
fn steps(pointer: &str) -> Vec<PathStep> {
    pointer.split('/').skip(1).map(|it| PathStep::new(it.replace("~1", "/").replace("~0", "~"))).collect()
}

/// A place, and how many of its steps lead to the current value.
#[derive(Clone, Copy)]
struct Active<'a> {
    place: &'a RedactedPlace,
    done: usize,
}

impl<'a> Active<'a> {
    fn rest(self) -> &'a [PathStep] {
        self.place.steps.get(self.done..).unwrap_or_default()
    }

    fn after(self, steps: usize) -> Self {
        Self { done: self.done + steps, ..self }
    }

    /// Returns the place after a member with this name, which may cover several steps: `patient.email` and
    /// `patient[email]` are two.
    fn into_member(self, name: &str) -> Option<Self> {
        let rest = self.rest();
        if rest.first().is_some_and(|it| it.fits(name)) {
            return Some(self.after(1));
        }
        if !name.contains(['.', '[', '/', ':']) {
            return None;
        }
        let parts: Vec<_> = name.split(['.', '[', ']', '/', ':']).filter(|it| !it.is_empty()).collect();
        let fits =
            parts.len() > 1 && parts.len() <= rest.len() && rest.iter().zip(&parts).all(|(step, part)| step.fits(part));
        fits.then(|| self.after(parts.len()))
    }
}

#[derive(Default)]
struct Replacements<'a> {
    places: Vec<&'a RedactedPlace>,
    wholes: Vec<String>,
}

/// Replaces all places in one pass, so that a text is parsed only once.
fn replace<'a>(value: &mut Value, active: &[Active<'a>], found: &mut Replacements<'a>) {
    let ends: Vec<_> = active.iter().filter(|it| it.rest().is_empty()).map(|it| it.place).collect();
    if !ends.is_empty() {
        if blank(value) {
            found.places.extend(ends);
        }
        return;
    }
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => whole(value, active, found),
        // A file in place of an object may contain what must not be stored, so it goes.
        Value::Object(_) if is_file(value) && active.iter().any(|it| it.done > 0) => {
            let within: Vec<_> = active.iter().filter(|it| it.done > 0).copied().collect();
            whole(value, &within, found);
        }
        Value::String(text) if text.trim().is_empty() => {}
        Value::String(text) => match inner_json(text) {
            Ok(mut inner) => {
                replace(&mut inner, active, found);
                *text = inner.to_string();
            }
            Err(_) => whole(value, active, found),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let index = index.to_string();
                let in_item = |it: &Active<'a>| match it.rest().first() {
                    Some(step) if step.name == "*" || step.name == index => Some(it.after(1)),
                    Some(step) if step.is_index => None,
                    // A list in place of an object: each of its items may be that object.
                    _ => Some(*it),
                };
                let in_item: Vec<_> = active.iter().filter_map(in_item).collect();
                if !in_item.is_empty() {
                    replace(item, &in_item, found);
                }
            }
        }
        Value::Object(map) => {
            let astray = in_members(map, active, found);
            if !astray.is_empty() && !map.is_empty() {
                whole(value, &astray, found);
            }
        }
    }
}

/// Replaces values in the members of an object. Returns the places that expect a list here.
fn in_members<'a>(
    map: &mut Map<String, Value>,
    active: &[Active<'a>],
    found: &mut Replacements<'a>,
) -> Vec<Active<'a>> {
    let mut missing = active.to_vec();
    for (name, member) in map.iter_mut() {
        let mut below = Vec::new();
        for it in active {
            if let Some(next) = it.into_member(name) {
                missing.retain(|missing| !std::ptr::eq(missing.place, it.place));
                below.push(next);
            } else if is_position(name, member) && !it.rest().first().is_some_and(|step| step.is_index) {
                // A form's list with a name among its indexes is an object.
                below.push(*it);
            }
        }
        if !below.is_empty() {
            replace(member, &below, found);
        }
    }
    // A wrapper that was not removed. It is always searched, because a sender could put anything next to it.
    let outside: Vec<_> = active.iter().filter(|it| it.done == 0).copied().collect();
    for (name, member) in map.iter_mut().filter(|_| !outside.is_empty()) {
        let holds = match member {
            Value::Array(_) | Value::Object(_) => true,
            Value::String(text) => inner_json(text).is_ok(),
            _ => false,
        };
        if holds && WRAPPERS.iter().any(|it| plain(name).eq(it.chars())) {
            replace(member, &outside, found);
        }
    }
    missing.retain(|it| it.done > 0 && it.rest().first().is_some_and(|step| step.is_index));
    missing
}

/// Returns whether a member may be an item of a list: its name is an index, and it has values of its own.
fn is_position(name: &str, member: &Value) -> bool {
    name.bytes().all(|it| it.is_ascii_digit())
        && match member {
            Value::Array(_) | Value::Object(_) => true,
            Value::String(text) => inner_json(text).is_ok(),
            _ => false,
        }
}

/// Handles a value that is neither object nor list, or not the one that a place expects.
fn whole<'a>(value: &mut Value, active: &[Active<'a>], found: &mut Replacements<'a>) {
    if blank(value) {
        for it in active {
            let pointer = it.place.upto(it.done);
            if !found.wholes.contains(&pointer) {
                found.wholes.push(pointer);
            }
        }
    }
}

/// Blanks a value. Returns whether there was one; null is kept.
fn blank(value: &mut Value) -> bool {
    *value = match value {
        Value::Null => return false,
        Value::Bool(_) => Value::Bool(false),
        Value::Number(_) => 0.into(),
        Value::String(_) => PLACEHOLDER.into(),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
    };
    true
}
