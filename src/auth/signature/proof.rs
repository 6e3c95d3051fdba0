//! One way in which a sender proves its deliveries: where the signature or token is, and what it must match.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::delivery::{Delivery, Mismatch};
use super::hmac::{Algorithm, SignatureEncoding};
use super::jwt::JwtAlgorithm;
use super::public_key::Signing;
use super::source::ValueSource;
use super::text::Piece;

/// Maximum number of signatures of the right length in one header. Senders send one, or two while a secret is being
/// changed.
pub(in crate::auth) const SIGNATURES_MAX: usize = 16;

/// One way in which a sender proves its deliveries.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Its name in the sender's file.
    pub(in crate::auth) name: String,
    pub(in crate::auth) kind: ProofKind,
    pub(in crate::auth) at: SignaturePlace,
    pub(in crate::auth) encoding: SignatureEncoding,
    pub(in crate::auth) time: Option<Clock>,
    pub(in crate::auth) id: Option<ValueSource>,
    pub(in crate::auth) text: Vec<Piece>,
    pub(in crate::auth) body_hash: Option<BodyHash>,
    pub(in crate::auth) absent: Vec<ValueSource>,
    pub(in crate::auth) key: KeyFormat,
    pub(in crate::auth) keys_from: Option<Arc<KeysFrom>>,
}

/// What a proof is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) enum ProofKind {
    /// An HMAC of the text.
    Hmac(Algorithm),
    /// A hash of the text, which contains the secret.
    Digest(Algorithm),
    /// A signature of the text with a private key.
    Signed(Signing),
    /// A JSON Web Token. Each of the claims must have this value.
    Jwt { algorithm: JwtAlgorithm, claims: BTreeMap<String, Vec<Piece>> },
    /// A static token that equals the secret.
    Token,
}

/// Where signatures or tokens are, and how they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) struct SignaturePlace {
    pub(in crate::auth) source: ValueSource,
    pub(in crate::auth) written: Notation,
}

/// How signatures are written in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) enum Notation {
    /// One, after a prefix.
    Whole { prefix: String },
    /// Several, each after a prefix, with this text between them.
    List { separator: String, prefix: String },
    /// Entries of a name and a value; the values with one name are signatures.
    Pairs { separator: String, pair: String, name: String },
}

/// Where the time of signing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) struct Clock {
    pub(in crate::auth) place: ClockPlace,
    pub(in crate::auth) unit: TimeUnit,
    pub(in crate::auth) tolerance: TimeDelta,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) enum ClockPlace {
    In(ValueSource),
    /// The entry with this name, next to the signature.
    Entry(String),
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
pub(in crate::auth) enum TimeUnit {
    #[default]
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds, or milliseconds if it has 13 digits or more.
    #[serde(rename = "unix")]
    Unix,
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// A digest of the body that the signed text, or the token, contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) struct BodyHash {
    pub(in crate::auth) source: ValueSource,
    pub(in crate::auth) prefix: String,
    pub(in crate::auth) algorithm: Algorithm,
    pub(in crate::auth) encoding: SignatureEncoding,
}

/// How the secret's text becomes the key's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::auth) struct KeyFormat {
    pub(in crate::auth) encoding: KeyEncoding,
    /// A prefix that is removed if it is there.
    pub(in crate::auth) strip: String,
    /// A prefix that must be there.
    pub(in crate::auth) required: String,
}

/// The encoding of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::auth) enum KeyEncoding {
    /// The text as it is.
    #[default]
    Text,
    /// Base64.
    Base64,
    /// Hexadecimal digits.
    Hex,
}

/// Where public keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeysFrom {
    /// A JSON Web Key Set at this URL.
    Jwks(String),
    /// A certificate, at the URL that the delivery names, on one of these hosts.
    Certificate {
        /// Where its URL is.
        source: ValueSource,
        /// Allowed hosts; `*` is one label.
        hosts: Vec<String>,
    },
    /// A key by an API: URL, the JSON to send, and the JSON Pointer to the key in the response.
    Post {
        /// URL of the API.
        url: String,
        /// What to send: names and templates.
        send: Vec<(String, String)>,
        /// JSON Pointer to the JWK.
        pointer: String,
    },
}

