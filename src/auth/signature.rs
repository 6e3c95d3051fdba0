//! Signatures over the raw body: HMAC-SHA256 (RFC 2104, FIPS 180-4) with the sender's and our shared secret.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::AuthError;
use crate::config::Secret;

/// How the sender writes the signature's 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Hexadecimal, in either case.
    #[default]
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
}

/// The generic scheme: one header holds the HMAC-SHA256 of the body.
#[derive(Debug, Clone)]
pub struct HmacSha256 {
    /// The header's name, lower case.
    pub header: String,
    /// What stands before the signature in the header, such as `sha256=`.
    pub prefix: String,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The shared secret; none where the server has not been given it.
    pub secret: Option<Secret>,
}

impl HmacSha256 {
    /// Nothing, where the signature fits the body. The comparison takes the same time wherever they differ.
    ///
    /// # Errors
    /// [`AuthError::NotConfigured`] without a secret, else [`AuthError::Signature`].
    pub fn check(&self, header: Option<&str>, body: &[u8]) -> Result<(), AuthError> {
        let secret = self.secret.as_ref().ok_or(AuthError::NotConfigured)?;
        let sent = header.and_then(|value| value.trim().strip_prefix(&*self.prefix)).ok_or(AuthError::Signature)?;
        let sent = self.decode(sent).ok_or(AuthError::Signature)?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|_| AuthError::NotConfigured)?;
        mac.update(body);
        mac.verify_slice(&sent).map_err(|_| AuthError::Signature)
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Base64 => BASE64_STANDARD.decode(text).ok(),
            Encoding::Hex => decode_hex(text),
        }
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_rfc_4231_vector_is_accepted_in_hex_and_base64_and_nothing_else_is() {
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let base64 = BASE64_STANDARD.encode(decode_hex(hex).unwrap());
        let mut scheme = HmacSha256 {
            header: "x-signature".into(),
            prefix: "sha256=".into(),
            encoding: Encoding::Hex,
            secret: Some(Secret::new("Jefe".into())),
        };
        let body = b"what do ya want for nothing?";
        assert_eq!(scheme.check(Some(&format!("sha256={hex}")), body), Ok(()));
        assert_eq!(scheme.check(Some(&format!("sha256={}", hex.to_uppercase())), body), Ok(()));
        for wrong in [
            hex.to_owned(),
            format!("sha256={}", &hex[..62]),
            format!("sha256=0{}", &hex[1..]),
            String::new(),
            "sha256=é".into(),
        ] {
            assert_eq!(scheme.check(Some(&wrong), body), Err(AuthError::Signature), "{wrong}");
        }
        assert_eq!(scheme.check(Some(&format!("sha256={hex}")), b"other"), Err(AuthError::Signature));
        assert_eq!(scheme.check(None, body), Err(AuthError::Signature));
        scheme.encoding = Encoding::Base64;
        assert_eq!(scheme.check(Some(&format!("sha256={base64}")), body), Ok(()));
        scheme.secret = None;
        assert_eq!(scheme.check(Some(&format!("sha256={base64}")), body), Err(AuthError::NotConfigured));
    }
}
