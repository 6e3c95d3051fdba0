//! Decodes a body: JSON, JSON in a JSON string, forms, and JSON with another content type.

use serde_json::Value;

use super::decode_error::DecodeError;
use super::decoded::{Encoding, Loosened, Payload, Rules};
use super::{form, json, multipart};
use crate::format::schema::cut;

/// The encoding that a content type declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFormat {
    Json,
    Form,
    Multipart,
    Lines,
    Other,
}

/// Decodes a body.
///
/// # Errors
/// Fails if the body has no known encoding, or is invalid.
pub fn decode(content_type: Option<&str>, body: &[u8], rules: &Rules) -> Result<Payload, DecodeError> {
    let content_type = content_type.unwrap_or_default();
    let kind = kind(content_type);
    if rules.strict && kind != BodyFormat::Json {
        return Err(unsupported(content_type));
    }
    let mut loosened = Loosened::default();
    if kind == BodyFormat::Multipart {
        let value = multipart::parse(content_type, body, &mut loosened)?;
        return Ok(Payload { value, encoding: Encoding::Form, loosened });
    }
    let text = std::str::from_utf8(body).map_err(|e| DecodeError::NotUtf8 { offset: e.valid_up_to() })?;
    // A byte order mark has no meaning in UTF-8 (RFC 8259 section 8.1 allows readers to ignore it).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start().chars().next().ok_or(DecodeError::Empty)?;
    match (kind, start) {
        (BodyFormat::Json, _) => {}
        (_, '{' | '[' | '"') => loosened.add("content-type"),
        (BodyFormat::Form, _) => {
            let value = form::parse(text)?;
            return Ok(Payload { value, encoding: Encoding::Form, loosened });
        }
        (BodyFormat::Other | BodyFormat::Lines | BodyFormat::Multipart, _) => return Err(unsupported(content_type)),
    }
    unpack(json::parse(text)?, loosened, rules)
}

/// Reads JSON that was sent as a JSON string.
pub(super) fn unpack(mut value: Value, mut loosened: Loosened, rules: &Rules) -> Result<Payload, DecodeError> {
    if let (Value::String(inner), false) = (&value, rules.strict) {
        value = inner_json(inner)?;
        loosened.add("body");
    }
    Ok(Payload { value, encoding: Encoding::Json, loosened })
}

/// Parses JSON that was sent as a JSON string, one level.
pub(crate) fn inner_json(text: &str) -> Result<Value, DecodeError> {
    match text.trim_start().chars().next() {
        Some('{' | '[') => json::parse(text),
        _ => Err(DecodeError::NotAnObject { got: "text" }),
    }
}

pub(super) fn unsupported(content_type: &str) -> DecodeError {
    let got = if content_type.trim().is_empty() { "missing".to_owned() } else { format!("\"{}\"", cut(content_type)) };
    DecodeError::UnsupportedMediaType { got }
}

pub(super) fn kind(content_type: &str) -> BodyFormat {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => BodyFormat::Json,
        "application/x-www-form-urlencoded" => BodyFormat::Form,
        "multipart/form-data" => BodyFormat::Multipart,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            BodyFormat::Lines
        }
        // RFC 6839 section 3.1.
        other if other.ends_with("+json") => BodyFormat::Json,
        _ => BodyFormat::Other,
    }
}