impl SignaturePlace {
    /// Returns the candidates in a value.
    pub(super) fn candidates<'a>(&'a self, value: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match &self.written {
            Notation::Whole { prefix } => Box::new(without(value, prefix).into_iter()),
            Notation::List { separator, prefix } => {
                Box::new(value.split(separator.as_str()).filter_map(|it| without(it.trim(), prefix)))
            }
            Notation::Pairs { name, .. } => Box::new(self.entries(value, name)),
        }
    }

    /// Returns the values of the entries with this name.
    pub(in crate::auth) fn entries<'a>(&'a self, value: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let (separator, pair) = match &self.written {
            Notation::Pairs { separator, pair, .. } => (separator.as_str(), pair.as_str()),
            Notation::Whole { .. } | Notation::List { .. } => (",", "="),
        };
        value.split(separator).filter_map(move |entry| {
            let (key, value) = entry.trim().split_once(pair)?;
            (key == name).then_some(value)
        })
    }

    /// Returns what is expected there, for a message.
    pub(super) fn expected(&self, encoding: SignatureEncoding) -> &'static str {
        match (&self.written, encoding.name()) {
            (Notation::Pairs { .. }, _) => {
                "it must contain named entries with a complete signature, as the sender's documentation shows"
            }
            (_, "base64") => "it must contain its prefix and a signature in base64",
            (_, "base64url") => "it must contain its prefix and a signature in base64url",
            _ => "it must contain its prefix and a signature in hexadecimal digits",
        }
    }
}

/// Removes a prefix. An authorization scheme matches in any letter case (RFC 9110, section 11.1).
fn without<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.ends_with(' ') {
        let head = value.get(..prefix.len())?;
        return head.eq_ignore_ascii_case(prefix).then(|| value[prefix.len()..].trim_start());
    }
    value.strip_prefix(prefix)
}

impl Clock {
    /// Checks that the time of signing is close enough to the time of receipt.
    pub(super) fn check(&self, text: &str, place: &ValueSource, delivery_at: DateTime<Utc>) -> Result<(), Mismatch> {
        let at = self.unit.read(text).map_err(|cause| place.malformed(cause))?;
        let age = delivery_at - at;
        if age.abs() <= self.tolerance {
            return Ok(());
        }
        let when = if age > TimeDelta::zero() { "before" } else { "after" };
        Err(Mismatch::Time { seconds: age.num_seconds().unsigned_abs(), when, allowed: self.tolerance.num_seconds() })
    }

    /// Returns the time in the delivery's headers and query; `None` if it is in the body.
    pub(super) fn early<'a>(
        &'a self,
        delivery: &Delivery<'a>,
        at: &'a SignaturePlace,
        value: Option<&'a str>,
    ) -> Result<Option<String>, Mismatch> {
        let text = match (&self.place, value) {
            (ClockPlace::In(source), _) if source.is_late() => return Ok(None),
            (ClockPlace::In(source), _) => source.early(delivery)?.into_owned(),
            (ClockPlace::Entry(_), None) => return Ok(None),
            (ClockPlace::Entry(_), Some(value)) => self.entry(at, value)?.to_owned(),
        };
        self.check(&text, self.source(at), delivery.received_at)?;
        Ok(Some(text))
    }

    pub(super) fn entry<'a>(&'a self, at: &'a SignaturePlace, value: &'a str) -> Result<&'a str, Mismatch> {
        let ClockPlace::Entry(name) = &self.place else { return Err(at.source.malformed("it contains no time")) };
        at.entries(value, name).next().ok_or_else(|| at.source.malformed("it contains no time"))
    }

    pub(super) fn source<'a>(&'a self, at: &'a SignaturePlace) -> &'a ValueSource {
        match &self.place {
            ClockPlace::In(source) => source,
            ClockPlace::Entry(_) => &at.source,
        }
    }
}

