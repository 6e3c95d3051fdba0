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
        let decoded = match coding.is_in(&content) {
            Some(false) if looks_plain(&content) => None,
            Some(_) => Some(coding.remove(&content, most_content(body.len(), limit))?),
            // Only decoding shows whether a body that begins as a text is one.
            None => match coding.remove(&content, most_content(body.len(), limit)) {
                Err(_) if looks_plain(&content) && is_text(&content) => None,
                decoded => Some(decoded?),
            },
        };
        match decoded {
            Some(decoded) => content = Cow::Owned(decoded),
            // A proxy has removed the coding, but not the header.
            None => loosened.add("content-encoding"),
        }
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

/// Returns whether a body is text, or a form that may contain files.
fn is_text(body: &[u8]) -> bool {
    let is_text = |it: &u8| !it.is_ascii_control() || it.is_ascii_whitespace();
    body.starts_with(b"--") || std::str::from_utf8(body).is_ok() && body.iter().all(is_text)
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

    /// Returns whether a body begins as one in this coding does; `None` if that cannot be seen.
    fn is_in(self, body: &[u8]) -> Option<bool> {
        match self {
            _ if body.is_empty() => Some(false),
            Self::Gzip => Some(body.starts_with(&[0x1f, 0x8b])),
            Self::Deflate | Self::Brotli => None,
            Self::Zstd => {
                Some(body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || body.get(1..4) == Some(&[0x2a, 0x4d, 0x18]))
            }
        }
    }

    fn remove(self, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Gzip => self.all_of(flate2::read::MultiGzDecoder::new(body), limit),
            // Senders disagree on whether this is zlib or raw deflate.
            Self::Deflate if is_zlib(body) => self
                .whole(body, |source| self.all_of(flate2::bufread::ZlibDecoder::new(source), limit))
                .or_else(|_| self.raw_deflate(body, limit)),
            Self::Deflate => self.raw_deflate(body, limit),
            Self::Brotli => self.whole(body, |source| self.brotli(source, limit)),
            Self::Zstd => self.frames(body, limit),
        }
    }

    fn raw_deflate(self, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        self.whole(body, |source| self.all_of(flate2::bufread::DeflateDecoder::new(source), limit))
    }

    fn brotli(self, source: &mut &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = brotli_decompressor::Decompressor::new(source, 4096);
        let content = self.all_of(&mut decoder, limit)?;
        // Reading on after the end fails if there is more in the decoder's buffer.
        decoder.read(&mut [0]).map_err(|_| self.broken())?;
        Ok(content)
    }

    /// Decodes a body in a coding that does not say where it ends: nothing but a line's end follows. Otherwise text is
    /// taken for a coded body if it begins as one does, and lost.
    fn whole(
        self,
        body: &[u8],
        decode: impl FnOnce(&mut &[u8]) -> Result<Vec<u8>, DecodeError>,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut rest = body;
        let content = decode(&mut rest)?;
        if rest.trim_ascii().is_empty() { Ok(content) } else { Err(self.broken()) }
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
