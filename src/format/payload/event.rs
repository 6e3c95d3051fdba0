//! Decodes the body of a delivery, and removes its wrappers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::coding::without_coding;
use super::content_type::ContentType;
use super::decode::{decode, unpack};
use super::decode_error::DecodeError;
use super::decoded::{Loosened, Payload, Rules};
use super::envelope::unwrap_envelope;
use super::in_place;
use super::stored::{StoredBody, file as stored_file, file_number, with_files};
use super::{json, multipart, stored};
use crate::format::schema::{Schema, Shape};
use crate::model::event::RawEvent;

/// Header that names the content codings of a stored body.
pub const CODING_HEADER: &str = "content-encoding";

/// A file that was sent with a delivery.
#[derive(Debug)]
pub struct SentFile {
    /// Its name as sent, if it has one.
    pub name: Option<String>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl RawEvent {
    /// Decodes the body, and removes wrappers.
    ///
    /// # Errors
    /// Fails if it has no known format, is invalid, or has several items.
    pub fn decode(&self, schema: &Schema, rules: &Rules) -> Result<Payload, DecodeError> {
        let payload = decode_coded(self.content_type.as_deref(), self.header(CODING_HEADER), &self.body, rules)?;
        let payload = match &rules.only {
            Some(pointers) => in_place::only(payload, pointers),
            None => payload,
        };
        unwrap_envelope(payload, schema.shape(), rules)
    }

    /// Returns the body without its content coding, or as it is stored if it is not in that.
    #[must_use]
    pub fn content(&self, limit: usize) -> Cow<'_, [u8]> {
        without_coding(self.header(CODING_HEADER), &self.body, limit, &mut Loosened::default())
            .unwrap_or(Cow::Borrowed(&self.body))
    }

    /// Returns the file of this number, from 0 in the order of the body.
    #[must_use]
    pub fn file(&self, number: usize, limit: usize) -> Option<SentFile> {
        let declared = ContentType::parse(self.content_type.as_deref().unwrap_or_default());
        let content = self.content(limit);
        if stored::is_stored(&declared) {
            return stored_file(&declared, &content, number).map(|(name, bytes)| SentFile { name, bytes });
        }
        let found = multipart::file(&declared, &content, number)?.0;
        Some(SentFile { name: found.file_name, bytes: found.content.into_owned() })
    }

    /// Returns the body in which a redacted payload is stored: with the files whose places were not redacted. `before`
    /// are the [`file_places`] of the payload as it was sent.
    #[must_use]
    pub fn redacted_body(&self, before: &[usize], after: &Value, limit: usize) -> StoredBody {
        let after_places = places(after);
        let is_kept = |number: usize| before.get(number).is_some_and(|count| after_places.get(&number) == Some(count));
        let declared = ContentType::parse(self.content_type.as_deref().unwrap_or_default());
        let content = self.content(limit);
        let files = if before.is_empty() {
            Vec::new()
        } else if stored::is_stored(&declared) {
            stored::files(&declared, &content)
        } else {
            multipart::files(&declared, &content).into_iter().map(|it| it.0.content).enumerate().collect()
        };
        let kept: Vec<_> = files.iter().filter(|(number, _)| is_kept(*number)).map(|(at, it)| (*at, &**it)).collect();
        with_files(after, &kept)
    }
}

