//! Standard Webhooks' asymmetric signatures, `v1a`: ed25519 (RFC 8032) over the same text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

/// How a public key begins.
pub(super) const PREFIX: &str = "whpk_";
/// How such a signature begins in the header.
pub(super) const VERSION: &str = "v1a";

/// A sender's public key.
#[derive(Debug, Clone)]
pub(super) struct PublicKey(VerifyingKey);

impl PublicKey {
    /// What follows `whpk_`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = || "a public key has to be whpk_ and the base64 of 32 bytes".to_owned();
        let bytes: [u8; 32] =
            BASE64_STANDARD.decode(text).ok().and_then(|it| it.try_into().ok()).ok_or_else(refused)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| refused())
    }

    pub(super) fn fits(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|it| self.0.verify_strict(message, &it).is_ok())
    }
}
