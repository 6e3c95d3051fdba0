//! ed25519 (RFC 8032).

use ed25519_dalek::{Signature, VerifyingKey};

/// A sender's public key.
#[derive(Debug, Clone)]
pub struct Ed25519Key(VerifyingKey);

impl Ed25519Key {
    /// Reads a key of 32 bytes.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let refused = || "must be an ed25519 public key of 32 bytes".to_owned();
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| refused())?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| refused())?;
        // Anyone can create valid signatures for a point of small order.
        if key.is_weak() {
            Err("is a point of small order, which is not a valid public key".into())
        } else {
            Ok(Self(key))
        }
    }

    /// Verifies a signature. Costs a hash of the message and about 50 µs.
    pub(super) fn fits(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|it| self.0.verify_strict(message, &it).is_ok())
    }
}