/// Decodes a body with a content coding. Wrappers are removed only where the rules name them.
///
/// # Errors
/// Fails if the coding cannot be removed, or the body has no known format or is invalid.
pub fn decode_coded(
    content_type: Option<&str>,
    coding: Option<&str>,
    body: &[u8],
    rules: &Rules,
) -> Result<Payload, DecodeError> {
    let mut loosened = Loosened::default();
    let content = without_coding(coding, body, rules.body_bytes, &mut loosened)?;
    if rules.strict && loosened.header_value().is_some() {
        let message = "Content-Encoding names something else than the body's coding".to_owned();
        return Err(DecodeError::ContentCoding { message });
    }
    let mut payload = decode(content_type, &content, rules)?;
    loosened.iter().for_each(|it| payload.loosened.add(it));
    if rules.strict {
        return Ok(payload);
    }
    let payload = in_place::apply(payload, rules);
    // JSON within a form or a text may be nested less deeply than both together.
    if depth(&payload.value) >= json::DEPTH {
        return Err(DecodeError::TooDeep { limit: json::DEPTH });
    }
    Ok(payload)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns how many places of a payload describe each of its files.
#[must_use]
pub fn file_places(payload: &Value) -> Vec<usize> {
    let found = places(payload);
    (0..).map_while(|number| found.get(&number).copied()).collect()
}

/// Returns how many places of a value describe the file of each number.
fn places(value: &Value) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    count_places(value, &mut found);
    found
}

fn count_places(value: &Value, found: &mut BTreeMap<usize, usize>) {
    match value {
        Value::Object(map) => {
            if let Some(number) = file_number(value).and_then(|it| usize::try_from(it).ok()) {
                *found.entry(number).or_default() += 1;
            }
            map.values().for_each(|it| count_places(it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| count_places(it, found)),
        _ => {}
    }
}

/// Reads a value as [`RawEvent::decode`] reads its JSON text, without parsing it.
///
/// # Errors
/// Fails as that does.
pub fn decode_again(value: Value, shape: &Shape, rules: &Rules) -> Result<Payload, DecodeError> {
    unwrap_envelope(unpack(value, Loosened::default(), rules)?, shape, rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::schema::task_create;

    /// Otherwise a body is stored that can never be read again.
    #[test]
    fn json_within_json_is_not_deeper_than_json() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let rules = Rules { json_in: vec!["/a".into()], ..Rules::default() };
        let read = |levels: usize| {
            let body = serde_json::json!({ "a": nested(levels) }).to_string();
            decode_coded(Some("application/json"), None, body.as_bytes(), &rules)
        };
        let text = read(json::DEPTH - 2).unwrap().value.to_string();
        assert!(decode(None, text.as_bytes(), &Rules::default()).is_ok());
        assert_eq!(read(json::DEPTH - 1).unwrap_err(), DecodeError::TooDeep { limit: json::DEPTH });
    }

    /// Otherwise a strict key reads what another server would read as something else.
    #[test]
    fn strict_rules_take_a_content_coding_at_its_word() {
        let rules = Rules { strict: true, ..Rules::default() };
        for coding in ["gzip", "utf-8", "br"] {
            let read = decode_coded(Some("application/json"), Some(coding), b"{}", &rules);
            assert!(matches!(read, Err(DecodeError::ContentCoding { .. })), "{coding}");
        }
        assert!(decode_coded(Some("application/json"), Some("identity"), b"{}", &rules).is_ok());
    }

    /// Otherwise a replay of a redacted delivery gets something else than the first run.
    #[test]
    fn a_value_is_read_as_its_text_would_be() {
        let bodies = [
            r#"{"title":"t","deadline":"tomorrow"}"#,
            r#"{"data":{"data":{"title":"t"}}}"#,
            r#"[{"json":{"body":{"title":"t"}}}]"#,
            r#""{\"title\":\"t\"}""#,
            r#"{"title":"t","n":[0.1,1e-7,1.7976931348623157e308,123456789.12345679,18446744073709551615,-0.0]}"#,
            "[1,2]",
            "7",
        ];
        for (body, strict) in bodies.iter().flat_map(|it| [(it, false), (it, true)]) {
            let rules = Rules { strict, ..Rules::default() };
            let value: Value = serde_json::from_str(body).unwrap();
            let text = value.to_string();
            let parsed = decode(Some("application/json"), text.as_bytes(), &rules)
                .and_then(|it| unwrap_envelope(it, task_create().shape(), &rules));
            let again = decode_again(value, task_create().shape(), &rules);
            assert_eq!(format!("{again:?}"), format!("{parsed:?}"), "{body}, strict: {strict}");
        }
    }
}
