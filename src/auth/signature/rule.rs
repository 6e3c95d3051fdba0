//! The general scheme: an HMAC over a text that contains the body. A rule says where the signature is, and what is
//! signed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta};

use super::delivery::{Delivery, Mismatch, decode_hex};
use super::ed25519;
use super::ed25519::PublicKey;
use super::hmac::{Algorithm, HmacKey, SignatureEncoding};

/// Maximum number of signatures of the right length in one header. Senders send one, or two while a secret is being
/// changed.
pub(super) const SIGNATURES_MAX: usize = 16;
/// Maximum number of ed25519 verifications per delivery: signatures times public keys. Each one hashes the body
/// again.
pub(super) const VERIFICATIONS_MAX: usize = 8;

/// How the secret's text becomes the key's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretFormat {
    /// The text as it is.
    Text,
    /// Standard Webhooks: base64, after `whsec_`.
    Whsec,
}

/// How a header contains signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignatureFormat {
    /// A single signature, after a prefix.
    Whole { prefix: String },
    /// `t=1492774577,v1=…,v1=…`: the signatures with this name, and the time as `t`.
    Fields { name: &'static str },
    /// `v1,… v1,…`: the signatures with this version, separated by spaces.
    Words { version: &'static str },
}

/// Where the time of signing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clock {
    None,
    /// In a header of its own.
    Header(String),
    /// In the header with the signatures.
    Field(&'static str),
}

/// A part of the signed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Timestamp,
    Id,
    Body,
}

/// A delivery's claim: the signatures that could match, and the other signed values.
#[derive(Debug)]
pub(super) struct HmacClaim {
    pub(super) macs: Vec<Vec<u8>>,
    pub(super) public: Vec<[u8; ed25519::BYTES]>,
    timestamp: String,
    id: String,
}

/// How a provider signs.
#[derive(Debug, Clone)]
pub struct SignatureRule {
    pub(super) header: String,
    pub(super) written: SignatureFormat,
    pub(super) encoding: SignatureEncoding,
    pub(super) algorithm: Algorithm,
    pub(super) clock: Clock,
    pub(super) id_header: Option<String>,
    pub(super) secrets: SecretFormat,
    pub(super) payload: Vec<Piece>,
}

/// A scheme as described in plugin.toml.
#[derive(Debug, Clone)]
pub struct Described<'a> {
    /// Header with the signature.
    pub header: &'a str,
    /// Prefix of the signature.
    pub prefix: &'a str,
    /// Encoding of the signature.
    pub encoding: SignatureEncoding,
    /// Hash function.
    pub algorithm: Algorithm,
    /// Header with the time of signing, in Unix seconds or milliseconds.
    pub timestamp_header: Option<&'a str>,
    /// Header with the delivery's id.
    pub id_header: Option<&'a str>,
    /// The signed text, such as `{timestamp}.{body}`.
    pub payload: &'a str,
}

impl SignatureRule {
    /// Creates a rule from a description in plugin.toml.
    ///
    /// # Errors
    /// Fails if the body, or a time that is checked, would not be signed.
    pub fn described(it: &Described<'_>) -> Result<Self, String> {
        let payload = pieces(it.payload)?;
        let (clock, id) = (payload.contains(&Piece::Timestamp), payload.contains(&Piece::Id));
        if !payload.contains(&Piece::Body) {
            return Err("payload: must contain {body}, or anybody could change it".into());
        }
        match (clock, it.timestamp_header) {
            (true, None) => return Err("payload: {timestamp} needs a timestamp_header".into()),
            (false, Some(_)) => {
                return Err("payload: must contain {timestamp}, or anybody could change the time".into());
            }
            _ if id != it.id_header.is_some() => return Err("payload: use {id} and id_header together".into()),
            _ => {}
        }
        Ok(Self { payload, ..Self::new(it) })
    }

