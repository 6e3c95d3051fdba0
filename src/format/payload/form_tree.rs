//! Builds a value from the fields of a form, with bracket names as n8n, PHP and Rails use them.
//!
//! `a=1` is a field; `a=1&a=2`, `a[]=1&a[]=2` and `a[0]=1&a[1]=2` are lists; `a[b]=1` is an object. An index is an
//! identity, not a position: `a[3][b]=1&a[3][c]=2` is a list of one object. A list has its items in the order of
//! their indexes; an item without one comes after those before it. n8n writes a list under the name `a[]` as
//! `a[][0]=1&a[][1]=2`, which is the same list.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::decode_error::DecodeError;

/// Maximum number of fields in a form.
pub(super) const FIELDS: usize = 1000;
/// Maximum depth of a name in brackets.
const DEPTH: usize = 16;
/// Maximum number of digits of an index; a longer number is the name of a member, such as an id.
const INDEX_DIGITS: usize = 4;

/// Builds the value of these fields.
pub(super) fn build(fields: impl IntoIterator<Item = (String, Value)>) -> Result<Value, DecodeError> {
    let mut root = Branch::default();
    for (count, (name, value)) in fields.into_iter().enumerate() {
        if count == FIELDS {
            return Err(too_many());
        }
        match path(&name)?.as_slice() {
            [] => {}
            [first, rest @ ..] => root.member((*first).to_owned()).insert(rest, value),
        }
    }
    Ok(root.into_object())
}

pub(super) fn too_many() -> DecodeError {
    DecodeError::Form { message: format!("it has more than {FIELDS} fields") }
}

/// Splits a name: `a[b][0]` → a, b, 0.
fn path(name: &str) -> Result<Vec<&str>, DecodeError> {
    let Some((first, brackets)) = name.split_once('[').filter(|(first, rest)| !first.is_empty() && rest.ends_with(']'))
    else {
        return Ok(vec![name]);
    };
    let mut parts = vec![first];
    parts.extend(brackets[..brackets.len() - 1].split("]["));
    if parts.len() > DEPTH {
        return Err(DecodeError::Form { message: format!("a name is nested deeper than {DEPTH} levels") });
    }
    // n8n's `a[][0]`: only the index counts.
    if let [_, "", index, ..] = parts.as_slice()
        && index_of(index).is_some()
    {
        parts.remove(1);
    }
    Ok(parts)
}

/// Returns an index. `01` is a name, because it is not the same text as `1`.
fn index_of(part: &str) -> Option<u32> {
    let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()));
    if plain && part.len() <= INDEX_DIGITS { part.parse().ok() } else { None }
}

/// A place in a form: its own values, and what is inside it.
#[derive(Default)]
struct Place {
    values: Vec<Value>,
    inside: Option<Branch>,
}

/// What is inside a place: members by name, and items by index.
#[derive(Default)]
struct Branch {
    names: Vec<String>,
    members: BTreeMap<String, Place>,
    items: BTreeMap<u32, Place>,
}

impl Branch {
    fn member(&mut self, name: String) -> &mut Place {
        if !self.members.contains_key(&name) {
            self.names.push(name.clone());
        }
        self.members.entry(name).or_default()
    }

    /// Adds an item after the last one.
    fn item(&mut self) -> &mut Place {
        let next = self.items.last_key_value().map_or(0, |(index, _)| index + 1);
        self.items.entry(next).or_default()
    }

    /// A list, or an object if any of its places has a name.
    fn into_value(self) -> Value {
        if self.members.is_empty() {
            return Value::Array(self.items.into_values().flat_map(Place::into_items).collect());
        }
        self.into_object()
    }

    fn into_object(mut self) -> Value {
        let mut map = Map::new();
        for name in self.names {
            if let Some(place) = self.members.remove(&name) {
                map.insert(name, place.into_value());
            }
        }
        map.extend(self.items.into_iter().map(|(index, place)| (index.to_string(), place.into_value())));
        Value::Object(map)
    }
}

