//! Twilio signs the URL that it calls, with the form's fields behind it, or with the body's SHA-256 in its query
//! (<https://www.twilio.com/docs/usage/webhooks/webhooks-security>).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::hmac::{Algorithm, Key};
use super::{Delivery, Mismatch, decode_hex};

pub(super) const HEADER: &str = "x-twilio-signature";
/// Says that a key of the account's signs, and with which hash; the auth token signs with SHA-1.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

#[derive(Debug, Clone)]
pub(super) struct Twilio {
    /// The address that Twilio was given, without the query.
    pub(super) url: String,
}

/// The secret as a key of either hash.
pub(super) fn keys(secret: &str) -> Result<Vec<Key>, String> {
    [Algorithm::Sha1, Algorithm::Sha256].into_iter().map(|it| Key::new(it, secret.trim().as_bytes())).collect()
}

impl Twilio {
    pub(super) fn check(&self, delivery: &Delivery<'_>, keys: &[Key]) -> Result<(), Mismatch> {
        let value = delivery.header(HEADER)?;
        let refused = |cause| Mismatch::malformed(HEADER, cause);
        let signature = BASE64_STANDARD.decode(value).map_err(|_| refused("it should be base64"))?;
        let sha256 = delivery.header(SETTINGS).is_ok_and(|it| it.contains("algorithm=HMAC_SHA256"));
        let text = self.signed(delivery)?;
        let usable = |key: &&Key| matches!((key, sha256), (Key::Sha1(_), false) | (Key::Sha256(_), true));
        let fits = |key: &Key| key.fits(std::iter::once(text.as_bytes()), &signature);
        if keys.iter().filter(usable).any(fits) {
            return Ok(());
        }
        Err(Mismatch::Wrong { header: HEADER.into(), secrets: keys.len() / 2 })
    }

    fn signed(&self, delivery: &Delivery<'_>) -> Result<String, Mismatch> {
        let mut text = self.url.clone();
        if !delivery.query.is_empty() {
            text.push('?');
            text.push_str(delivery.query);
        }
        let sent = form_urlencoded::parse(delivery.query.as_bytes()).find(|(name, _)| name == "bodySHA256");
        if let Some((_, sent)) = sent {
            // The URL is signed, and it vouches for the body.
            let right = decode_hex(&sent).is_some_and(|it| it.ct_eq(&Sha256::digest(delivery.body)[..]).into());
            return if right { Ok(text) } else { Err(Mismatch::BodyHash) };
        }
        let mut fields: Vec<_> = form_urlencoded::parse(delivery.body).collect();
        fields.sort();
        // Of equal fields one is signed.
        fields.dedup();
        fields.iter().for_each(|(name, value)| text.extend([name.as_ref(), value.as_ref()]));
        Ok(text)
    }
}
