//! A document whose accessors count the cost of a check.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp, unique};
use serde_json::{Map, Number, Value};

use super::meter::{fill, is_full, look, match_name, match_text};

/// Number of bytes of a text that count as one access if it is compared or hashed.
const TEXT: usize = 16;
/// Number of bytes of a text that count as one access if it may be matched with a pattern.
const MATCHED: usize = 4;

fn look_at_text(text: &str) {
    look(1 + (text.len() / TEXT) as u64);
}

/// The JSON representation for the validator.
pub(super) struct Metered;

/// A value.
#[derive(Clone, Copy)]
pub(super) struct MeteredValue<'a>(pub(super) &'a Value);

#[derive(Clone, Copy)]
pub(super) struct Members<'a>(&'a Map<String, Value>);

#[derive(Clone, Copy)]
pub(super) struct Items<'a>(&'a [Value]);

impl Json for Metered {
    type Node<'a> = MeteredValue<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(MeteredValue<'_>) -> T) -> T {
        look_at_text(string);
        *buffer = Value::String(string.to_owned());
        f(MeteredValue(buffer))
    }
}

impl<'a> Node<'a, Metered> for MeteredValue<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        look(1);
        self.0.as_object().map(Members)
    }

    fn as_array(&self) -> Option<Items<'a>> {
        look(1);
        self.0.as_array().map(|it| Items(it))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.0.as_str();
        let bytes = text.map_or(0, str::len);
        look(1 + (bytes / MATCHED) as u64);
        match_text(bytes);
        text.map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        look(1);
        self.0.as_number()
    }

    fn as_boolean(&self) -> Option<bool> {
        look(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        look(1);
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        look(1);
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let text = self.0.as_str();
        look(1 + (text.map_or(0, str::len) / TEXT) as u64);
        text.map(|it| it.chars().count() as u64)
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        look(1);
        let text = self.0.as_str()?;
        // A character has one to four bytes, which decides most cases.
        let (least, most) = ((text.len() as u64).div_ceil(4), text.len() as u64);
        if most < min || least > max {
            return Some(false);
        }
        if min <= least && most <= max {
            return Some(true);
        }
        self.string_length().map(|it| (min..=max).contains(&it))
    }

    fn equals_value(&self, expected: &Value) -> bool {
        equal(self.0, expected)
    }

    /// Called once for each violation, and for values that a violation contains.
    fn to_value(&self) -> Cow<'a, Value> {
        look(8);
        fill(1, self.0.as_str().map_or(0, str::len));
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.0) as usize))
    }
}

/// Compares like [`cmp::equal`], and counts every pair of values.
fn equal(a: &Value, b: &Value) -> bool {
    look(1);
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            if a.len() == b.len() {
                look_at_text(a);
            }
            a == b
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        (a, b) => cmp::equal(a, b),
    }
}

/// Counts a whole value that is about to be read completely.
fn look_at_all(value: &Value) {
    match value {
        Value::String(text) => look_at_text(text),
        Value::Array(items) => items.iter().for_each(look_at_all),
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            look_at_text(name);
            look_at_all(value);
        }),
        _ => {}
    }
    look(1);
}

pub(super) struct MembersIter<'a>(serde_json::map::Iter<'a>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, MeteredValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if is_full() {
            return None;
        }
        let (name, value) = self.0.next()?;
        look_at_text(name);
        match_name(name.len());
        // A violation may contain every member's name.
        fill(0, name.len());
        Some((name.as_str(), MeteredValue(value)))
    }
}

impl<'a> Object<'a, Metered> for Members<'a> {
    type Node = MeteredValue<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<MeteredValue<'a>> {
        look(1);
        self.0.get(key).map(MeteredValue)
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.0.iter())
    }
}

pub(super) struct ItemsIter<'a>(std::slice::Iter<'a, Value>);

impl<'a> Iterator for ItemsIter<'a> {
    type Item = MeteredValue<'a>;

    fn next(&mut self) -> Option<MeteredValue<'a>> {
        if is_full() {
            return None;
        }
        look(1);
        self.0.next().map(MeteredValue)
    }
}

impl<'a> Array<'a, Metered> for Items<'a> {
    type Node = MeteredValue<'a>;
    type ElementsIter = ItemsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> ItemsIter<'a> {
        ItemsIter(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        self.0.iter().for_each(look_at_all);
        unique::is_unique(self.0)
    }
}
