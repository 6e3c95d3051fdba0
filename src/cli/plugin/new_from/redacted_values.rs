//! Replaces the values of an example by others of the same kind, so that it can be shown and stored anywhere.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::format::payload::parse_deadline;

/// Names whose values are words of the sender, and say nothing about anyone.
const WORDS: [&str; 8] = ["event", "type", "action", "status", "kind", "priority", "event_type", "eventType"];

/// Returns the example with other values. Names, structure, types, and what happened stay.
pub(super) fn redacted(value: &Value) -> Value {
    replaced("", value)
}

fn replaced(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut other = Map::new();
            for (name, value) in map {
                other.insert(name.clone(), replaced(name, value));
            }
            Value::Object(other)
        }
        Value::Array(items) => items.iter().map(|it| replaced(name, it)).collect(),
        Value::String(text) if WORDS.contains(&name) && is_word(text) => value.clone(),
        Value::String(text) => text_like(text).into(),
        // Times in seconds and milliseconds stay times.
        Value::Number(_) if parse_deadline(value, chrono_tz::Tz::UTC).is_ok() => 1_796_144_400.into(),
        Value::Number(number) if number.is_f64() => 1.5.into(),
        Value::Number(_) => 1.into(),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}

/// Returns whether a text is like `invitee.created`, in lower case and without digits: no name and no number.
fn is_word(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|it| it.is_ascii_lowercase() || b"._:-".contains(&it))
}

fn text_like(text: &str) -> String {
    let is_digits = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    let (date, time) = ("2026-12-01", "2026-12-01T09:00:00Z");
    match text.len() {
        0 => "",
        36 if Uuid::try_parse(text).is_ok() => "00000000-0000-7000-8000-000000000000",
        10 if parse_deadline(&text.into(), chrono_tz::Tz::UTC).is_ok() && !is_digits(text) => date,
        _ if is_digits(text) => return "1".repeat(text.len().min(30)),
        _ if parse_deadline(&text.into(), chrono_tz::Tz::UTC).is_ok() => time,
        _ if text.contains('@') && !text.contains(' ') => "name@example.com",
        _ if text.starts_with("https://") || text.starts_with("http://") => "https://example.com/",
        _ if text.starts_with('+') && is_digits(&text[1..]) => "+15550100",
        _ => "text",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::redacted;

    /// Otherwise a patient's data get into a repository, although the user asked for an example without them.
    #[test]
    fn no_value_of_a_person_stays_and_every_kind_does() {
        let payload = json!({
            "event": "invitee.created", "type": "Grace Hopper", "name": "Grace", "born": "1906-12-09", "at": "2026-11-24T09:00:00Z",
            "mail": "grace@example.org", "phone": "+15551234", "mrn": "4711", "n": [4711, 1.25, 1796144499], "ok": true, "no": null,
            "id": "018f3c3e-0b54-7c9e-8f5f-3d2b1f0a9c11", "url": "https://x.example/?token=1",
        });
        let other = redacted(&payload);
        assert_eq!(
            other,
            json!({
                "event": "invitee.created", "type": "text", "name": "text", "born": "2026-12-01", "at": "2026-12-01T09:00:00Z",
                "mail": "name@example.com", "phone": "+15550100", "mrn": "1111", "n": [1, 1.5, 1796144400], "ok": true, "no": null,
                "id": "00000000-0000-7000-8000-000000000000", "url": "https://example.com/",
            })
        );
    }
}
