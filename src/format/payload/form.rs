//! Parses `application/x-www-form-urlencoded`, in the charset that the form declares.

use encoding_rs::UTF_8;
use serde_json::Value;

use super::charset::unknown;
use super::content_type::ContentType;
use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::form_tree;
use super::json;
use super::named_charset::Charset;

/// Field in which a form names its charset.
pub(super) const CHARSET_FIELD: &str = "_charset_";

/// Parses a form.
pub(super) fn parse(body: &[u8], declared: &ContentType<'_>, loosened: &mut Loosened) -> Result<Value, DecodeError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let pairs: Vec<_> = pairs(body).take(form_tree::FIELDS + 1).collect();
    let charset = charset(declared, &pairs)?;
    let mut fields = Vec::with_capacity(pairs.len());
    for (at, name, value) in pairs {
        let mut text = |bytes: &[u8]| match charset.text(bytes, loosened) {
            Ok(text) => Ok(text.into_owned()),
            Err(DecodeError::NotUtf8 { .. }) => Err(DecodeError::NotUtf8 { offset: at }),
            Err(other) => Err(other),
        };
        fields.push((text(&name)?, Value::String(text(&value)?)));
    }
    form_tree::build(fields)
}

/// Returns the declared charset, the one in the form's own field, or UTF-8.
fn charset(declared: &ContentType<'_>, pairs: &[(usize, Vec<u8>, Vec<u8>)]) -> Result<Charset, DecodeError> {
    if let Some(charset) = declared.charset().map_err(|label| unknown(&label))? {
        return Ok(charset);
    }
    let own = pairs.iter().find(|(_, name, value)| name == CHARSET_FIELD.as_bytes() && !value.is_empty());
    own.map_or(Ok(Charset::Of(UTF_8)), |(_, _, label)| {
        Charset::named(label).ok_or_else(|| unknown(&String::from_utf8_lossy(label)))
    })
}

/// Splits a form into names and values, as bytes, with the place of each.
fn pairs(body: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>, Vec<u8>)> {
    let mut at = 0;
    let pairs = body.split(|it| *it == b'&').map(move |pair| {
        let place = at;
        at += pair.len() + 1;
        let (name, value) = match pair.iter().position(|it| *it == b'=') {
            Some(end) => (&pair[..end], &pair[end + 1..]),
            None => (pair, &pair[..0]),
        };
        (place, pair.is_empty(), unescaped(name), unescaped(value))
    });
    pairs.filter(|(_, empty, ..)| !empty).map(|(place, _, name, value)| (place, name, value))
}

/// Removes percent-encoding. A `%` without two digits is itself.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (other, _) => bytes.push(*other),
        }
    }
    bytes
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

/// Returns whether text that was not declared as a form is one: every part is a name, an equals sign and a value, in
/// one line.
pub(super) fn is_form(text: &str) -> bool {
    let text = text.trim_end_matches(['\r', '\n']);
    let names = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|it| it.is_ascii_alphabetic() || matches!(it, b'_' | b'%'))
            && bytes.all(|it| it.is_ascii_alphanumeric() || b"_-.[]%+".contains(&it))
    };
    !text.is_empty()
        && !text.bytes().any(|it| it.is_ascii_control())
        && text.split('&').filter(|it| !it.is_empty()).all(|it| it.split_once('=').is_some_and(|(name, _)| names(name)))
}