impl Place {
    fn insert(&mut self, path: &[&str], value: Value) {
        let Some((part, rest)) = path.split_first() else {
            return self.values.push(value);
        };
        let inside = self.inside.get_or_insert_default();
        let next = match (*part, index_of(part)) {
            ("", _) => inside.item(),
            (_, Some(index)) => inside.items.entry(index).or_default(),
            (name, None) => inside.member(name.to_owned()),
        };
        next.insert(rest, value);
    }

    /// A repeated name is a list; a value next to members is kept, too.
    fn into_value(self) -> Value {
        let Self { mut values, inside } = self;
        match (inside.map(Branch::into_value), values.len()) {
            (None, 1) => values.remove(0),
            (None, _) => Value::Array(values),
            (Some(inside), 0) => inside,
            (Some(Value::Array(items)), _) => {
                values.extend(items);
                Value::Array(values)
            }
            (Some(inside), _) => {
                values.push(inside);
                Value::Array(values)
            }
        }
    }

    /// The items that an item of a list stands for: an index that is repeated has several values.
    fn into_items(self) -> Vec<Value> {
        if self.inside.is_none() { self.values } else { vec![self.into_value()] }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn built(form: &str) -> Value {
        let fields = form.split('&').map(|it| it.split_once('=').unwrap());
        build(fields.map(|(name, value)| (name.to_owned(), value.into()))).unwrap()
    }

    /// Otherwise the fields of one object arrive as several objects, and a task gets half of its data.
    #[test]
    fn an_index_is_an_identity() {
        for (form, expected) in [
            ("a[1][b]=1&a[1][c]=2", json!({"a": [{"b": "1", "c": "2"}]})),
            ("a[0][b]=1&a[1][b]=2&a[0][c]=3", json!({"a": [{"b": "1", "c": "3"}, {"b": "2"}]})),
            ("a[7][b]=7&a[2][b]=2", json!({"a": [{"b": "2"}, {"b": "7"}]})),
            ("a[1]=y&a[0]=x", json!({"a": ["x", "y"]})),
            ("a[5]=x&a[]=y&a[9999]=z", json!({"a": ["x", "y", "z"]})),
            ("a[]=1&a[]=2", json!({"a": ["1", "2"]})),
            ("a=1&a=2", json!({"a": ["1", "2"]})),
            ("a[0]=1&a[0]=2", json!({"a": ["1", "2"]})),
            ("a[][0]=1&a[][1]=2", json!({"a": ["1", "2"]})),
            ("a[][1]=1&a[][0]=2", json!({"a": ["2", "1"]})),
            ("a[][b]=1&a[][b]=2", json!({"a": [{"b": "1"}, {"b": "2"}]})),
            ("a[0][1][x]=1&a[0][1][y]=2", json!({"a": [[{"x": "1", "y": "2"}]]})),
        ] {
            assert_eq!(built(form), expected, "{form}");
        }
    }

    /// Otherwise a value that comes with another form of its name is lost without a word.
    #[test]
    fn no_value_is_lost() {
        for (form, expected) in [
            ("a=1&a[]=2", json!({"a": ["1", "2"]})),
            ("a[]=2&a=1", json!({"a": ["1", "2"]})),
            ("a=1&a[b]=2", json!({"a": ["1", {"b": "2"}]})),
            ("a[0]=1&a[b]=2", json!({"a": {"b": "2", "0": "1"}})),
            // Ids are names: their order and number say nothing.
            ("a[10001]=x&a[01]=y", json!({"a": {"10001": "x", "01": "y"}})),
            ("a[b=1&[c]=2&d]=3&=4", json!({"a[b": "1", "[c]": "2", "d]": "3", "": "4"})),
        ] {
            assert_eq!(built(form), expected, "{form}");
        }
    }

    /// Otherwise a stranger's form takes any amount of memory or stack.
    #[test]
    fn fields_and_depth_are_limited() {
        let many = |count: usize| build((0..count).map(|it| (format!("a{it}"), Value::Null)));
        assert!(many(FIELDS).is_ok() && many(FIELDS + 1).is_err());
        let deep = |depth: usize| build([(format!("a{}", "[b]".repeat(depth - 1)), Value::Null)]);
        assert!(deep(DEPTH).is_ok() && deep(DEPTH + 1).is_err());
    }
}
