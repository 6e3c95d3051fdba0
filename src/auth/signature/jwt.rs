//! JSON Web Tokens (RFC 7519) as proofs: a token that is signed, and whose claims are about this delivery.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::hmac::Algorithm;
use super::public_key::Signing;

/// Maximum length of a token in a header, in bytes. A body may be a token of any length.
pub(super) const HEADER_TOKEN_MAX: usize = 16 * 1024;
/// Allowed difference between clocks for `exp` and `nbf`.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// The algorithm of a token (RFC 7518, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum JwtAlgorithm {
    Hs256,
    Rs256,
    Es256,
}

impl JwtAlgorithm {
    pub(in crate::auth) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    pub(in crate::auth) fn signing(self) -> Option<Signing> {
        match self {
            Self::Hs256 => None,
            Self::Rs256 => Some(Signing::Rsa(Algorithm::Sha256)),
            Self::Es256 => Some(Signing::EcdsaRaw),
        }
    }
}

/// A token's parts, decoded but not verified.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// What is signed: header, dot, claims.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    pub(super) key_id: Option<String>,
    algorithm: String,
    claims: &'a str,
}

impl<'a> Token<'a> {
    /// Splits a token, and reads its header.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        const SHAPE: &str = "it must be three parts in base64url, separated by dots";
        let (signed, signature) = text.rsplit_once('.').ok_or(SHAPE)?;
        let (header, claims) = signed.split_once('.').ok_or(SHAPE)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| SHAPE)?;
        let header: Value = json(header).ok_or(SHAPE)?;
        // Extensions that must be understood (RFC 7515, section 4.1.11).
        if header.get("crit").is_some() {
            return Err("its header requires an extension");
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self { signed, signature, key_id: text("kid"), algorithm: text("alg").unwrap_or_default(), claims })
    }

    /// Checks that the header names this algorithm: a token must not choose how it is verified.
    pub(super) fn is_signed_with(&self, algorithm: JwtAlgorithm) -> Result<(), &'static str> {
        if self.algorithm == algorithm.name() { Ok(()) } else { Err("its algorithm is not the expected one") }
    }

    /// Reads the claims of a token whose signature matches, and checks their period of validity.
    pub(super) fn valid_claims(&self, now: DateTime<Utc>) -> Result<Value, &'static str> {
        let claims: Value = json(self.claims).filter(Value::is_object).ok_or("its claims are not a JSON object")?;
        let seconds =
            |name: &str| claims.get(name).map(|it| it.as_f64().ok_or("exp and nbf must be numbers")).transpose();
        let now = now.timestamp() as f64;
        let leeway = LEEWAY.num_seconds() as f64;
        if seconds("exp")?.is_some_and(|it| now >= it + leeway) {
            return Err("it has expired");
        }
        if seconds("nbf")?.is_some_and(|it| now + leeway < it) {
            return Err("it is not valid yet; check the clocks");
        }
        Ok(claims)
    }
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