    /// Creates a rule whose signed text is the body, whatever the description says.
    pub(super) fn new(it: &Described<'_>) -> Self {
        let lower = |name: &str| name.to_ascii_lowercase();
        Self {
            header: lower(it.header),
            written: SignatureFormat::Whole { prefix: it.prefix.to_owned() },
            encoding: it.encoding,
            algorithm: it.algorithm,
            clock: it.timestamp_header.map_or(Clock::None, |name| Clock::Header(lower(name))),
            id_header: it.id_header.map(lower),
            secrets: SecretFormat::Text,
            payload: vec![Piece::Body],
        }
    }

    pub(super) fn with_payload(self, template: &str) -> Self {
        Self { payload: pieces(template).unwrap_or_else(|_| vec![Piece::Body]), ..self }
    }

    pub(super) fn key(&self, secret: &str) -> Result<HmacKey, String> {
        match self.secrets {
            SecretFormat::Text => HmacKey::new(self.algorithm, secret.as_bytes()),
            SecretFormat::Whsec => HmacKey::new(self.algorithm, &whsec(secret)?),
        }
    }

    /// Returns whether senders may also sign with ed25519.
    pub(super) fn asymmetric(&self) -> bool {
        self.secrets == SecretFormat::Whsec
    }

    /// Reads a claim from the headers, without hashing. What cannot match is refused before the body is read.
    /// `public_keys` is the number of public keys.
    pub(super) fn claim(
        &self,
        delivery: &Delivery<'_>,
        tolerance: TimeDelta,
        public_keys: usize,
    ) -> Result<HmacClaim, Mismatch> {
        let value = delivery.header(&self.header)?;
        let timestamp = self.timestamp(delivery, value)?;
        if let Some((header, text)) = timestamp {
            within(delivery, tolerance, header, text)?;
        }
        let id = self.id_header.as_deref().map(|name| delivery.header(name)).transpose()?.unwrap_or_default();
        let most = |most: usize, of: usize| {
            if of > most { Err(Mismatch::TooMany { header: self.header.clone(), most }) } else { Ok(()) }
        };
        let characters = self.encoding.characters(self.algorithm.bytes());
        let right_length = |it: &&str| it.len() == characters;
        most(SIGNATURES_MAX, self.signatures(value).filter(right_length).count())?;
        let macs: Vec<_> = self.signatures(value).filter(right_length).filter_map(|it| self.decode(it)).collect();
        let mut public = Vec::new();
        if self.asymmetric() && public_keys > 0 {
            let characters = SignatureEncoding::Base64.characters(ed25519::BYTES);
            let worth = || words(value, ed25519::VERSION).filter(|it| it.len() == characters);
            most((VERIFICATIONS_MAX / public_keys).max(1), worth().count())?;
            let decoded = worth().filter_map(|it| BASE64_STANDARD.decode(it).ok());
            public.extend(decoded.filter_map(|it| <[u8; ed25519::BYTES]>::try_from(it).ok()));
        }
        if macs.is_empty() && public.is_empty() {
            return Err(Mismatch::malformed(&self.header, self.expected()));
        }
        let timestamp = timestamp.map(|(_, text)| text.to_owned()).unwrap_or_default();
        Ok(HmacClaim { macs, public, timestamp, id: id.to_owned() })
    }

