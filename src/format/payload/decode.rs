//! Decodes a body: JSON, JSON in a JSON string, forms, XML, and any of these with another content type.

use serde_json::Value;

use super::charset::{unknown, whole};
use super::content_type::{BodyFormat, ContentType};
use super::decode_error::DecodeError;
use super::decoded::{DeclaredFormat, Encoding, Loosened, Payload, Rules};
use super::in_place::claims;
use super::named_charset::Charset;
use super::{form, json, magic, multipart, stored, xml};
use crate::format::schema::cut;

/// Decodes a body that has no content coding.
///
/// # Errors
/// Fails if the body has no known format, or is invalid.
pub fn decode(content_type: Option<&str>, body: &[u8], rules: &Rules) -> Result<Payload, DecodeError> {
    let declared = ContentType::parse(content_type.unwrap_or_default());
    if rules.strict {
        return strictly(&declared, content_type.unwrap_or_default(), body, rules);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return rules.empty.clone().map(Payload::of).ok_or(DecodeError::Empty);
    }
    let mut loosened = Loosened::default();
    if declared.repeated {
        loosened.add("content-type");
    }
    if let Some(value) = stored::parse(&declared, body) {
        return Ok(Payload::new(value?, Encoding::Json, loosened));
    }
    match rules.format {
        Some(format) => in_format(format, &declared, body, loosened),
        None => sniffed(&declared, body, loosened, rules),
    }
}

/// Reads JSON of the documented form: in UTF-8, with one content type that says so.
fn strictly(
    declared: &ContentType<'_>,
    content_type: &str,
    body: &[u8],
    rules: &Rules,
) -> Result<Payload, DecodeError> {
    let charset = declared.charset().map_err(|label| unknown(&label))?;
    let is_utf8 = charset.is_none_or(|it| it == Charset::Of(encoding_rs::UTF_8));
    if declared.format != BodyFormat::Json || declared.repeated || !is_utf8 {
        return Err(unsupported(content_type));
    }
    if body.trim_ascii().is_empty() {
        return rules.empty.clone().map(Payload::of).ok_or(DecodeError::Empty);
    }
    let mut loosened = Loosened::default();
    let text = whole(body, declared, &mut loosened)?;
    if loosened.header_value().is_some() {
        // UTF-16.
        return Err(DecodeError::NotUtf8 { offset: 0 });
    }
    unpack(json::parse(&text)?, loosened, rules)
}

/// Reads a body in the format that its sender is known to send.
fn in_format(
    format: DeclaredFormat,
    declared: &ContentType<'_>,
    body: &[u8],
    mut loosened: Loosened,
) -> Result<Payload, DecodeError> {
    let (value, encoding) = match format {
        DeclaredFormat::Form => (form::parse(body, declared, &mut loosened)?, Encoding::Form),
        DeclaredFormat::Multipart => multipart::parse(declared, body, &mut loosened)?,
        DeclaredFormat::Xml => (xml(declared, body, &mut loosened)?, Encoding::Form),
        DeclaredFormat::Json => {
            let text = whole(body, declared, &mut loosened)?;
            (json::read(&text, &mut loosened)?, Encoding::Json)
        }
        DeclaredFormat::Jwt => {
            let text = whole(body, declared, &mut loosened)?;
            (claims(&text, &mut loosened)?, Encoding::Json)
        }
    };
    Ok(Payload::new(value, encoding, loosened))
}

