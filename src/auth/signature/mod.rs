//! Signatures over the raw body, as each provider makes them.
//!
//! Nearly all are an HMAC (RFC 2104) over a text that holds the body: [`rule::Rule`] is that in general, `hmac.rs` the
//! function, `presets.rs` has each provider's. `twilio.rs` signs its URL and form, `ed25519.rs` is Standard Webhooks' `v1a`.

mod ed25519;
pub mod hmac;
mod presets;
pub mod rule;
mod twilio;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::header::HeaderMap;

use crate::config::Secret;
use ed25519::PublicKey;
use hmac::Key;
pub use presets::Preset;
use rule::Rule;
use twilio::Twilio;

/// How far a sender's clock may be from ours, either way: what Stripe, Slack and Standard Webhooks recommend.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A delivery before its body has been read.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What stands behind the `?` of its URL, as sent.
    pub query: &'a str,
    /// When its headers came.
    pub received_at: DateTime<Utc>,
}

impl<'a> Delivery<'a> {
    /// A header's text, without spaces around it. There must be one: of two, a proxy may go by the other.
    fn header(&self, name: &str) -> Result<&'a str, Mismatch> {
        let mut values = self.headers.get_all(name).into_iter();
        let value = values.next().ok_or_else(|| Mismatch::Missing { header: name.to_owned() })?;
        if values.next().is_some() {
            return Err(Mismatch::Repeated { header: name.to_owned() });
        }
        value.to_str().map(str::trim).map_err(|_| Mismatch::malformed(name, "it is not ASCII"))
    }
}

/// Which check failed: for the admin, in the event list. The sender is told no more than that one did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A header is not there.
    #[error("the header {header} is missing")]
    Missing {
        /// Its name.
        header: String,
    },
    /// A header is there more than once.
    #[error("the header {header} was sent more than once")]
    Repeated {
        /// Its name.
        header: String,
    },
    /// More signatures than are checked.
    #[error("the header {header} holds more than {most} signatures")]
    TooMany {
        /// Its name.
        header: String,
        /// How many are checked.
        most: usize,
    },
    /// Twilio: a form with more fields than are sorted.
    #[error("the form has more than {most} fields")]
    Fields {
        /// How many there may be.
        most: usize,
    },
    /// A header does not say what it should.
    #[error("the header {header} cannot be read: {cause}")]
    Malformed {
        /// Its name.
        header: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// It was signed at another time.
    #[error(
        "it was signed {seconds} s {when} now, and {allowed} s are allowed; is a clock wrong, or was it sent again?"
    )]
    Time {
        /// How long.
        seconds: u64,
        /// Before or after.
        when: &'static str,
        /// How long it may be.
        allowed: i64,
    },
    /// The signature is another one.
    #[error(
        "no signature in {header} fits the body with any of the {secrets} secrets; is the secret the sender's, and the body as it was sent?"
    )]
    Wrong {
        /// The header with the signature.
        header: String,
        /// How many secrets were tried.
        secrets: usize,
    },
    /// Twilio: the URL's `bodySHA256` is that of another body.
    #[error("bodySHA256 in the URL is not that of the body")]
    BodyHash,
}

impl Mismatch {
    fn malformed(header: &str, cause: &'static str) -> Self {
        Self::Malformed { header: header.to_owned(), cause }
    }
}

/// What an ed25519 verification costs besides hashing the body, as bytes to hash: about 50 µs.
const VERIFICATION_BYTES: usize = 32 * 1024;

/// What a delivery's headers claim of its sender; checked against the body by [`Signature::check`].
#[derive(Debug)]
pub struct Claim(Claimed);

#[derive(Debug)]
enum Claimed {
    Hmac(rule::Claim),
    Twilio(twilio::Claim),
}

/// A scheme and its secrets, ready to check.
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
    /// One provider's scheme. Without secrets nothing passes.
    ///
    /// # Errors
    /// What is wrong with a secret; never the secret.
    pub fn preset(preset: Preset, secrets: &[Secret]) -> Result<Self, String> {
        Ok(Self { greets: preset == Preset::Slack, ..Self::hmac(preset.rule(), secrets)? })
    }

    /// Any HMAC over the body.
    ///
    /// # Errors
    /// What is wrong with a secret; never the secret.
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

    /// Twilio's: `url` is the whole address that Twilio was given, without its query.
    ///
    /// # Errors
    /// Never for any secret that can be had.
    pub fn twilio(url: String, secrets: &[Secret]) -> Result<Self, String> {
        let keys = secrets.iter().map(|it| twilio::keys(it.expose())).collect::<Result<Vec<_>, _>>()?;
        let (how, keys) = (How::Twilio(Twilio { url }), keys.concat());
        Ok(Self { how, tolerance: TOLERANCE, greets: false, keys, public_keys: Vec::new() })
    }

    /// The same with another tolerance.
    #[must_use]
    pub fn within(self, tolerance: TimeDelta) -> Self {
        Self { tolerance, ..self }
    }

    /// The header that holds the signature, lower case.
    #[must_use]
    pub fn header(&self) -> &str {
        match &self.how {
            How::Hmac(rule) => &rule.header,
            How::Twilio(_) => twilio::HEADER,
        }
    }

    /// Whether there is a secret to check with.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.keys.is_empty() || !self.public_keys.is_empty()
    }

    /// What the delivery's headers claim: whether there is anything to check its body against. Costs no more than reading
    /// the headers.
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

    /// How many bytes are hashed to check this claim, with what an ed25519 verification costs besides counted as bytes.
    #[must_use]
    pub fn cost(&self, claim: &Claim, body: usize) -> usize {
        let (macs, verifications) = match &claim.0 {
            Claimed::Hmac(claim) if claim.macs.is_empty() => (0, claim.public.len() * self.public_keys.len()),
            Claimed::Hmac(claim) => (self.keys.len(), claim.public.len() * self.public_keys.len()),
            // Each secret is there as a key of either hash. The form is read and sorted.
            Claimed::Twilio(_) => (self.keys.len() / 2 + 4, 0),
        };
        body.saturating_mul(macs + verifications) + verifications * VERIFICATION_BYTES
    }

    /// Nothing, where one of the claimed signatures was made over this body with one of the secrets: one HMAC for each
    /// secret, however many signatures are claimed. Every comparison takes the same time wherever the two differ.
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

    /// Slack's `url_verification`: what it wants to read again
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

/// Hexadecimal digits of either case as bytes.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests;
