//! The memory that decoding takes, before it is done.

use std::borrow::Cow;

use super::coding::without_coding;
use super::content_type::{BodyFormat, ContentType};
use super::decoded::Loosened;
use super::part::{BodyPart, parts};

/// Size of a value, with its name and its place in a list that has grown, in bytes.
const VALUE: usize = 96;

/// Estimates how much memory a body takes once it is decoded, in bytes: for each value and name its entry in the
/// tree, and twice the text. Separators within texts count too, so the estimate is rather high.
#[must_use]
pub fn weight(body: &[u8]) -> usize {
    let values = body.iter().filter(|it| matches!(it, b',' | b':' | b'[' | b'{' | b'&' | b'<' | b'\n')).count();
    body.len().saturating_mul(2).saturating_add(values.saturating_mul(VALUE))
}

/// Estimates the same for a body with a content type and a content coding. The coding is removed to see what is in it.
/// The files of a form are not decoded.
#[must_use]
pub fn weight_of(content_type: Option<&str>, coding: Option<&str>, body: &[u8], limit: usize) -> usize {
    let declared = ContentType::parse(content_type.unwrap_or_default());
    let content = without_coding(coding, body, limit, &mut Loosened::default()).unwrap_or_default();
    let expanded = if matches!(content, Cow::Owned(_)) { content.len() } else { 0 };
    expanded.saturating_add(weight_in(&declared, &content))
}

fn weight_in(declared: &ContentType<'_>, content: &[u8]) -> usize {
    let boundary = declared.parameter("boundary").filter(|_| declared.format == BodyFormat::Multipart);
    match boundary.and_then(|it| parts(content, &it, &mut Loosened::default()).ok()) {
        None => weight(content),
        Some(parts) => {
            let of = |it: &BodyPart<'_>| if it.is_text() { weight(&it.content) } else { 8 * VALUE };
            parts.iter().map(of).fold(0, usize::saturating_add)
        }
    }
}
