//! HMAC (RFC 2104) with three hash functions.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

pub use super::digest::Algorithm;
use super::digest::{decode_hex, hex};

/// Encoding of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// Hexadecimal, in upper or lower case.
    #[default]
    Hex,
    /// Base64 with padding (RFC 4648, section 4).
    Base64,
    /// Base64 for URLs (RFC 4648, section 5), with or without padding.
    #[serde(rename = "base64url")]
    Base64Url,
}

impl SignatureEncoding {
    /// Returns whether a text of this length may be a signature with this many bytes.
    pub(super) fn fits(self, characters: usize, bytes: usize) -> bool {
        match self {
            Self::Hex => characters == 2 * bytes,
            Self::Base64 => characters == bytes.div_ceil(3) * 4,
            Self::Base64Url => characters == (bytes * 4).div_ceil(3) || characters == bytes.div_ceil(3) * 4,
        }
    }

    /// Decodes a signature.
    pub(in crate::auth) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => decode_hex(text),
            Self::Base64 => BASE64_STANDARD.decode(text).ok(),
            Self::Base64Url => BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok(),
        }
    }

    /// Encodes a signature.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 => BASE64_STANDARD.encode(bytes),
            Self::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(bytes),
        }
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hex => "hexadecimal digits",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        }
    }
}

/// A secret as an HMAC key.
#[derive(Clone)]
pub(in crate::auth) enum HmacKey {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl HmacKey {
    pub(in crate::auth) fn new(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        let refused = |_| "cannot be a key".to_owned();
        match algorithm {
            Algorithm::Sha1 => Hmac::new_from_slice(secret).map(Self::Sha1).map_err(refused),
            Algorithm::Sha256 => Hmac::new_from_slice(secret).map(Self::Sha256).map_err(refused),
            Algorithm::Sha512 => Hmac::new_from_slice(secret).map(Self::Sha512).map_err(refused),
        }
    }

    /// Returns the signature of the pieces.
    pub(in crate::auth) fn sign<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        match self {
            Self::Sha1(mac) => signed(mac, pieces),
            Self::Sha256(mac) => signed(mac, pieces),
            Self::Sha512(mac) => signed(mac, pieces),
        }
    }

    /// Returns whether one of the candidates is the signature of the pieces. The signature is computed only once,
    /// and not at all without candidates; comparisons take constant time.
    pub(super) fn fits_one<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>, candidates: &[Vec<u8>]) -> bool {
        if candidates.is_empty() {
            return false;
        }
        #[cfg(test)]
        super::tests::COMPUTED.with(|it| it.set(it.get() + 1));
        let right = self.sign(pieces);
        candidates.iter().fold(false, |fits, it| fits | bool::from(it.ct_eq(&right)))
    }
}

fn signed<'a, M: hmac::Mac + Clone>(mac: &M, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut mac = mac.clone();
    pieces.for_each(|it| mac.update(it));
    mac.finalize().into_bytes().to_vec()
}
