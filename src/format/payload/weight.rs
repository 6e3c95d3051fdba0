//! The memory that decoding takes, before it is done.

use std::borrow::Cow;

use super::coding::without_coding;
use super::content_type::{BodyFormat, ContentType};
use super::decoded::Loosened;
use super::part::{BodyPart, parts};

/// Size of a value, with its name and its place in a list that has grown, in bytes.
const VALUE: usize = 96;
/// Size of the description of a file without its name and its type, in bytes: six values, five names and a digest.
const FILE: usize = 8 * VALUE;

/// Estimates how much memory a body takes once it is decoded, in bytes: for each value and name its entry in the
/// tree, and twice the text. Separators within texts count too, so the estimate is rather high.
#[must_use]
pub fn weight(body: &[u8]) -> usize {
    let values = body.iter().filter(|it| matches!(it, b',' | b':' | b'[' | b'{' | b'&' | b'<' | b'\n')).count();
    // Brackets in the names of a form.
    let escaped = memchr::memchr_iter(b'%', body);
    let escaped =
        escaped.filter(|at| body.get(at + 1..at + 3).is_some_and(|it| it.eq_ignore_ascii_case(b"5b"))).count();
    body.len().saturating_mul(2).saturating_add(values.saturating_add(escaped).saturating_mul(VALUE))
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
        Some(parts) => parts.iter().map(weight_of_part).fold(0, usize::saturating_add),
    }
}

/// Whether a part is a file is decided later, by its name and its type together; so each part weighs what the
/// description of a file would, and its text.
fn weight_of_part(part: &BodyPart<'_>) -> usize {
    let labels = [&part.name, &part.file_name, &part.content_type].into_iter().flatten();
    let labels = labels.map(|it| weight(it.as_bytes())).fold(FILE, usize::saturating_add);
    labels.saturating_add(if part.is_text() { weight(&part.content) } else { 0 })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::decode::decode;
    use super::super::decoded::Rules;
    use super::*;

    /// Otherwise forms of files, of long names or of nested names take memory that no limit knows.
    #[test]
    fn a_form_is_no_larger_than_its_weight() {
        let part = |headers: &str| format!("--X\r\n{headers}\r\n\r\n1\r\n").repeat(900) + "--X--";
        let named = |name: &str| part(&format!("Content-Disposition: form-data; name=\"{name}\"{name}"));
        let nested = format!("a{}=1", "%5Bb%5d".repeat(15));
        for (content_type, body) in [
            ("multipart/form-data; boundary=X", part("Content-Disposition: form-data; name=f; filename*=utf-8''R.pdf")),
            ("multipart/form-data; boundary=X", part("")),
            ("multipart/form-data; boundary=X", named(&"n".repeat(4000))),
            ("multipart/form-data; boundary=X", named(&format!("a{}", "[b]".repeat(15)))),
            ("application/x-www-form-urlencoded", (0..900).map(|it| format!("{it}{nested}&")).collect()),
        ] {
            let estimated = weight_of(Some(content_type), None, body.as_bytes(), usize::MAX);
            let value = decode(Some(content_type), body.as_bytes(), &Rules::default()).unwrap().value;
            assert!(size(&value) <= estimated, "{}: {} > {estimated}", body.get(..100).unwrap(), size(&value));
        }
    }

    /// About the memory of a value, in bytes.
    fn size(value: &Value) -> usize {
        32 + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(map) => map.iter().map(|(name, it)| name.len() + 32 + size(it)).sum(),
            _ => 0,
        }
    }
}