/// Reads a body by its content type and its first characters. What the content type does not say is reported.
fn sniffed(
    declared: &ContentType<'_>,
    body: &[u8],
    mut loosened: Loosened,
    rules: &Rules,
) -> Result<Payload, DecodeError> {
    let form = |value, loosened| Ok(Payload::new(value, Encoding::Form, loosened));
    if declared.format == BodyFormat::Multipart || multipart::first_boundary(body).is_some() {
        if declared.format != BodyFormat::Multipart {
            loosened.add("content-type");
        }
        let (value, encoding) = multipart::parse(declared, body, &mut loosened)?;
        return Ok(Payload::new(value, encoding, loosened));
    }
    if declared.format == BodyFormat::Form && !begins_as_json(body) {
        let is_form = std::str::from_utf8(body).is_ok_and(form::is_form);
        if let Some(what) = magic::format_of(body).filter(|_| !is_form) {
            return Err(DecodeError::Binary { what });
        }
        if rules.unwrap
            && let Some(value) = form::json_name(body, &mut loosened)?
        {
            loosened.add("content-type");
            return Ok(Payload::new(value, Encoding::Json, loosened));
        }
        let value = form::parse(body, declared, &mut loosened).map_err(|it| explained(it, body))?;
        return form(value, loosened);
    }
    if declared.format == BodyFormat::Xml || body.trim_ascii_start().starts_with(b"<?xml") {
        if declared.format != BodyFormat::Xml {
            loosened.add("content-type");
        }
        let value = xml(declared, body, &mut loosened)?;
        return form(value, loosened);
    }
    let text = whole(body, declared, &mut loosened).map_err(|it| explained(it, body))?;
    read_text(&text, declared, body, loosened, rules)
}

fn read_text(
    text: &str,
    declared: &ContentType<'_>,
    body: &[u8],
    mut loosened: Loosened,
    rules: &Rules,
) -> Result<Payload, DecodeError> {
    match (declared.format, text.trim_start().chars().next()) {
        (_, None) => Err(DecodeError::Empty),
        (BodyFormat::Form, Some('{')) => {
            loosened.add("content-type");
            match json::read(text, &mut loosened) {
                Ok(value) => unpack(value, loosened, rules),
                Err(error) => match form::json_name(body, &mut loosened)?.filter(|_| rules.unwrap) {
                    Some(value) => Ok(Payload::new(value, Encoding::Json, loosened)),
                    None => Err(error),
                },
            }
        }
        (_, Some('{' | '[' | '"')) => {
            if declared.format != BodyFormat::Json {
                loosened.add("content-type");
            }
            unpack(json::read(text, &mut loosened)?, loosened, rules)
        }
        _ if form::is_form(text) => {
            loosened.add("content-type");
            let value = match form::json_name(body, &mut loosened)?.filter(|_| rules.unwrap) {
                Some(value) => return Ok(Payload::new(value, Encoding::Json, loosened)),
                // Escapes in a form are of the declared charset, unless the whole text is not UTF-8.
                None if text.as_bytes() == body => form::parse(body, declared, &mut loosened)?,
                None => form::parse(text.as_bytes(), &ContentType::parse(""), &mut loosened)?,
            };
            Ok(Payload::new(value, Encoding::Form, loosened))
        }
        (BodyFormat::Json, _) => {
            let value = json::read(text, &mut loosened).map_err(|it| explained(it, body))?;
            unpack(value, loosened, rules)
        }
        _ => Err(explained(unsupported(&declared.essence), body)),
    }
}

/// Says what a body is that is not text.
fn explained(error: DecodeError, body: &[u8]) -> DecodeError {
    magic::format_of(body).map_or(error, |what| DecodeError::Binary { what })
}

fn begins_as_json(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.trim_ascii_start().starts_with(b"{")
        || body.trim_ascii_start().starts_with(b"[")
        || body.trim_ascii_start().starts_with(b"\"")
}

/// Reads XML, in the charset of the content type or of its own declaration.
fn xml(declared: &ContentType<'_>, body: &[u8], loosened: &mut Loosened) -> Result<Value, DecodeError> {
    let own = xml::declared_charset(body).filter(|_| declared.parameter("charset").is_none());
    let own = own.map(|label| Charset::named(label.as_bytes()).ok_or_else(|| unknown(&label)));
    let text = match own.transpose()? {
        // A declaration in ASCII shows that it is not UTF-16.
        Some(Charset::Of(charset)) if !charset.is_ascii_compatible() => whole(body, declared, loosened)?,
        Some(charset) => charset.text(body, loosened)?,
        None => whole(body, declared, loosened)?,
    };
    xml::parse(&text, loosened)
}

