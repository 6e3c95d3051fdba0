//! Verifies the signature of a delivery.

use chrono::TimeDelta;

use super::delivery::{Delivery, Mismatch, TOLERANCE};
use super::ed25519::PublicKey;
use super::hmac::HmacKey;
use super::presets::Preset;
use super::rule::SignatureRule;
use super::twilio::Twilio;
use super::{ed25519, rule, twilio};
use crate::model::secret::Secret;

/// Cost of an ed25519 verification apart from hashing the body, expressed as bytes to hash: about 50 µs.
const VERIFICATION_BYTES: usize = 32 * 1024;

/// The signatures in a delivery's headers; checked against the body by [`Signature::check`].
#[derive(Debug)]
pub struct SignatureClaim(ClaimKind);

#[derive(Debug)]
enum ClaimKind {
    Hmac(rule::HmacClaim),
    Twilio(twilio::TwilioClaim),
}

/// A scheme with its secrets.
#[derive(Debug, Clone)]
pub struct Signature {
    how: How,
    tolerance: TimeDelta,
    greets: bool,
    keys: Vec<HmacKey>,
    public_keys: Vec<PublicKey>,
}

#[derive(Debug, Clone)]
enum How {
    Hmac(SignatureRule),
    Twilio(Twilio),
}

impl Signature {
    /// Creates a provider's scheme. Without secrets, no delivery passes.
    ///
    /// # Errors
    /// What is wrong with a secret; never the secret itself.
    pub fn preset(preset: Preset, secrets: &[Secret]) -> Result<Self, String> {
        Ok(Self { greets: preset == Preset::Slack, ..Self::hmac(preset.rule(), secrets)? })
    }

    /// Creates a scheme with an HMAC over the body.
    ///
    /// # Errors
    /// What is wrong with a secret; never the secret itself.
    pub fn hmac(rule: SignatureRule, secrets: &[Secret]) -> Result<Self, String> {
        let (mut keys, mut public_keys) = (Vec::new(), Vec::new());
        for secret in secrets {
            match rule.asymmetric().then(|| secret.expose().trim().strip_prefix(ed25519::PREFIX)).flatten() {
                Some(public) => public_keys.push(PublicKey::parse(public)?),
                None => keys.push(rule.key(secret.expose())?),
            }
        }
        Ok(Self { how: How::Hmac(rule), tolerance: TOLERANCE, greets: false, keys, public_keys })
    }

    /// Creates Twilio's scheme. `url` is the complete address that Twilio calls, without its query.
    ///
    /// # Errors
    /// Never, for any possible secret.
    pub fn twilio(url: String, secrets: &[Secret]) -> Result<Self, String> {
        let keys = secrets.iter().map(|it| twilio::keys(it.expose())).collect::<Result<Vec<_>, _>>()?;
        let (how, keys) = (How::Twilio(Twilio { url }), keys.concat());
        Ok(Self { how, tolerance: TOLERANCE, greets: false, keys, public_keys: Vec::new() })
    }

    /// Returns this scheme with another tolerance.
    #[must_use]
    pub fn within(self, tolerance: TimeDelta) -> Self {
        Self { tolerance, ..self }
    }

    /// Returns the name of the header with the signature, in lower case.
    #[must_use]
    pub fn header(&self) -> &str {
        match &self.how {
            How::Hmac(rule) => &rule.header,
            How::Twilio(_) => twilio::HEADER,
        }
    }

    /// Returns whether there is a secret.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.keys.is_empty() || !self.public_keys.is_empty()
    }

    /// Reads the signatures from the delivery's headers. Costs no more than parsing the headers.
    ///
    /// # Errors
    /// What is missing or wrong, before the body has been read.
    pub fn claim(&self, delivery: &Delivery<'_>) -> Result<SignatureClaim, Mismatch> {
        match &self.how {
            How::Hmac(rule) => rule
                .claim(delivery, self.tolerance, self.public_keys.len())
                .map(|it| SignatureClaim(ClaimKind::Hmac(it))),
            How::Twilio(twilio) => twilio.claim(delivery).map(|it| SignatureClaim(ClaimKind::Twilio(it))),
        }
    }

    /// Returns how many bytes are hashed to check this claim; the additional cost of ed25519 verifications counts
    /// as bytes.
    #[must_use]
    pub fn cost(&self, claim: &SignatureClaim, body: usize) -> usize {
        let (macs, verifications) = match &claim.0 {
            ClaimKind::Hmac(claim) if claim.macs.is_empty() => (0, claim.public.len() * self.public_keys.len()),
            ClaimKind::Hmac(claim) => (self.keys.len(), claim.public.len() * self.public_keys.len()),
            // Each secret has two keys, one per hash. The form is parsed and sorted.
            ClaimKind::Twilio(_) => (self.keys.len() / 2 + 4, 0),
        };
        body.saturating_mul(macs + verifications) + verifications * VERIFICATION_BYTES
    }

    /// Checks that one of the claimed signatures was made over this body with one of the secrets. Computes one HMAC
    /// per secret, however many signatures are claimed; comparisons take constant time.
    ///
    /// # Errors
    /// Which check failed.
    pub fn check(&self, claim: &SignatureClaim, body: &[u8]) -> Result<(), Mismatch> {
        match (&self.how, &claim.0) {
            (How::Hmac(rule), ClaimKind::Hmac(claim)) if rule.fits(claim, body, &self.keys, &self.public_keys) => {
                Ok(())
            }
            (How::Twilio(twilio), ClaimKind::Twilio(claim)) => twilio.check(claim, body, &self.keys),
            _ => {
                let secrets = self.keys.len() + self.public_keys.len();
                Err(Mismatch::Wrong { header: self.header().to_owned(), secrets })
            }
        }
    }

    /// Returns the challenge of Slack's `url_verification`, which Slack expects in the response
    /// (<https://docs.slack.dev/reference/events/url_verification>).
    #[must_use]
    pub fn challenge(&self, body: &[u8]) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct UrlVerification {
            r#type: String,
            challenge: String,
        }
        let asked: UrlVerification = self.greets.then(|| serde_json::from_slice(body).ok()).flatten()?;
        (asked.r#type == "url_verification").then_some(asked.challenge)
    }
}