/// Returns the JSON that a tool sent as the names of a form: `{"a":"b"}` becomes `%7B%22a%22%3A%22b%22%7D=`, and is cut at
/// each `&` and `=` in it.
///
/// # Errors
/// Fails if it was cut in a way that could have been either of two texts.
pub(super) fn json_name(body: &[u8], loosened: &mut Loosened) -> Result<Option<Value>, DecodeError> {
    let text = String::from_utf8(unescaped(body)).unwrap_or_default();
    let text = text.trim();
    if !text.starts_with('{') || !(text.ends_with('}') || text.ends_with("}=")) {
        return Ok(None);
    }
    let Ok(value @ Value::Object(_)) = json::read(text.strip_suffix('=').unwrap_or(text), loosened) else {
        return Ok(None);
    };
    // A name without a value is written with an equals sign that was not in the JSON, or was.
    let cut: Vec<&[u8]> = body.split(|it| *it == b'&').collect();
    let inner = cut.split_last().map_or(&[][..], |(_, inner)| inner);
    if inner.iter().any(|it| it.ends_with(b"=") || it.is_empty()) {
        let message = "its names are JSON that was cut at \"&\"; send the JSON with Content-Type: application/json";
        return Err(DecodeError::Form { message: message.into() });
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &[u8], content_type: &str) -> Result<Value, DecodeError> {
        parse(body, &ContentType::parse(content_type), &mut Loosened::default())
    }

    /// Otherwise a name with an umlaut is stored with U+FFFD, and nobody can restore it.
    #[test]
    fn a_form_is_decoded_in_its_charset_or_not_at_all() {
        let form = "application/x-www-form-urlencoded";
        for (body, charset, expected) in [
            (&b"title=%E9"[..], "; charset=windows-1252", "é"),
            (b"title=%e9", "; charset=\"ISO-8859-1\"", "é"),
            (b"title=\xe9", "; charset=latin1", "é"),
            (b"title=%C3%A9+b", "", "é b"),
            (b"title=%C3%A9", "; charset=UTF8", "é"),
            (b"title=%83%65%83%58%83%67", "; charset=Shift_JIS", "テスト"),
            (b"title=100%&x=%zz", "", "100%"),
            (b"&&title=a=b&", "", "a=b"),
            (b"\xef\xbb\xbftitle=a", "", "a"),
            (b"title=%E9", "; charset='latin1'", "é"),
        ] {
            assert_eq!(read(body, &format!("{form}{charset}")).unwrap()["title"], expected, "{charset}");
        }
        assert_eq!(read(b"_charset_=iso-8859-15&title=%A4", form).unwrap()["title"], "€");
        assert_eq!(read(b"a=1&title=%E9", form), Err(DecodeError::NotUtf8 { offset: 4 }));
        assert!(matches!(read(b"a=%FF", &format!("{form}; charset=utf-8")), Err(DecodeError::NotUtf8 { .. })));
        assert!(matches!(
            read(b"a=1", &format!("{form}; charset=utf-7")),
            Err(DecodeError::Charset { known: false, .. })
        ));
        assert!(matches!(
            read(b"a=%81%20", &format!("{form}; charset=shift_jis")),
            Err(DecodeError::Charset { known: true, .. })
        ));
    }

    /// Otherwise prose with an equals sign becomes a task of nonsense, or a form with the wrong type is lost.
    #[test]
    fn a_form_is_told_from_prose() {
        for form in ["title=a", "title=a&b[0]=c&", "a%5B0%5D=x y", "title=é\n", "_charset_=x&a=1=2"] {
            assert!(is_form(form), "{form}");
        }
        for other in ["", "call back", "2+2=4", "a = b", "title=a\nb=c", "a&b=c", "=x", "<a b=\"c\"/>"] {
            assert!(!is_form(other), "{other}");
        }
    }

    /// Otherwise n8n's "Import cURL" turns JSON into a form that is refused, or silently changes a text in it.
    #[test]
    fn json_in_the_name_is_joined_again_if_its_text_is_certain() {
        let read = |body: &str| json_name(body.as_bytes(), &mut Loosened::default());
        let some = |value: Value| Ok(Some(value));
        assert_eq!(read("%7B%22title%22%3A%22x%22%7D="), some(json!({"title": "x"})));
        assert_eq!(read("%7B%22title%22%3A%22x+y%22%7D"), some(json!({"title": "x y"})));
        assert_eq!(read("%7B%22t%22%3A%22a=b%22%7D"), some(json!({"t": "a=b"})));
        assert_eq!(read("%7B%22t%22%3A%22a=b&c=d%22%7D"), some(json!({"t": "a=b&c=d"})));
        assert_eq!(read("{\"t\":\"x\"}="), some(json!({"t": "x"})));
        assert!(matches!(read("%7B%22t%22%3A%22a=&b%22%7D="), Err(DecodeError::Form { .. })));
        for other in ["title=%7B%7D", "%7B%22t%22", "a=1", "%7B%7D=x", ""] {
            assert_eq!(read(other), Ok(None), "{other}");
        }
    }
}
