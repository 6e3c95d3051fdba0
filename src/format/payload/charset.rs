//! Decodes bytes to text. Nothing is replaced: bytes that are not of the charset are an error.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::content_type::ContentType;
use super::decode_error::DecodeError;
use super::decoded::Loosened;
use crate::format::schema::cut;

/// A charset, as a label names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// ASCII. Senders name it by default, whatever they send.
    Ascii,
    /// Any other.
    Of(&'static Encoding),
}

impl Charset {
    /// Finds a charset by its name.
    pub(super) fn named(label: &[u8]) -> Option<Self> {
        const ASCII: [&str; 5] = ["us-ascii", "ascii", "ansi_x3.4-1968", "iso-ir-6", "iso646-us"];
        let is_ascii = ASCII.iter().any(|it| label.trim_ascii().eq_ignore_ascii_case(it.as_bytes()));
        if is_ascii { Some(Self::Ascii) } else { Encoding::for_label_no_replacement(label).map(Self::Of) }
    }

    /// Decodes text. What is not ASCII although that was declared is UTF-8, or else what browsers take it for; this is
    /// reported.
    ///
    /// # Errors
    /// Fails if the bytes are not of this charset.
    pub(super) fn text<'a>(self, bytes: &'a [u8], loosened: &mut Loosened) -> Result<Cow<'a, str>, DecodeError> {
        match self {
            Self::Of(charset) => {
                let (charset, bytes) = without_own_mark(bytes, charset);
                text_in(bytes, charset)
            }
            Self::Ascii => {
                if !bytes.is_ascii() {
                    loosened.add("charset");
                }
                utf8(bytes).map(Cow::Borrowed).or_else(|_| text_in(bytes, WINDOWS_1252))
            }
        }
    }
}

/// Removes a byte order mark, which is not part of a text. In UTF-16, it also says the order.
fn without_own_mark<'a>(bytes: &'a [u8], charset: &'static Encoding) -> (&'static Encoding, &'a [u8]) {
    let is_wide = charset == UTF_16LE || charset == UTF_16BE;
    match bytes {
        [0xff, 0xfe, rest @ ..] if is_wide => (UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] if is_wide => (UTF_16BE, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] if charset == UTF_8 => (charset, rest),
        _ => (charset, bytes),
    }
}

/// Decodes text of this charset.
///
/// # Errors
/// Fails if the bytes are not of this charset.
pub(super) fn text_in<'a>(bytes: &'a [u8], charset: &'static Encoding) -> Result<Cow<'a, str>, DecodeError> {
    if charset == UTF_8 {
        return utf8(bytes).map(Cow::Borrowed);
    }
    let text = charset.decode_without_bom_handling_and_without_replacement(bytes);
    text.ok_or_else(|| DecodeError::Charset { got: charset.name().to_owned(), known: true })
}

/// Decodes UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|e| DecodeError::NotUtf8 { offset: e.valid_up_to() })
}

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
