//! Compares two JSON values place by place.

use serde_json::Value;

/// Maximum number of places that are shown; the others are counted.
pub const MOST: usize = 100;
/// Maximum length of a text value that is shown, in characters.
const TEXT: usize = 256;

/// A place where two values differ.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Difference {
    /// JSON Pointer (RFC 6901) of the place.
    pub pointer: String,
    /// The expected value; `None` if there should be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// The actual value; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
}

/// The places where two values differ.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Differences {
    /// At most [`MOST`] places.
    pub shown: Vec<Difference>,
    /// Number of places that are not shown.
    pub omitted: usize,
}

/// Returns the differences in the order of the expected value; additional members come last.
#[must_use]
pub fn differences(expected: &Value, found: &Value) -> Differences {
    let mut all = Differences::default();
    compare(String::new(), Some(expected), Some(found), &mut all);
    all
}

/// Returns a value with long texts truncated.
fn shown(value: &Value) -> Value {
    let long = |text: &str| text.char_indices().nth(TEXT).map(|(end, _)| format!("{}…", &text[..end]));
    match value {
        Value::String(text) => long(text).map_or_else(|| value.clone(), Value::String),
        Value::Array(_) | Value::Object(_) => long(&value.to_string()).map_or_else(|| value.clone(), Value::String),
        other => other.clone(),
    }
}

fn compare(pointer: String, expected: Option<&Value>, found: Option<&Value>, all: &mut Differences) {
    match (expected, found) {
        (Some(Value::Object(expected)), Some(Value::Object(found))) => {
            let more = found.keys().filter(|name| !expected.contains_key(*name));
            for name in expected.keys().chain(more) {
                let step = name.replace('~', "~0").replace('/', "~1");
                compare(format!("{pointer}/{step}"), expected.get(name), found.get(name), all);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(found))) => {
            for index in 0..expected.len().max(found.len()) {
                compare(format!("{pointer}/{index}"), expected.get(index), found.get(index), all);
            }
        }
        (expected, found) if expected == found => {}
        _ if all.shown.len() == MOST => all.omitted += 1,
        (expected, found) => {
            all.shown.push(Difference { pointer, expected: expected.map(shown), found: found.map(shown) });
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() { "the whole" } else { &self.pointer };
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, "{place}: expected {expected}, got {found}"),
            (Some(expected), None) => write!(f, "{place}: expected {expected}, got nothing"),
            (None, Some(found)) => write!(f, "{place}: expected nothing, got {found}"),
            (None, None) => write!(f, "{place}: the same"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::differences;
    use serde_json::json;

    #[test]
    fn every_place_is_named_once_and_equal_ones_not_at_all() {
        let expected = json!({"a": 1, "b": [1, 2], "c/d": {"~": true}, "gone": null});
        let found = json!({"a": 1, "b": [1, 3, 4], "c/d": {"~": false}, "new": "x"});
        let told: Vec<String> = differences(&expected, &found).shown.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "/b/1: expected 2, got 3",
                "/b/2: expected nothing, got 4",
                "/c~1d/~0: expected true, got false",
                "/gone: expected null, got nothing",
                "/new: expected nothing, got \"x\"",
            ]
        );
        assert!(differences(&expected, &expected).shown.is_empty());
        assert_eq!(differences(&json!(1), &json!([])).shown.len(), 1);
    }

    #[test]
    fn a_hundred_places_are_told_and_the_others_counted() {
        let found = differences(&json!(vec![1; 5000]), &json!(vec!["x".repeat(5000); 5000]));
        assert_eq!((found.shown.len(), found.omitted), (100, 4900));
        assert!(found.shown.iter().all(|it| it.to_string().len() < 400));
    }
}
