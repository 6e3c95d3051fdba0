//! Just enough DER (X.690) to find the public key in a SubjectPublicKeyInfo or a certificate (RFC 5280), and PEM (RFC 7468).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `[0] EXPLICIT`: the version of a certificate.
const VERSION: u8 = 0xA0;

/// Returns the content of the first PEM block; `None` if the text does not begin with one.
pub(super) fn pem(text: &str) -> Option<Result<Vec<u8>, String>> {
    let rest = text.trim().strip_prefix("-----BEGIN ")?;
    let refused = || "is not a complete PEM".to_owned();
    let content = || {
        let (label, rest) = rest.split_once("-----")?;
        let (content, _) = rest.split_once(&format!("-----END {label}-----"))?;
        // Environment variables often have `\n` as two characters.
        let content: String = content.replace("\\n", "").split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(content).ok()
    };
    Some(content().ok_or_else(refused))
}

/// Returns the bytes of the public key.
pub(super) fn public_key(der: &[u8]) -> Option<&[u8]> {
    let (outer, _) = element(der, SEQUENCE)?;
    // A SubjectPublicKeyInfo begins with the algorithm and ends with the key; a certificate begins with its content.
    let (first, after) = element(outer, SEQUENCE)?;
    if after.first() == Some(&BIT_STRING) {
        return bits(after);
    }
    let mut rest = match element(first, VERSION) {
        Some((_, rest)) => rest,
        None => first,
    };
    // Serial number, signature algorithm, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    let (info, _) = element(rest, SEQUENCE)?;
    let (_algorithm, key) = element(info, SEQUENCE)?;
    bits(key)
}

/// Returns modulus and exponent of an RSAPublicKey, without leading zeros.
pub(super) fn rsa(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inner, _) = element(der, SEQUENCE)?;
    let (modulus, rest) = element(inner, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let plain = |it: &'_ [u8]| it.iter().take_while(|byte| **byte == 0).count();
    Some((&modulus[plain(modulus)..], &exponent[plain(exponent)..]))
}

/// Returns the period of validity of a certificate.
pub(super) fn validity(der: &[u8]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (outer, _) = element(der, SEQUENCE)?;
    let (first, _) = element(outer, SEQUENCE)?;
    let mut rest = element(first, VERSION).map_or(first, |(_, rest)| rest);
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    let (times, _) = element(rest, SEQUENCE)?;
    let (from, rest) = time(times)?;
    let (to, _) = time(rest)?;
    Some((from, to))
}

/// Reads a UTCTime or a GeneralizedTime, in the only form that certificates have (RFC 5280, section 4.1.2.5).
fn time(der: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    const UTC_TIME: u8 = 0x17;
    let (content, rest) = any(der)?;
    let text = std::str::from_utf8(content).ok()?;
    let text = match der.first() {
        // Two digits of the year: until 2049.
        Some(&UTC_TIME) => format!("{}{text}", if text.get(..2)?.parse::<u8>().ok()? >= 50 { "19" } else { "20" }),
        _ => text.to_owned(),
    };
    let at = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((at.and_utc(), rest))
}

fn bits(der: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(der, BIT_STRING)?;
    // The first byte is the number of unused bits.
    content.strip_prefix(&[0])
}

/// Returns the content of the first element, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    if der.first() == Some(&tag) { any(der) } else { None }
}

fn any(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.split_at_checked(length)
}
