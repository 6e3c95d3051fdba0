//! Twilio signs the URL that it calls, together with the form's fields, or with the body's SHA-256 in the query
//! (<https://www.twilio.com/docs/usage/webhooks/webhooks-security>).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::delivery::{Delivery, Mismatch, decode_hex};
use super::hmac::{Algorithm, HmacKey, SignatureEncoding};

pub(super) const HEADER: &str = "x-twilio-signature";
/// Header that declares that an API key of the account signs, and the hash; the auth token signs with SHA-1.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

#[derive(Debug, Clone)]
pub(super) struct Twilio {
    /// The address that Twilio calls, without the query.
    pub(super) url: String,
}

/// Returns the secret as a key of both hashes.
pub(super) fn keys(secret: &str) -> Result<Vec<HmacKey>, String> {
    [Algorithm::Sha1, Algorithm::Sha256].into_iter().map(|it| HmacKey::new(it, secret.trim().as_bytes())).collect()
}

/// Maximum number of fields of a form, which are sorted before they are hashed. Twilio sends a few dozen.
const FIELDS_MAX: usize = 1000;

/// The claim of a delivery's headers and URL.
#[derive(Debug)]
pub(super) struct TwilioClaim {
    /// One signature; a list, because that is what keys compare with.
    signature: Vec<Vec<u8>>,
    sha256: bool,
    /// The URL with its query.
    url: String,
    /// The SHA-256 of the body from the query, if that replaces the form.
    body_hash: Option<String>,
}

impl Twilio {
    /// Reads the claim, without hashing.
    pub(super) fn claim(&self, delivery: &Delivery<'_>) -> Result<TwilioClaim, Mismatch> {
        let value = delivery.header(HEADER)?;
        let sha256 = match delivery.header(SETTINGS) {
            Ok(it) => it.contains("algorithm=HMAC_SHA256"),
            Err(Mismatch::Missing { .. }) => false,
            Err(repeated) => return Err(repeated),
        };
        let algorithm = if sha256 { Algorithm::Sha256 } else { Algorithm::Sha1 };
        let fits = value.len() == SignatureEncoding::Base64.characters(algorithm.bytes());
        let signature = Some(value).filter(|_| fits).and_then(|it| BASE64_STANDARD.decode(it).ok());
        let signature = signature.ok_or_else(|| Mismatch::malformed(HEADER, "it must be a signature in base64"))?;
        let mut url = self.url.clone();
        if !delivery.query.is_empty() {
            url.push('?');
            url.push_str(delivery.query);
        }
        let sent = form_urlencoded::parse(delivery.query.as_bytes()).find(|(name, _)| name == "bodySHA256");
        let body_hash = sent.map(|(_, sent)| sent.into_owned());
        Ok(TwilioClaim { signature: vec![signature], sha256, url, body_hash })
    }

    /// Checks the claim with one HMAC per secret.
    pub(super) fn check(&self, claim: &TwilioClaim, body: &[u8], keys: &[HmacKey]) -> Result<(), Mismatch> {
        let fields = if claim.body_hash.is_some() { String::new() } else { form(body)? };
        let usable =
            |key: &&HmacKey| matches!((key, claim.sha256), (HmacKey::Sha1(_), false) | (HmacKey::Sha256(_), true));
        let pieces = || [claim.url.as_bytes(), fields.as_bytes()].into_iter();
        if !keys.iter().filter(usable).any(|key| key.fits_one(pieces(), &claim.signature)) {
            return Err(Mismatch::Wrong { header: HEADER.into(), secrets: keys.len() / 2 });
        }
        // The URL is signed, and contains the hash of the body.
        let vouched = |sent: &String| decode_hex(sent).is_some_and(|it| it.ct_eq(&Sha256::digest(body)[..]).into());
        if claim.body_hash.as_ref().is_none_or(vouched) { Ok(()) } else { Err(Mismatch::BodyHash) }
    }
}

/// Returns a form's fields in the order in which they are signed.
fn form(body: &[u8]) -> Result<String, Mismatch> {
    if memchr::memchr_iter(b'&', body).count() >= FIELDS_MAX {
        return Err(Mismatch::Fields { most: FIELDS_MAX });
    }
    let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
    fields.sort();
    // Equal fields are signed only once.
    fields.dedup();
    Ok(fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect())
}
