//! Charsets by their names, and text in them. Nothing is replaced: bytes that are not of the charset are an error.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::decode_error::DecodeError;
use super::decoded::Loosened;

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
