//! What an integration may read in a body, whatever its sender's file says, and also if it is gone: the values in every
//! format that the body has, the contents of the parts of a form, UTF-16 without a byte order mark, and base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::format::payload::{DeclaredFormat, Rules, decode, signed_parts};

/// Maximum number of levels of base64: a token in the message of a queue has two.
const LEVELS: usize = 3;
/// Fewest characters of base64 that are decoded: those of an id with four characters.
const SHORTEST: usize = 6;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Returns the values that a body may be read as.
pub(super) fn values(content_type: Option<&str>, content: &[u8]) -> Vec<Value> {
    let read = |format| {
        let rules = Rules { format, ..Rules::default() };
        decode(content_type, content, &rules).ok().map(|it| it.value)
    };
    let mut found: Vec<Value> = read(None).into_iter().collect();
    if content.iter().find(|it| !it.is_ascii_whitespace() && **it != 0).is_some_and(|it| *it == b'<') {
        found.extend(read(Some(DeclaredFormat::Xml)));
    }
    if found.is_empty() {
        // It repeats a name, or is of another format than it says.
        found.extend(serde_json::from_slice(content).ok());
        found.extend(read(Some(DeclaredFormat::Multipart)));
        found.extend(read(Some(DeclaredFormat::Jwt)));
    }
    found
}

/// Returns the texts that a body may contain.
pub(super) fn texts<'a>(content_type: Option<&str>, content: &'a [u8]) -> Vec<Cow<'a, str>> {
    let mut found = vec![text_of(content)];
    found.extend(utf16(content));
    let content_type = content_type.unwrap_or_default();
    let parts = signed_parts(content_type, content).or_else(|| signed_parts("multipart/form-data", content));
    for part in parts.into_iter().flatten().flatten() {
        found.push(text_of(&part.content).into_owned().into());
        found.extend(utf16(&part.content));
    }
    let rules = Rules { format: Some(DeclaredFormat::Form), ..Rules::default() };
    found.extend(decode(Some(content_type), content, &rules).ok().map(|it| it.value.to_string().into()));
    found
}

/// Returns a body as text: UTF-8, UTF-16 with a byte order mark, or else Latin 1, in which every byte is a
/// character.
pub(super) fn text_of(body: &[u8]) -> Cow<'_, str> {
    match body {
        [0xff, 0xfe, ..] => units(body, u16::from_le_bytes).into(),
        [0xfe, 0xff, ..] => units(body, u16::from_be_bytes).into(),
        _ => match std::str::from_utf8(body) {
            Ok(text) => text.into(),
            Err(_) => body.iter().copied().map(char::from).collect::<String>().into(),
        },
    }
}

/// Reads bytes as UTF-16 in both orders, if they may be that: every ASCII character has a zero byte.
fn utf16<'a>(bytes: &[u8]) -> Vec<Cow<'a, str>> {
    if memchr::memchr(0, bytes).is_none() {
        return Vec::new();
    }
    vec![units(bytes, u16::from_le_bytes).into(), units(bytes, u16::from_be_bytes).into()]
}

fn units(bytes: &[u8], of: fn([u8; 2]) -> u16) -> String {
    let units: Vec<_> = bytes.chunks_exact(2).map(|it| of([it[0], it[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// Returns the texts that are in a text as base64, also within such texts. Each level is shorter than the previous one.
pub(super) fn in_base64(text: &str) -> Vec<String> {
    let (mut found, mut from) = (decoded(text), 0);
    for _ in 1..LEVELS {
        let next: Vec<_> = found.get(from..).unwrap_or_default().iter().flat_map(|it| decoded(it)).collect();
        from = found.len();
        found.extend(next);
    }
    found
}

fn decoded(text: &str) -> Vec<String> {
    let is_cut = |it: char| it == '\\' || it.is_ascii_whitespace();
    let mut found: Vec<_> = words(text).collect();
    if text.contains(is_cut) {
        // Mail programs wrap base64, and some senders escape the slashes in JSON.
        let joined = text.replace("\\/", "/").replace("\\r", "").replace("\\n", "");
        found.extend(words(&joined.split_ascii_whitespace().collect::<String>()));
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let is_other = |it: char| !it.is_ascii_alphanumeric() && !matches!(it, '+' | '/' | '-' | '_');
    text.split(is_other).filter(|it| it.len() >= SHORTEST).filter_map(|word| {
        let plain = |it: u8| match it {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        let word: Vec<u8> = word.bytes().map(plain).collect();
        String::from_utf8(BASE64.decode(word).ok()?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an erasure misses an id that the integration reads in a token, a message of a queue or an email.
    #[test]
    fn base64_is_read_as_senders_write_it() {
        for text in [
            "NDcxMg==",
            "NDcxMg",
            "x NDcxMg y",
            "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjQ3MTIifQ.c2ln",
            "data:text/plain;base64,NDcxMg==",
            "eyJpZCI6\r\nIjQ3MTIi\r\nfQ==",
            r#"{"a":"eyJpZCI6\nIjQ3MTIifQ"}"#,
            // `{"id":"4712???"}`
            r#"{"a":"eyJpZCI6IjQ3MTI\/Pz8ifQ=="}"#,
            // `{"data":"eyJpZCI6IjQ3MTIifQ=="}`
            "eyJkYXRhIjoiZXlKcFpDSTZJalEzTVRJaWZRPT0ifQ==",
        ] {
            assert!(in_base64(text).iter().any(|it| it.contains("4712")), "{text}: {:?}", in_base64(text));
        }
        assert_eq!(in_base64("call back later"), Vec::<String>::new());
    }

    /// Otherwise one body keeps an erasure busy for hours.
    #[test]
    fn hostile_texts_take_no_longer_than_others_of_their_size() {
        let size = 1 << 18;
        for text in ["A", "QUFB ", "\\", "\\/", "NDcxMg ", "\n", "="] {
            let _any_number = in_base64(&text.repeat(size / text.len())).len();
        }
    }
}
