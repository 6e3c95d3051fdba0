//! The body of a redacted delivery with files: the redacted payload as JSON, and the files next to it, as
//! `multipart/related` (RFC 2387). Only this server writes it.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::content_type::ContentType;
use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::json;
use super::part::parts;

/// Start of the boundary.
const BOUNDARY: &str = "hookmill-";

/// Content type of a redacted payload without files.
const PAYLOAD: &str = "application/json";

/// A body and its content type.
#[derive(Debug)]
pub struct StoredBody {
    /// The body.
    pub body: Vec<u8>,
    /// Its content type.
    pub content_type: String,
}

/// Returns a content type as it is taken from a sender: only this server writes stored bodies, so a sender's body is never read
/// as one.
#[must_use]
pub fn received_type(content_type: String) -> String {
    if is_stored(&ContentType::parse(&content_type)) { "multipart/related".into() } else { content_type }
}

impl StoredBody {
    /// Returns whether a body of this content type may be one.
    #[must_use]
    pub fn is_type(content_type: Option<&str>) -> bool {
        content_type == Some(PAYLOAD) || content_type.is_some_and(|it| is_stored(&ContentType::parse(it)))
    }
}

/// Writes a payload with the files of these numbers. The boundary is a digest, so the content cannot contain it.
pub(super) fn with_files(payload: &Value, files: &[(usize, &[u8])]) -> StoredBody {
    let text = payload.to_string();
    if files.is_empty() {
        return StoredBody { body: text.into_bytes(), content_type: PAYLOAD.into() };
    }
    let mut digest = Sha256::new_with_prefix(&text);
    files.iter().for_each(|(_, bytes)| digest.update(bytes));
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let boundary = format!("{BOUNDARY}{digest}");
    let mut body = format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{text}").into_bytes();
    for (number, bytes) in files {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Disposition: attachment; name=\"{number}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/related; boundary={boundary}; type=\"application/json\"");
    StoredBody { body, content_type }
}

/// Returns the payload of such a body; `None` if it is another one.
pub(super) fn parse(declared: &ContentType<'_>, body: &[u8]) -> Option<Result<Value, DecodeError>> {
    let found = parts(body, &boundary(declared)?, &mut Loosened::default());
    Some(found.and_then(|parts| {
        let first = parts.first().map(|it| std::str::from_utf8(&it.content).unwrap_or_default());
        json::parse(first.unwrap_or_default())
    }))
}

/// Returns whether a content type is that of such a body.
pub(super) fn is_stored(declared: &ContentType<'_>) -> bool {
    boundary(declared).is_some()
}

fn boundary(declared: &ContentType<'_>) -> Option<String> {
    let is_related = declared.essence == "multipart/related";
    declared.parameter("boundary").filter(|it| is_related && it.starts_with(BOUNDARY))
}

/// Returns the file of this number in such a body, with the name that its payload says.
pub(super) fn file(declared: &ContentType<'_>, body: &[u8], number: usize) -> Option<(Option<String>, Vec<u8>)> {
    let parts = parts(body, &boundary(declared)?, &mut Loosened::default()).ok()?;
    let payload: Value = serde_json::from_slice(&parts.first()?.content).ok()?;
    let found = parts.iter().skip(1).find(|it| it.name.as_deref() == Some(number.to_string().as_str()))?;
    Some((named(&payload, number), found.content.to_vec()))
}

/// Returns all files in such a body, each with its number.
pub(super) fn files<'a>(declared: &ContentType<'_>, body: &'a [u8]) -> Vec<(usize, Cow<'a, [u8]>)> {
    let found = boundary(declared).and_then(|it| parts(body, &it, &mut Loosened::default()).ok());
    let files = found.into_iter().flatten().skip(1);
    files.filter_map(|it| Some((it.name?.parse().ok()?, it.content))).collect()
}

/// Returns the name of a file in a payload that describes it.
fn named(value: &Value, number: usize) -> Option<String> {
    match value {
        Value::Object(map) if file_number(value) == Some(number as u64) => map.get("name")?.as_str().map(str::to_owned),
        Value::Object(map) => map.values().find_map(|it| named(it, number)),
        Value::Array(items) => items.iter().find_map(|it| named(it, number)),
        _ => None,
    }
}

/// Returns the number of the file that a value describes.
pub(super) fn file_number(value: &Value) -> Option<u64> {
    value.get("sha256").filter(|it| it.is_string())?;
    value.get("file").and_then(Value::as_u64)
}

/// Returns whether a value describes a file.
pub(crate) fn is_file(value: &Value) -> bool {
    file_number(value).is_some()
}
