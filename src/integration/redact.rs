//! Values that are replaced before anything is stored, logged or handed to the plugin.
//!
//! A sender decides what shape a payload has, so redaction fails closed: names match in any letter case and with any
//! separators, JSON sent as text and lists in place of objects are gone into, and what has another shape than a pointer
//! expects is replaced as a whole (docs/decisions).

use serde_json::{Map, Value};

use super::Integration;
use crate::event::RawEvent;
use crate::log::{self, Line};
use crate::payload::{DecodeError, Payload, inner_json};

/// What stands in the place of a text. Numbers become 0, booleans false, lists and objects empty: the types stay, so
/// that a mapper which reads them goes on working.
pub const PLACEHOLDER: &str = "[redacted]";

/// Under which names senders and workflow tools wrap a payload.
const WRAPPERS: [&str; 4] = ["json", "data", "body", "payload"];

/// Places in a payload: JSON Pointers (RFC 6901), in which `*` stands for every member of an object or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redact(Vec<Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    pointer: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: String,
    /// The name without letter case and separators.
    plain: String,
    is_index: bool,
}

/// What was replaced, as JSON Pointers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replaced {
    /// The places at which something was, as they are configured.
    pub places: Vec<String>,
    /// Where a value had another shape than a place expects, and was replaced as a whole.
    pub wholes: Vec<String>,
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
        self.0.iter().any(|it| it.covers(&found))
    }

    /// Whether this place is replaced in some payload: [`Self::covers`] it, or one of these places is in it.
    #[must_use]
    pub fn may_replace(&self, pointer: &str) -> bool {
        let found = steps(pointer);
        let within =
            |it: &Place| it.steps.len() > found.len() && it.steps.iter().zip(&found).all(|(a, b)| a.fits(&b.name));
        self.covers(pointer) || self.0.iter().any(within)
    }

    /// Those of these places that none of ours is in: what is known to have been replaced by earlier settings.
    #[must_use]
    pub fn without_parents(&self, earlier: &[String]) -> Self {
        let is_own = |it: &&String| self.0.iter().any(|own| own.pointer == **it);
        let kept: Vec<_> = earlier.iter().filter(|it| is_own(it) || !self.may_replace(it)).cloned().collect();
        Self::new(&kept)
    }

    /// Replaces what is there.
    pub fn apply(&self, payload: &mut Value) -> Replaced {
        let active: Vec<_> = self.0.iter().map(|place| Active { place, done: 0 }).collect();
        let mut found = Found::default();
        replace(payload, &active, &mut found);
        let places = self.0.iter().filter(|it| found.places.iter().any(|found| std::ptr::eq(*found, *it)));
        Replaced { places: places.map(|it| it.pointer.clone()).collect(), wholes: found.wholes }
    }
}

impl Place {
    fn covers(&self, found: &[Step]) -> bool {
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

    /// The first of its steps, as a pointer.
    fn upto(&self, done: usize) -> String {
        let escaped = |it: &Step| format!("/{}", it.name.replace('~', "~0").replace('/', "~1"));
        self.steps.iter().take(done).map(escaped).collect()
    }
}

impl Step {
    fn new(name: String) -> Self {
        let is_index = !name.is_empty() && name.bytes().all(|it| it.is_ascii_digit());
        Self { plain: plain(&name).collect(), is_index, name }
    }

    /// Whether a member of this name is meant.
    fn fits(&self, name: &str) -> bool {
        self.name == "*" || self.name == name || (!self.plain.is_empty() && plain(name).eq(self.plain.chars()))
    }
}

/// A name without letter case and separators: `First-Name` is `firstname`.
fn plain(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// The steps of a pointer, as they stand in the value.
fn steps(pointer: &str) -> Vec<Step> {
    pointer.split('/').skip(1).map(|it| Step::new(it.replace("~1", "/").replace("~0", "~"))).collect()
}

/// A place, of which so many steps lead to the value that is looked at.
#[derive(Clone, Copy)]
struct Active<'a> {
    place: &'a Place,
    done: usize,
}

impl<'a> Active<'a> {
    fn rest(self) -> &'a [Step] {
        self.place.steps.get(self.done..).unwrap_or_default()
    }

    fn after(self, steps: usize) -> Self {
        Self { done: self.done + steps, ..self }
    }

    /// How many steps a member of this name is: `patient.email` and `patient[email]` are two.
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
struct Found<'a> {
    places: Vec<&'a Place>,
    wholes: Vec<String>,
}

/// All places at once, so that a text is read once only.
fn replace<'a>(value: &mut Value, active: &[Active<'a>], found: &mut Found<'a>) {
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
                    // A list in place of an object: each of its items may be that.
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

/// Gives the places that expect a list here.
fn in_members<'a>(map: &mut Map<String, Value>, active: &[Active<'a>], found: &mut Found<'a>) -> Vec<Active<'a>> {
    let mut missing = active.to_vec();
    for (name, member) in map.iter_mut() {
        let mut below = Vec::new();
        for it in active {
            if let Some(next) = it.into_member(name) {
                missing.retain(|missing| !std::ptr::eq(missing.place, it.place));
                below.push(next);
            }
        }
        if !below.is_empty() {
            replace(member, &below, found);
        }
    }
    // A wrapper that was not taken off. Searched whatever is outside: a sender could put anything there.
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

/// What is here is no object and no list, or not the one of the two that a place expects.
fn whole<'a>(value: &mut Value, active: &[Active<'a>], found: &mut Found<'a>) {
    if blank(value) {
        for it in active {
            let pointer = it.place.upto(it.done);
            if !found.wholes.contains(&pointer) {
                found.wholes.push(pointer);
            }
        }
    }
}

/// Whether anything was there. Null says nothing and stays.
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
                let Replaced { places, wholes } = self.redact.apply(&mut payload.value);
                if !wholes.is_empty() {
                    let pointers = wholes.join(" ");
                    if let Some(turn) = log::sample(Line::Redacted, &self.name.0, raw.received_at) {
                        tracing::warn!(
                            integration = %self.name,
                            pointers,
                            omitted = turn.omitted,
                            "values of another shape than redact expects were replaced as a whole"
                        );
                    }
                }
                raw.redacted = places.into_iter().chain(wholes).collect();
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
