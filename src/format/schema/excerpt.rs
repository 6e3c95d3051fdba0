//! Excerpts of values and pointers for error messages.

use serde_json::Value;

/// Maximum number of characters of a value that an error shows; it may be a patient's.
pub(super) const SHOWN: usize = 64;

/// Returns a value as JSON, truncated.
pub(crate) fn got(value: &Value) -> String {
    match value {
        // Truncated before it is written, because the value may be a megabyte.
        Value::String(text) => cut(&Value::String(text.chars().take(SHOWN).collect()).to_string()),
        Value::Array(items) => format!("an array of {} {}", items.len(), plural(items.len() as u64, "item")),
        Value::Object(_) => "an object".to_owned(),
        other => cut(&other.to_string()),
    }
}

/// Returns the first characters of a text.
pub(crate) fn cut(text: &str) -> String {
    cut_at(text, SHOWN)
}

/// Truncates a text to this many characters.
pub(super) fn cut_at(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Returns a pointer as people write it.
pub(super) fn field(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        if text.len() > 4 * SHOWN {
            break;
        }
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            text.push_str(&format!("[{part}]"));
        } else {
            text.push_str(if text.is_empty() { "" } else { "." });
            text.push_str(&part);
        }
    }
    if text.is_empty() { "body".into() } else { cut(&text) }
}
