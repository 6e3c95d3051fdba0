//! The keys of a proof: from secrets, or fetched.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::digest::decode_hex;
use super::hmac::{Algorithm, HmacKey};
use super::jwt::JwtAlgorithm;
use super::proof::{KeyEncoding, KeyFormat, KeysFrom, Proof, ProofKind};
use super::public_key::{NamedKey, PublicKey, Signing};
use crate::model::secret::Secret;

/// A secret as a proof uses it.
#[derive(Clone)]
pub(in crate::auth) enum ProofKey {
    Hmac(HmacKey),
    Public(PublicKey),
    /// A secret that is part of the hashed text.
    Text(Secret),
    /// The hash of a static token: the comparison's time reveals neither its length nor its content.
    Token([u8; 32]),
}

impl std::fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(key)")
    }
}

/// Keys that were fetched for a delivery, by where they are from.
#[derive(Debug, Clone, Default)]
pub struct FetchedKeys(pub Vec<(Arc<KeysFrom>, Arc<[NamedKey]>)>);

impl FetchedKeys {
    pub(super) fn of(&self, from: &Arc<KeysFrom>) -> &[NamedKey] {
        self.0.iter().find(|(it, _)| it == from).map_or(&[], |(_, keys)| keys)
    }
}

impl KeyFormat {
    /// Returns the text after its prefixes; `None` if the required one is missing.
    pub(in crate::auth) fn plain<'a>(&self, secret: &'a str) -> Option<&'a str> {
        let secret = if self.encoding == KeyEncoding::Text && self.required.is_empty() && self.strip.is_empty() {
            secret
        } else {
            secret.trim()
        };
        let secret = secret.strip_prefix(self.required.as_str())?;
        Some(secret.strip_prefix(self.strip.as_str()).unwrap_or(secret))
    }

    /// Returns the bytes of a secret; `None` if the required prefix is missing.
    ///
    /// # Errors
    /// What it must be, to be shown after its name.
    pub(in crate::auth) fn bytes(&self, secret: &str) -> Option<Result<Vec<u8>, String>> {
        let plain = self.plain(secret)?;
        let bytes = match self.encoding {
            KeyEncoding::Text => Some(plain.as_bytes().to_vec()),
            KeyEncoding::Base64 => BASE64_STANDARD.decode(plain).ok(),
            KeyEncoding::Hex => decode_hex(plain),
        };
        Some(bytes.ok_or_else(|| match (self.encoding, self.strip.as_str()) {
            (KeyEncoding::Hex, _) => "must be hexadecimal digits".to_owned(),
            (_, "") => "must be base64".to_owned(),
            (_, strip) => format!("must be {strip} and base64"),
        }))
    }
}

impl Proof {
    /// Returns a secret as this proof's key; `None` if the secret is meant for another proof.
    ///
    /// # Errors
    /// What it must be, to be shown after its name; never the secret itself.
    pub(in crate::auth) fn key(&self, secret: &Secret) -> Option<Result<ProofKey, String>> {
        let hmac = |algorithm| {
            Some(self.key.bytes(secret.expose())?.and_then(|it| HmacKey::new(algorithm, &it)).map(ProofKey::Hmac))
        };
        match &self.kind {
            ProofKind::Hmac(algorithm) => hmac(*algorithm),
            ProofKind::Jwt { algorithm: JwtAlgorithm::Hs256, .. } => hmac(Algorithm::Sha256),
            ProofKind::Jwt { algorithm, .. } => self.public(algorithm.signing()?, secret),
            ProofKind::Signed(signing) => self.public(*signing, secret),
            ProofKind::Digest(_) => Some(Ok(ProofKey::Text(Secret::new(self.key.plain(secret.expose())?.to_owned())))),
            ProofKind::Token => Some(Ok(ProofKey::Token(token(self.key.plain(secret.expose())?)))),
        }
    }

    fn public(&self, signing: Signing, secret: &Secret) -> Option<Result<ProofKey, String>> {
        if self.keys_from.is_some() {
            return None;
        }
        let text = self.key.plain(secret.expose())?;
        let key = PublicKey::parse(signing.kind(), text, self.key.encoding == KeyEncoding::Hex);
        let with_prefix = |cause: String| match (self.key.required.as_str(), cause.strip_prefix("must be ")) {
            ("", _) | (_, None) => cause,
            (prefix, Some(what)) => format!("must be {prefix} and {what}"),
        };
        Some(key.map(ProofKey::Public).map_err(with_prefix))
    }
}

/// Returns the hash by which a token is compared.
pub(super) fn token(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