/// Reads JSON that was sent as a JSON string.
pub(super) fn unpack(mut value: Value, mut loosened: Loosened, rules: &Rules) -> Result<Payload, DecodeError> {
    if let (Value::String(inner), false) = (&value, rules.strict) {
        value = match inner.trim_start().chars().next() {
            Some('{' | '[') => json::read(inner, &mut loosened)?,
            _ => return Err(DecodeError::NotAnObject { got: "text" }),
        };
        loosened.add("body");
    }
    Ok(Payload::new(value, Encoding::Json, loosened))
}

/// Parses JSON that was sent as a JSON string, one level.
pub(crate) fn inner_json(text: &str) -> Result<Value, DecodeError> {
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().chars().next() {
        Some('{' | '[') => json::read(text, &mut Loosened::default()),
        _ => Err(DecodeError::NotAnObject { got: "text" }),
    }
}

pub(super) fn unsupported(content_type: &str) -> DecodeError {
    let got = if content_type.trim().is_empty() { "missing".to_owned() } else { format!("\"{}\"", cut(content_type)) };
    DecodeError::UnsupportedMediaType { got }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &[u8], rules: &Rules) -> Result<Value, DecodeError> {
        decode(Some("application/octet-stream"), body, rules).map(|it| it.value)
    }

    /// Otherwise a sender that is known to send a token, XML or nothing at all cannot be read.
    #[test]
    fn a_declared_format_is_read_whatever_the_content_type_says() {
        let multipart = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--";
        for (format, body, expected) in [
            (DeclaredFormat::Json, &b"[1]"[..], json!([1])),
            (DeclaredFormat::Form, b"{a}=1", json!({"{a}": "1"})),
            (DeclaredFormat::Multipart, multipart, json!({"a": "1"})),
            (DeclaredFormat::Xml, b"<a><b>1</b></a>", json!({"a": {"b": "1"}})),
            (DeclaredFormat::Jwt, b"eyJhbGciOiJIUzI1NiJ9.eyJjYWxsX2lkIjoxfQ.c2ln", json!({"call_id": 1})),
        ] {
            let rules = Rules { format: Some(format), ..Rules::default() };
            assert_eq!(read(body, &rules), Ok(expected), "{format:?}");
            assert!(read(b"\xff", &rules).is_err(), "{format:?}");
        }
    }

    #[test]
    fn an_empty_body_counts_as_what_the_rules_say() {
        let rules = Rules { empty: Some(json!({"event": "ping"})), ..Rules::default() };
        assert_eq!(read(b"", &rules), Ok(json!({"event": "ping"})));
        assert_eq!(read(b" \r\n", &rules), Ok(json!({"event": "ping"})));
        assert_eq!(read(b"", &Rules::default()), Err(DecodeError::Empty));
    }

    /// Otherwise a strict key is not strict: what is sent is not what is stored.
    #[test]
    fn strict_rules_read_nothing_but_json() {
        let rules = Rules { strict: true, ..Rules::default() };
        let json = |body: &[u8]| decode(Some("application/json"), body, &rules).map(|it| it.value);
        assert_eq!(json(b"{\"a\":1.5}"), Ok(json!({"a": 1.5})));
        assert_eq!(json(b"{\"a\":1234567890.123456789}"), Err(DecodeError::InexactNumber));
        for body in [
            &b"a=1"[..],
            b"{\"a\":\"\\ud83d\"}",
            b"<?xml version=\"1.0\"?><a/>",
            b"--X\r\nContent-Type: x\r\n\r\n1\r\n--X--",
        ] {
            assert!(json(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(matches!(read(b"{}", &rules), Err(DecodeError::UnsupportedMediaType { .. })));
        for content_type in [
            "application/json; charset=iso-8859-1",
            "application/json; charset=us-ascii",
            "application/json, application/json",
            "text/plain, application/json",
        ] {
            let read = decode(Some(content_type), b"{}", &rules);
            assert!(matches!(read, Err(DecodeError::UnsupportedMediaType { .. })), "{content_type}");
        }
        assert!(matches!(json(b"{\0}\0"), Err(DecodeError::NotUtf8 { .. })));
        assert!(decode(Some("application/json; charset=UTF-8"), b"{}", &rules).is_ok());
    }
}
