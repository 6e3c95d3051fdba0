//! Public keys: ed25519 (RFC 8032), ECDSA on P-256 (FIPS 186-5), and RSA with PKCS #1 v1.5 (RFC 8017).

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::signature as ring_signature;
use serde::Deserialize;

use super::der;
use super::digest::decode_hex;
use super::ed25519::Ed25519Key;
use super::hmac::Algorithm;

/// A key that signatures are verified with. A verification costs a hash of the message and 20 to 100 µs.
#[derive(Debug, Clone)]
pub enum PublicKey {
    /// ed25519.
    Ed25519(Ed25519Key),
    /// ECDSA with SHA-256 on P-256: the uncompressed point.
    Ecdsa(Vec<u8>),
    /// RSA: modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
}

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum KeyKind {
    Ed25519,
    Ecdsa,
    Rsa,
}

/// How a signature is made and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum Signing {
    Ed25519,
    /// ASN.1, as OpenSSL writes it.
    EcdsaDer,
    /// r and s, 32 bytes each (RFC 7518, section 3.4).
    EcdsaRaw,
    Rsa(Algorithm),
}

impl Signing {
    pub(in crate::auth) fn kind(self) -> KeyKind {
        match self {
            Self::Ed25519 => KeyKind::Ed25519,
            Self::EcdsaDer | Self::EcdsaRaw => KeyKind::Ecdsa,
            Self::Rsa(_) => KeyKind::Rsa,
        }
    }

    /// Returns whether a signature of this many bytes is possible.
    pub(super) fn takes(self, bytes: usize) -> bool {
        match self {
            Self::Ed25519 | Self::EcdsaRaw => bytes == 64,
            Self::EcdsaDer => (8..=72).contains(&bytes),
            // Keys of 2,048 to 8,192 bits.
            Self::Rsa(_) => (256..=1024).contains(&bytes),
        }
    }
}

impl PublicKey {
    /// Reads a key: raw or DER (SubjectPublicKeyInfo, RFC 5280) bytes, or a PEM of a key or certificate.
    ///
    /// # Errors
    /// What it must be, to be shown after its name.
    pub(in crate::auth) fn parse(kind: KeyKind, text: &str, is_hex: bool) -> Result<Self, String> {
        if let Some(der) = der::pem(text) {
            return Self::from_der(kind, &der?);
        }
        let plain: String = text.split_ascii_whitespace().collect();
        let bytes = if is_hex { decode_hex(&plain) } else { BASE64_STANDARD.decode(&plain).ok() };
        let bytes = bytes.ok_or_else(|| Self::wanted(kind))?;
        match kind {
            KeyKind::Ed25519 if bytes.len() == 32 => Ed25519Key::new(&bytes).map(Self::Ed25519),
            KeyKind::Ecdsa if bytes.len() == 65 => Ok(Self::Ecdsa(bytes)),
            _ => Self::from_der(kind, &bytes),
        }
    }

    /// Reads a SubjectPublicKeyInfo or a certificate.
    ///
    /// # Errors
    /// What it must be, to be shown after its name.
    pub(in crate::auth) fn from_der(kind: KeyKind, der: &[u8]) -> Result<Self, String> {
        let key = der::public_key(der).ok_or_else(|| Self::wanted(kind))?;
        match kind {
            KeyKind::Ed25519 => Ed25519Key::new(key).map(Self::Ed25519),
            KeyKind::Ecdsa if key.len() == 65 && key[0] == 4 => Ok(Self::Ecdsa(key.to_vec())),
            KeyKind::Ecdsa => Err(Self::wanted(kind)),
            KeyKind::Rsa => {
                let (modulus, exponent) = der::rsa(key).ok_or_else(|| Self::wanted(kind))?;
                Ok(Self::Rsa(modulus.to_vec(), exponent.to_vec()))
            }
        }
    }

