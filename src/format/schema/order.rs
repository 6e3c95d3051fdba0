//! Sorts violations by their places in the document, in time that grows only with the document.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

/// The steps of a JSON Pointer.
type Steps<'a> = Vec<Cow<'a, str>>;

fn steps(pointer: &str) -> Steps<'_> {
    let unescaped = |it: &'_ str| it.replace("~1", "/").replace("~0", "~");
    pointer.split('/').skip(1).map(|it| if it.contains('~') { unescaped(it).into() } else { it.into() }).collect()
}

/// Returns the indexes of these pointers in document order. A place comes before the places inside it; missing
/// fields come after their siblings, in their own order.
pub(super) fn in_document_order(pointers: &[impl AsRef<str>], value: &Value) -> Vec<usize> {
    let places: Vec<_> = pointers.iter().map(|it| steps(it.as_ref())).collect();
    let mut ordered = Vec::with_capacity(places.len());
    walk(Some(value), (0..places.len()).collect(), 0, &places, &mut ordered);
    ordered
}

fn walk(value: Option<&Value>, here: Vec<usize>, depth: usize, places: &[Steps<'_>], ordered: &mut Vec<usize>) {
    let mut within: HashMap<&str, Vec<usize>> = HashMap::new();
    for index in here {
        match places.get(index).and_then(|it| it.get(depth)) {
            None => ordered.push(index),
            Some(step) => within.entry(step).or_default().push(index),
        }
    }
    if let Some(Value::Object(map)) = value {
        for (name, value) in map {
            if within.is_empty() {
                break;
            }
            if let Some(found) = within.remove(name.as_str()) {
                walk(Some(value), found, depth + 1, places, ordered);
            }
        }
    }
    if let Some(Value::Array(items)) = value {
        let mut found: Vec<_> = within.keys().filter_map(|it| Some((it.parse::<usize>().ok()?, *it))).collect();
        found.sort_unstable();
        for (index, step) in found {
            walk(items.get(index), within.remove(step).unwrap_or_default(), depth + 1, places, ordered);
        }
    }
    let mut missing: Vec<_> = within.into_values().collect();
    missing.sort_unstable();
    missing.into_iter().for_each(|it| walk(None, it, depth + 1, places, ordered));
}
