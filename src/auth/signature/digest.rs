//! Hash functions, and digests in hexadecimal digits.

use serde::Deserialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// The hash function (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA1: broken for other uses, but not for this one (RFC 6194, section 3.3).
    Sha1,
    /// HMAC-SHA256.
    #[default]
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

impl Algorithm {
    /// Returns the number of bytes of a signature.
    pub(in crate::auth) fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// Returns the digest of these parts.
pub(in crate::auth) fn digest(algorithm: Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().fold(D::new(), |digest, it| digest.chain_update(it)).finalize().to_vec()
    }
    match algorithm {
        Algorithm::Sha1 => of::<Sha1>(parts),
        Algorithm::Sha256 => of::<Sha256>(parts),
        Algorithm::Sha512 => of::<Sha512>(parts),
    }
}

/// Returns bytes in hexadecimal digits.
pub(in crate::auth) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|it| [DIGITS[usize::from(it >> 4)], DIGITS[usize::from(it & 15)]]).map(char::from).collect()
}

/// Decodes hexadecimal digits of either case.
pub(crate) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
