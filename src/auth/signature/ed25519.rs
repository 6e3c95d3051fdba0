//! Standard Webhooks' asymmetric signatures, `v1a`: ed25519 (RFC 8032) over the same text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

/// How a public key begins.
pub(super) const PREFIX: &str = "whpk_";
/// How such a signature begins in the header.
pub(super) const VERSION: &str = "v1a";

/// A signature's length.
pub(super) const BYTES: usize = 64;

/// A sender's public key.
#[derive(Debug, Clone)]
pub(super) struct PublicKey(VerifyingKey);

impl PublicKey {
    /// What follows `whpk_`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = || "must be whpk_ and the base64 of 32 bytes, which are a public key".to_owned();
        let bytes: [u8; 32] =
            BASE64_STANDARD.decode(text).ok().and_then(|it| it.try_into().ok()).ok_or_else(refused)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| refused())?;
        // Of a point of small order, anybody can make signatures.
        if key.is_weak() {
            Err("is a point of small order, which cannot be a sender's public key".into())
        } else {
            Ok(Self(key))
        }
    }

    /// Costs a hash of the message, and about 50 µs.
    pub(super) fn fits(&self, message: &[u8], signature: &[u8; BYTES]) -> bool {
        #[cfg(test)]
        super::tests::COMPUTED.with(|it| it.set(it.get() + 1));
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}
