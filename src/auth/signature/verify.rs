//! Verifies the signature of a delivery.

use chrono::{DateTime, TimeDelta, Utc};
use hyper::header::HeaderMap;

use super::ed25519::PublicKey;
use super::hmac::Key;
use super::presets::Preset;
use super::rule::Rule;
use super::twilio::Twilio;
use super::{ed25519, rule, twilio};
use crate::model::secret::Secret;

/// Maximum difference between a sender's clock and ours, in both directions: as recommended by Stripe, Slack and
/// Standard Webhooks.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A delivery before its body has been read.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Headers of the delivery.
    pub headers: &'a HeaderMap,
    /// Query of the URL, as sent.
    pub query: &'a str,
    /// When its headers were received.
    pub received_at: DateTime<Utc>,
}

impl<'a> Delivery<'a> {
    /// Returns a header's text, trimmed. It must occur once: if there were two, a proxy might use the other one.
    pub(super) fn header(&self, name: &str) -> Result<&'a str, Mismatch> {
        let mut values = self.headers.get_all(name).into_iter();
        let value = values.next().ok_or_else(|| Mismatch::Missing { header: name.to_owned() })?;
        if values.next().is_some() {
            return Err(Mismatch::Repeated { header: name.to_owned() });
        }
        value.to_str().map(str::trim).map_err(|_| Mismatch::malformed(name, "it is not ASCII"))
    }
}

/// Which check failed: for the admin, in the list of events. The sender learns only that the signature is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A header is missing.
    #[error("the header {header} is missing")]
    Missing {
        /// Name of the header.
        header: String,
    },
    /// A header occurs more than once.
    #[error("the header {header} was sent more than once")]
    Repeated {
        /// Name of the header.
        header: String,
    },
    /// There are more signatures than are checked.
    #[error("the header {header} contains more than {most} signatures")]
    TooMany {
        /// Name of the header.
        header: String,
        /// Maximum number of signatures.
        most: usize,
    },
    /// Twilio: the form has too many fields to sort.
    #[error("the form has more than {most} fields")]
    Fields {
        /// Maximum number of fields.
        most: usize,
    },
    /// A header has an invalid value.
    #[error("the header {header} cannot be read: {cause}")]
    Malformed {
        /// Name of the header.
        header: String,
        /// What is wrong with the value.
        cause: &'static str,
    },
    /// It was signed too long ago, or in the future.
    #[error(
        "it was signed {seconds} s {when} it was received, and {allowed} s are allowed; check the clocks, and whether it was sent again"
    )]
    Time {
        /// Time difference, in seconds.
        seconds: u64,
        /// `before` or `after`.
        when: &'static str,
        /// Maximum time difference, in seconds.
        allowed: i64,
    },
    /// The signature does not match.
    #[error(
        "no signature in {header} matches the body with any of the {secrets} secrets; check that the sender uses the same secret, and that no proxy changes the body"
    )]
    Wrong {
        /// The header with the signature.
        header: String,
        /// Number of secrets that were tried.
        secrets: usize,
    },
    /// Twilio: the URL's `bodySHA256` does not match the body.
    #[error("bodySHA256 in the URL does not match the body")]
    BodyHash,
}

impl Mismatch {
    pub(super) fn malformed(header: &str, cause: &'static str) -> Self {
        Self::Malformed { header: header.to_owned(), cause }
    }
}

/// Cost of an ed25519 verification apart from hashing the body, expressed as bytes to hash: about 50 µs.
const VERIFICATION_BYTES: usize = 32 * 1024;

/// The signatures in a delivery's headers; checked against the body by [`Signature::check`].
#[derive(Debug)]
pub struct Claim(Claimed);

#[derive(Debug)]
enum Claimed {
    Hmac(rule::Claim),
    Twilio(twilio::Claim),
}

/// A scheme with its secrets.
#[derive(Debug, Clone)]
pub struct Signature {
    how: How,
    tolerance: TimeDelta,
    greets: bool,
    keys: Vec<Key>,
    public_keys: Vec<PublicKey>,
}

#[derive(Debug, Clone)]
enum How {
    Hmac(Rule),
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
    pub fn hmac(rule: Rule, secrets: &[Secret]) -> Result<Self, String> {
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
    pub fn claim(&self, delivery: &Delivery<'_>) -> Result<Claim, Mismatch> {
        match &self.how {
            How::Hmac(rule) => {
                rule.claim(delivery, self.tolerance, self.public_keys.len()).map(|it| Claim(Claimed::Hmac(it)))
            }
            How::Twilio(twilio) => twilio.claim(delivery).map(|it| Claim(Claimed::Twilio(it))),
        }
    }

    /// Returns how many bytes are hashed to check this claim; the additional cost of ed25519 verifications counts
    /// as bytes.
    #[must_use]
    pub fn cost(&self, claim: &Claim, body: usize) -> usize {
        let (macs, verifications) = match &claim.0 {
            Claimed::Hmac(claim) if claim.macs.is_empty() => (0, claim.public.len() * self.public_keys.len()),
            Claimed::Hmac(claim) => (self.keys.len(), claim.public.len() * self.public_keys.len()),
            // Each secret has two keys, one per hash. The form is parsed and sorted.
            Claimed::Twilio(_) => (self.keys.len() / 2 + 4, 0),
        };
        body.saturating_mul(macs + verifications) + verifications * VERIFICATION_BYTES
    }

    /// Checks that one of the claimed signatures was made over this body with one of the secrets. Computes one HMAC
    /// per secret, however many signatures are claimed; comparisons take constant time.
    ///
    /// # Errors
    /// Which check failed.
    pub fn check(&self, claim: &Claim, body: &[u8]) -> Result<(), Mismatch> {
        match (&self.how, &claim.0) {
            (How::Hmac(rule), Claimed::Hmac(claim)) if rule.fits(claim, body, &self.keys, &self.public_keys) => Ok(()),
            (How::Twilio(twilio), Claimed::Twilio(claim)) => twilio.check(claim, body, &self.keys),
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
        struct Asked {
            r#type: String,
            challenge: String,
        }
        let asked: Asked = self.greets.then(|| serde_json::from_slice(body).ok()).flatten()?;
        (asked.r#type == "url_verification").then_some(asked.challenge)
    }
}

/// Decodes hexadecimal digits of either case.
pub(super) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
