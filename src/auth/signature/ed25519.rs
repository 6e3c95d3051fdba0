//! Asymmetric signatures of Standard Webhooks, `v1a`: ed25519 (RFC 8032) over the same text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

/// Prefix of a public key.
pub(super) const PREFIX: &str = "whpk_";
/// Prefix of such a signature in the header.
pub(super) const VERSION: &str = "v1a";

/// Length of a signature, in bytes.
pub(super) const BYTES: usize = 64;

/// A sender's public key.
#[derive(Debug, Clone)]
pub(super) struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Parses the text after `whpk_`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = || "must be whpk_ and a public key of 32 bytes in base64".to_owned();
        let bytes: [u8; 32] =
            BASE64_STANDARD.decode(text).ok().and_then(|it| it.try_into().ok()).ok_or_else(refused)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| refused())?;
        // Anyone can create valid signatures for a point of small order.
        if key.is_weak() {
            Err("is a point of small order, which is not a valid public key".into())
        } else {
            Ok(Self(key))
        }
    }

    /// Verifies a signature. Costs a hash of the message and about 50 µs.
    pub(super) fn fits(&self, message: &[u8], signature: &[u8; BYTES]) -> bool {
        #[cfg(test)]
        super::tests::COMPUTED.with(|it| it.set(it.get() + 1));
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}
