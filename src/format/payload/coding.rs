//! Removes content codings (RFC 9110 section 8.4.1), within limits of size and ratio.

use std::borrow::Cow;
use std::io::Read;

use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::form::is_form;
use crate::format::schema::cut;

/// Maximum number of codings of one body.
const CODINGS: usize = 2;
/// Content up to this size may come from any smaller body.
const SMALL: usize = 1 << 20;
/// Maximum size of larger content, as a multiple of the body.
const RATIO: usize = 100;
/// Maximum window of a zstd frame (RFC 8878 section 3.1.1.1.2 recommends this for decoders).
const WINDOW: u64 = 8 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Returns whether a `Content-Encoding` header changes the body, as far as it is known.
#[must_use]
pub fn is_coded(header: Option<&str>) -> bool {
    header.is_some_and(|it| codings(it, &mut Loosened::default()).map_or(true, |it| !it.is_empty()))
}

/// Returns the maximum size of the content of a body that is coded.
#[must_use]
pub fn most_content(body: usize, limit: usize) -> usize {
    limit.min(SMALL.max(body.saturating_mul(RATIO)))
}

/// Removes the codings that a `Content-Encoding` header names, in the opposite order.
///
/// # Errors
/// Fails if a coding is not known, if the body is not in it, or if the content exceeds `limit` bytes or the ratio.
pub fn without_coding<'a>(
    header: Option<&str>,
    body: &'a [u8],
    limit: usize,
    loosened: &mut Loosened,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let mut content = Cow::Borrowed(body);
    for coding in codings(header.unwrap_or_default(), loosened)?.into_iter().rev() {
        if !coding.is_in(&content) && looks_plain(&content) {
            // A proxy has removed the coding, but not the header.
            loosened.add("content-encoding");
            continue;
        }
        let allowed = most_content(body.len(), limit);
        content = Cow::Owned(coding.remove(&content, allowed)?);
    }
    Ok(content)
}

fn codings(header: &str, loosened: &mut Loosened) -> Result<Vec<Coding>, DecodeError> {
    let mut found = Vec::new();
    for name in header.split(',').map(|it| it.trim_matches([' ', '\t', '"'])) {
        found.push(match name.to_ascii_lowercase().as_str() {
            "" | "identity" => continue,
            // Charsets and transfer encodings, which change nothing.
            "utf-8" | "utf8" | "none" | "8bit" | "7bit" | "binary" | "chunked" | "us-ascii" => {
                loosened.add("content-encoding");
                continue;
            }
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => {
                let message = format!("the content coding \"{}\" is not supported", cut(name));
                return Err(DecodeError::ContentCoding { message });
            }
        });
        if found.len() > CODINGS {
            let message = format!("the body has more than {CODINGS} content codings");
            return Err(DecodeError::ContentCoding { message });
        }
    }
    Ok(found)
}

/// Returns whether a body is JSON, XML or a form, as far as its first byte shows.
fn looks_plain(body: &[u8]) -> bool {
    if std::str::from_utf8(body).is_ok_and(is_form) {
        return true;
    }
    let first = body.iter().find(|it| !it.is_ascii_whitespace());
    first.is_none_or(|it| matches!(it, b'{' | b'[' | b'<' | b'"')) || body.starts_with(b"--")
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Returns whether a body begins as one in this coding does, where that can be seen.
    fn is_in(self, body: &[u8]) -> bool {
        match self {
            Self::Gzip => body.starts_with(&[0x1f, 0x8b]),
            Self::Deflate => is_zlib(body),
            Self::Brotli => false,
            Self::Zstd => body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || body.get(1..4) == Some(&[0x2a, 0x4d, 0x18]),
        }
    }

    fn remove(self, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Gzip => self.all_of(flate2::read::MultiGzDecoder::new(body), limit),
            // Senders disagree on whether this is zlib or raw deflate.
            Self::Deflate if is_zlib(body) => self
                .all_of(flate2::read::ZlibDecoder::new(body), limit)
                .or_else(|_| self.all_of(flate2::read::DeflateDecoder::new(body), limit)),
            Self::Deflate => self.all_of(flate2::read::DeflateDecoder::new(body), limit),
            Self::Brotli => self.all_of(brotli_decompressor::Decompressor::new(body, 4096), limit),
            Self::Zstd => self.frames(body, limit),
        }
    }

    fn all_of(self, decoder: impl Read, limit: usize) -> Result<Vec<u8>, DecodeError> {
        let mut content = Vec::new();
        self.add(decoder, limit, &mut content)?;
        Ok(content)
    }

    fn add(self, decoder: impl Read, limit: usize, content: &mut Vec<u8>) -> Result<(), DecodeError> {
        let room = limit.saturating_sub(content.len()) as u64;
        decoder.take(room + 1).read_to_end(content).map_err(|_| self.broken())?;
        if content.len() > limit { Err(DecodeError::Expanded { limit }) } else { Ok(()) }
    }

    /// Reads zstd frames one after another.
    fn frames(self, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        use ruzstd::decoding::StreamingDecoder;
        use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
        let (mut rest, mut content) = (body, Vec::new());
        while !rest.is_empty() {
            if window(rest).is_some_and(|it| it > WINDOW) {
                let message = format!("the zstd window is larger than {WINDOW} bytes");
                return Err(DecodeError::ContentCoding { message });
            }
            let mut source = rest;
            match StreamingDecoder::new(&mut source) {
                Ok(decoder) => self.add(decoder, limit, &mut content)?,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    source = rest.get(8_usize.saturating_add(length as usize)..).ok_or_else(|| self.broken())?;
                }
                Err(_) => return Err(self.broken()),
            }
            rest = source;
        }
        Ok(content)
    }

    fn broken(self) -> DecodeError {
        DecodeError::ContentCoding { message: format!("the body is not valid {}", self.name()) }
    }
}

/// RFC 1950 section 2.2.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// Returns the size of the window that a zstd frame needs (RFC 8878 section 3.1.1.1).
fn window(frame: &[u8]) -> Option<u64> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = frame else { return None };
    if descriptor & 0x20 == 0 {
        let byte = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * (byte & 7));
    }
    // A single segment: the window is the content.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary..)?;
    match descriptor >> 6 {
        0 => size.first().map(|it| u64::from(*it)),
        1 => size.first_chunk().map(|it| u64::from(u16::from_le_bytes(*it)) + 256),
        2 => size.first_chunk().map(|it| u64::from(u32::from_le_bytes(*it))),
        _ => size.first_chunk().map(|it| u64::from_le_bytes(*it)),
    }
}
