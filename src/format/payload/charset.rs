//! Decodes a body to text. Nothing is replaced: bytes that are not of the charset are an error.

use std::borrow::Cow;

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::content_type::ContentType;
use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::named_charset::{Charset, text_in, utf8};
use crate::format::schema::cut;

/// Decodes a body that is one text: by its byte order mark, as UTF-8 if it is valid (JSON is, whatever was declared:
/// RFC 8259 section 8.1), and otherwise in the declared charset. A byte order mark is not part of the text.
///
/// # Errors
/// Fails if the bytes are neither UTF-8 nor of the declared charset.
pub(super) fn whole<'a>(
    bytes: &'a [u8],
    declared: &ContentType<'_>,
    loosened: &mut Loosened,
) -> Result<Cow<'a, str>, DecodeError> {
    let of_charset = |bytes: &'a [u8], charset, loosened: &mut Loosened| {
        loosened.add("charset");
        text_in(bytes, charset)
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => return utf8(rest).map(Cow::Borrowed),
        [0xff, 0xfe, rest @ ..] => return of_charset(rest, UTF_16LE, loosened),
        [0xfe, 0xff, rest @ ..] => return of_charset(rest, UTF_16BE, loosened),
        // UTF-16 without a mark: no text in UTF-8 begins with these.
        [b'{' | b'[' | b'"' | b'<', 0, ..] => return of_charset(bytes, UTF_16LE, loosened),
        [0, b'{' | b'[' | b'"' | b'<', ..] => return of_charset(bytes, UTF_16BE, loosened),
        _ => {}
    }
    let broken = match utf8(bytes) {
        Ok(text) => return Ok(Cow::Borrowed(text)),
        Err(broken) => broken,
    };
    match declared.charset() {
        Ok(None) => Err(broken),
        Ok(Some(Charset::Of(charset))) if charset == UTF_8 => Err(broken),
        Ok(Some(Charset::Of(charset))) => of_charset(bytes, charset, loosened),
        Ok(Some(Charset::Ascii)) => of_charset(bytes, WINDOWS_1252, loosened),
        Err(label) => Err(unknown(&label)),
    }
}

pub(super) fn unknown(label: &str) -> DecodeError {
    DecodeError::Charset { got: cut(label), known: false }
}

/// Decodes a header of a part: UTF-8, or what browsers send instead.
pub(super) fn header(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}