    /// Returns whether one of the signatures matches the body. Computes one HMAC per key, and one verification per
    /// public key and signature.
    pub(super) fn fits(&self, claim: &HmacClaim, body: &[u8], keys: &[HmacKey], public_keys: &[PublicKey]) -> bool {
        let pieces = || {
            self.payload.iter().map(|piece| match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Timestamp => claim.timestamp.as_bytes(),
                Piece::Id => claim.id.as_bytes(),
                Piece::Body => body,
            })
        };
        if keys.iter().any(|key| key.fits_one(pieces(), &claim.macs)) {
            return true;
        }
        if claim.public.is_empty() {
            return false;
        }
        let message = pieces().collect::<Vec<_>>().concat();
        public_keys.iter().any(|key| claim.public.iter().any(|it| key.fits(&message, it)))
    }

    /// Returns the time of signing: its header, and its text.
    fn timestamp<'a>(
        &'a self,
        delivery: &Delivery<'a>,
        value: &'a str,
    ) -> Result<Option<(&'a str, &'a str)>, Mismatch> {
        match &self.clock {
            Clock::None => Ok(None),
            Clock::Header(name) => delivery.header(name).map(|text| Some((name.as_str(), text))),
            Clock::Field(name) => {
                let text = fields(value, name)
                    .next()
                    .ok_or_else(|| Mismatch::malformed(&self.header, "it contains no time"))?;
                Ok(Some((&self.header, text)))
            }
        }
    }

    fn signatures<'a>(&'a self, value: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match &self.written {
            SignatureFormat::Whole { prefix } => Box::new(value.strip_prefix(prefix.as_str()).into_iter()),
            SignatureFormat::Fields { name } => Box::new(fields(value, name)),
            SignatureFormat::Words { version } => Box::new(words(value, version)),
        }
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.encoding {
            SignatureEncoding::Base64 => BASE64_STANDARD.decode(text).ok(),
            SignatureEncoding::Hex => decode_hex(text),
        }
    }

    fn expected(&self) -> &'static str {
        match (&self.written, self.encoding) {
            (SignatureFormat::Whole { .. }, SignatureEncoding::Hex) => {
                "it must contain its prefix and a signature in hexadecimal digits"
            }
            (SignatureFormat::Whole { .. }, SignatureEncoding::Base64) => {
                "it must contain its prefix and a signature in base64"
            }
            (SignatureFormat::Fields { .. }, _) => {
                "it must contain t=… and v1=… with a complete signature, separated by commas"
            }
            (SignatureFormat::Words { .. }, _) => "it must contain v1,… with a complete signature, separated by spaces",
        }
    }
}

/// Decodes a Standard Webhooks secret.
///
/// # Errors
/// What it must be, to be shown after its name.
pub(in crate::auth) fn whsec(secret: &str) -> Result<Vec<u8>, String> {
    let secret = secret.trim();
    let bytes = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret));
    bytes.map_err(|_| "must be whsec_ and base64".to_owned())
}

fn fields<'a>(value: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    value.split(',').filter_map(move |field| {
        let (key, value) = field.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

fn words<'a>(value: &'a str, version: &str) -> impl Iterator<Item = &'a str> {
    value.split_ascii_whitespace().filter_map(move |word| {
        let (key, value) = word.split_once(',')?;
        (key == version).then_some(value)
    })
}

/// Checks that the time of signing is close enough to the time of receipt.
fn within(delivery: &Delivery<'_>, tolerance: TimeDelta, header: &str, text: &str) -> Result<(), Mismatch> {
    let number: i64 = text.parse().map_err(|_| Mismatch::malformed(header, "its time must be in Unix seconds"))?;
    // Seconds have 13 digits only from the year 33658 on.
    let at =
        if text.len() >= 13 { DateTime::from_timestamp_millis(number) } else { DateTime::from_timestamp(number, 0) };
    let at = at.ok_or_else(|| Mismatch::malformed(header, "its time is out of range"))?;
    let age = delivery.received_at - at;
    if age.abs() <= tolerance {
        return Ok(());
    }
    let when = if age > TimeDelta::zero() { "before" } else { "after" };
    Err(Mismatch::Time { seconds: age.num_seconds().unsigned_abs(), when, allowed: tolerance.num_seconds() })
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("payload: a { has no }")?;
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        pieces.push(match name {
            "timestamp" => Piece::Timestamp,
            "id" => Piece::Id,
            "body" => Piece::Body,
            other => {
                return Err(format!("payload: {{{other}}} is not known; use {{timestamp}}, {{id}} and {{body}}"));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