impl TimeUnit {
    /// Reads a time.
    ///
    /// # Errors
    /// How it must be written.
    pub(in crate::auth) fn read(self, text: &str) -> Result<DateTime<Utc>, &'static str> {
        const RANGE: &str = "its time is out of range";
        if self == Self::Rfc3339 {
            let at = DateTime::parse_from_rfc3339(text).map_err(|_| "its time must be as in RFC 3339")?;
            return Ok(at.to_utc());
        }
        let number: i64 = text.parse().map_err(|_| "its time must be a Unix time")?;
        // Seconds have 13 digits only from the year 33658 on.
        let is_ms = self == Self::Milliseconds || (self == Self::Unix && text.len() >= 13);
        let at = if is_ms { DateTime::from_timestamp_millis(number) } else { DateTime::from_timestamp(number, 0) };
        at.ok_or(RANGE)
    }

    /// Writes a time.
    #[must_use]
    pub(in crate::auth) fn write(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Seconds | Self::Unix => at.timestamp().to_string(),
            Self::Milliseconds => at.timestamp_millis().to_string(),
            Self::Rfc3339 => at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        }
    }
}

impl Proof {
    /// Returns where its keys are fetched from, if they are.
    #[must_use]
    pub fn keys_from(&self) -> Option<Arc<KeysFrom>> {
        self.keys_from.clone()
    }

    /// Returns whether it covers every byte of the body.
    pub(in crate::auth) fn covers_body(&self) -> bool {
        let whole = self.at.written == Notation::Whole { prefix: String::new() };
        let in_token =
            whole && matches!(self.kind, ProofKind::Jwt { .. }) && self.at.source == ValueSource::Body(String::new());
        in_token || self.body_hash.is_some() || (self.is_over_text() && self.text.iter().any(Piece::covers_body))
    }

    /// Returns whether it is made over a text.
    pub(in crate::auth) fn is_over_text(&self) -> bool {
        matches!(self.kind, ProofKind::Hmac(_) | ProofKind::Digest(_) | ProofKind::Signed(_))
    }

    /// Returns the pieces of its text, and of the claims that it requires.
    pub(in crate::auth) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let claims = match &self.kind {
            ProofKind::Jwt { claims, .. } => Some(claims),
            _ => None,
        };
        self.text.iter().chain(claims.into_iter().flat_map(|it| it.values().flatten()))
    }

    /// Returns the headers whose values it needs, in lower case, apart from that of the signature or token.
    pub(in crate::auth) fn named_headers(&self) -> impl Iterator<Item = &str> {
        let certificate = self.keys_from.as_deref().and_then(|it| match it {
            KeysFrom::Certificate { source: ValueSource::Header(name), .. } => Some(name.as_str()),
            _ => None,
        });
        self.signed_headers().chain(certificate)
    }

    /// Returns the headers whose values it checks, in lower case, apart from that of the signature or token.
    pub(in crate::auth) fn signed_headers(&self) -> impl Iterator<Item = &str> {
        self.signed_sources()
            .filter_map(|it| if let ValueSource::Header(name) = it { Some(name.as_str()) } else { None })
    }

    /// Returns the parameters of the query whose values it checks, apart from that of the signature or token.
    pub(in crate::auth) fn signed_parameters(&self) -> impl Iterator<Item = &str> {
        self.signed_sources()
            .filter_map(|it| if let ValueSource::Query(name) = it { Some(name.as_str()) } else { None })
    }

    fn signed_sources(&self) -> impl Iterator<Item = &ValueSource> {
        let sources = self.pieces().filter_map(|it| if let Piece::From(source) = it { Some(source) } else { None });
        let clock = self.time.as_ref().and_then(|it| if let ClockPlace::In(it) = &it.place { Some(it) } else { None });
        let hash = self.body_hash.as_ref().map(|it| &it.source);
        sources.chain(clock).chain(&self.id).chain(hash)
    }
}
