//! What is searched for in payloads, and whether an event has it.

use serde_json::Value;

use super::reading::{BodyReader, each_text};
use super::signature::Probes;
use super::word_set::WordSet;
use super::words::{folded, has_term, word_hashes};
use crate::model::event::Event;

/// Most words and other terms of a query.
pub const MOST_TERMS: usize = 20;

/// A query: all terms occur in the body or in stored headers, and the value is at the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadQuery {
    /// Terms in lower case, each with at least one letter or digit.
    terms: Vec<String>,
    /// JSON Pointer and value.
    place: Option<(String, String)>,
}

impl PayloadQuery {
    /// Reads the terms, separated by white space, and the place. `None` if nothing is asked for.
    #[must_use]
    pub fn of(text: Option<&str>, place: Option<(String, String)>) -> Option<Self> {
        let has_word = |it: &&str| it.contains(char::is_alphanumeric);
        let terms: Vec<String> =
            text.unwrap_or_default().split_whitespace().filter(has_word).take(MOST_TERMS).map(folded).collect();
        (!terms.is_empty() || place.is_some()).then_some(Self { terms, place })
    }

    /// Returns the words that a signature must allow.
    pub(super) fn words(&self) -> Vec<Probes> {
        let mut hashes = WordSet::default();
        self.terms.iter().for_each(|term| word_hashes(term, |it| hashes.push(it)));
        if let Some((pointer, value)) = &self.place {
            let is_name = |it: &&str| !it.bytes().all(|it| it.is_ascii_digit());
            for name in pointer.split('/').filter(is_name) {
                word_hashes(&name.replace("~1", "/").replace("~0", "~"), |it| hashes.push(it));
            }
            word_hashes(certain(value), |it| hashes.push(it));
        }
        hashes.distinct().iter().copied().map(Probes::of).collect()
    }

    /// Returns whether an event has what is searched for.
    pub(super) fn is_in(&self, event: &Event, reader: &BodyReader) -> bool {
        let headers = folded(&header_values(event));
        let mut missing: Vec<&str> =
            self.terms.iter().map(String::as_str).filter(|it| !has_term(&headers, it)).collect();
        if missing.is_empty() && self.place.is_none() {
            return true;
        }
        if event.no_body().is_some() || event.body.is_empty() {
            return false;
        }
        let (raw, name) = (event.raw(), &event.integration);
        let content = folded(&String::from_utf8_lossy(&raw.content(reader.limit(name, &raw))));
        missing.retain(|it| !has_term(&content, it));
        if missing.is_empty() && self.place.is_none() {
            return true;
        }
        if self.place.is_none() && reader.is_plain(event) {
            return false;
        }
        let Some(payload) = reader.payload(name, &raw) else { return false };
        if !missing.is_empty() {
            each_text(&payload.value, &mut |text| {
                let text = folded(text);
                missing.retain(|it| !has_term(&text, it));
            });
        }
        let at_place = |(pointer, value): &(String, String)| payload.pointer(pointer).is_some_and(|it| is(it, value));
        missing.is_empty() && self.place.as_ref().is_none_or(at_place)
    }
}

/// Returns the values of an event's stored headers.
fn header_values(event: &Event) -> String {
    event.headers.iter().map(|(_, value)| value.as_str()).filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Returns the part of a value that is spelled alike in every body that has it: of a number with a fraction, what is before it,
/// because 12.50 is 12.5; of a number with an exponent, nothing.
fn certain(value: &str) -> &str {
    let is_number = serde_json::from_str::<serde_json::Number>(value).is_ok();
    match value.find(['.', 'e', 'E']).filter(|_| is_number) {
        Some(_) if value.contains(['e', 'E']) => "",
        Some(at) => value.get(..at).unwrap_or_default(),
        None => value,
    }
}

/// Returns whether a value, or an item of a list, is this text or number.
fn is(value: &Value, text: &str) -> bool {
    match value {
        Value::String(it) => folded(it) == folded(text),
        Value::Array(items) => items.iter().any(|it| !it.is_array() && is(it, text)),
        Value::Number(it) => {
            it.to_string() == text || serde_json::from_str::<Value>(text).is_ok_and(|other| &other == value)
        }
        Value::Bool(it) => text == if *it { "true" } else { "false" },
        Value::Null => text == "null",
        Value::Object(_) => false,
    }
}