    fn wanted(kind: KeyKind) -> String {
        match kind {
            KeyKind::Ed25519 => "must be an ed25519 public key: 32 bytes in base64 or hexadecimal digits, or a PEM",
            KeyKind::Ecdsa => "must be a public key on P-256: a PEM, or its DER in base64",
            KeyKind::Rsa => "must be an RSA public key: a PEM, or its DER in base64",
        }
        .to_owned()
    }

    /// Returns whether this is the signature of the message.
    pub(in crate::auth) fn fits(&self, signing: Signing, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(test)]
        super::tests::COMPUTED.with(|it| it.set(it.get() + 1));
        match (self, signing) {
            (Self::Ed25519(key), Signing::Ed25519) => key.fits(message, signature),
            (Self::Ecdsa(point), Signing::EcdsaDer) => {
                verifies(&ring_signature::ECDSA_P256_SHA256_ASN1, point, message, signature)
            }
            (Self::Ecdsa(point), Signing::EcdsaRaw) => {
                verifies(&ring_signature::ECDSA_P256_SHA256_FIXED, point, message, signature)
            }
            (Self::Rsa(n, e), Signing::Rsa(algorithm)) => {
                let how = match algorithm {
                    Algorithm::Sha1 => &ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
                    Algorithm::Sha256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Sha512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
                };
                ring_signature::RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn verifies(
    how: &'static ring_signature::EcdsaVerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    ring_signature::UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
}

/// A JSON Web Key (RFC 7517) of a kind that is supported.
#[derive(Debug, Deserialize)]
struct Jwk {
    kid: Option<String>,
    kty: String,
    crv: Option<String>,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// A public key, and the id that tokens name it by.
#[derive(Debug, Clone)]
pub struct NamedKey {
    /// `kid`.
    pub id: Option<String>,
    /// The key.
    pub key: PublicKey,
}

/// Maximum number of keys in a set.
const KEYS_MAX: usize = 64;

impl NamedKey {
    /// Reads a JSON Web Key Set, or a single key. Keys of other kinds are skipped.
    ///
    /// # Errors
    /// It is neither, or contains no usable key.
    pub fn set(json: &serde_json::Value) -> Result<Vec<Self>, String> {
        let all = match json.get("keys").and_then(serde_json::Value::as_array) {
            Some(keys) => keys.as_slice(),
            None => std::slice::from_ref(json),
        };
        let keys: Vec<_> = all.iter().take(KEYS_MAX).filter_map(Self::one).collect();
        if keys.is_empty() { Err("contains no RSA, P-256 or ed25519 key".into()) } else { Ok(keys) }
    }

    /// Reads the key of a PEM certificate that is valid at this time. Its issuer is not checked: it comes over TLS from a host
    /// that the sender's file names.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn certificate(text: &str, at: DateTime<Utc>) -> Result<Vec<Self>, String> {
        let der = der::pem(text).ok_or("the certificate is not a PEM")??;
        let (from, to) = der::validity(&der).ok_or("the certificate cannot be read")?;
        if at < from || at > to {
            return Err("the certificate is not valid at this time".into());
        }
        let key = PublicKey::from_der(KeyKind::Rsa, &der).or_else(|_| PublicKey::from_der(KeyKind::Ecdsa, &der));
        Ok(vec![Self { id: None, key: key.map_err(|_| "the certificate has no RSA or P-256 key")? }])
    }

    fn one(json: &serde_json::Value) -> Option<Self> {
        let jwk = Jwk::deserialize(json).ok()?;
        let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => PublicKey::Rsa(unsigned(bytes(&jwk.n)?), unsigned(bytes(&jwk.e)?)),
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                PublicKey::Ecdsa([vec![4], x, y].concat()).checked_point()?
            }
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(Ed25519Key::new(&bytes(&jwk.x)?).ok()?),
            _ => return None,
        };
        Some(Self { id: jwk.kid, key })
    }
}

impl PublicKey {
    fn checked_point(self) -> Option<Self> {
        Some(self).filter(|it| matches!(it, Self::Ecdsa(point) if point.len() == 65))
    }
}

/// Removes leading zeros, as ring requires.
fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|it| *it == 0).collect()
}
