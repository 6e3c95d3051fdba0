//! One proof's claim: what the headers and the URL of a delivery say, before the body is checked.

use std::borrow::Cow;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::delivery::{Delivery, Mismatch};
use super::jwt::{HEADER_TOKEN_MAX, Token};
use super::keys::{ProofKey, token};
use super::proof::{KeysFrom, Proof, ProofKind, SIGNATURES_MAX};
use super::source::{SentBody, ValueSource};
use super::text::SenderSettings;

/// Maximum number of verifications with public keys per delivery. Each one hashes the body again.
pub(in crate::auth) const VERIFICATIONS_MAX: usize = 8;
/// A proof with the keys that it uses.
#[derive(Debug, Clone)]
pub(super) struct KeyedProof {
    pub(super) proof: Arc<Proof>,
    /// The keys, and to which secret they belong.
    pub(super) keys: Vec<(usize, ProofKey)>,
}

/// One proof's claim.
#[derive(Debug)]
pub(super) struct ProofClaim {
    pub(super) proof: usize,
    /// Signatures, decoded, or tokens as text; empty until the body has arrived, if they are in it.
    pub(super) candidates: Vec<Vec<u8>>,
    /// The value that they were read from, if a time in the body's value is needed later.
    pub(super) time: Option<String>,
    pub(super) id: String,
    /// Values of the pieces of the text that do not depend on the body.
    pub(super) early: Vec<Option<String>>,
    pub(super) body_hash: Option<String>,
    pub(super) key_url: Option<String>,
}

/// A key that must be fetched before a claim can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WantedKey {
    /// Where it is from.
    pub from: Arc<KeysFrom>,
    /// The certificate's URL, if the delivery names it.
    pub url: Option<String>,
    /// The id of the key in a token.
    pub id: Option<String>,
}

impl KeyedProof {
    /// Reads the claim of a delivery's headers and URL.
    pub(super) fn claim(
        &self,
        index: usize,
        delivery: &Delivery<'_>,
        settings: &SenderSettings,
    ) -> Result<ProofClaim, Mismatch> {
        let proof = &*self.proof;
        if let Some(source) = proof.absent.iter().find(|it| it.is_in(delivery)) {
            return Err(Mismatch::Present { place: source.to_string() });
        }
        let value = if proof.at.source.is_late() { None } else { Some(proof.at.source.early(delivery)?) };
        let time = match &proof.time {
            Some(clock) if !matches!(proof.kind, ProofKind::Jwt { .. }) => {
                clock.early(delivery, &proof.at, value.as_deref())?
            }
            _ => None,
        };
        let early = |source: &ValueSource| {
            if source.is_late() { Ok(None) } else { source.early(delivery).map(|it| Some(it.into_owned())) }
        };
        let id = proof.id.as_ref().map(early).transpose()?.flatten().unwrap_or_default();
        let candidates = value.as_deref().map(|it| self.candidates(it)).transpose()?.unwrap_or_default();
        let pieces = proof.pieces().map(|it| it.early(delivery, settings)).collect::<Result<_, _>>()?;
        let body_hash = proof.body_hash.as_ref().map(|it| early(&it.source)).transpose()?.flatten();
        let key_url = match proof.keys_from.as_deref() {
            Some(KeysFrom::Certificate { source, .. }) => early(source)?,
            _ => None,
        };
        Ok(ProofClaim { proof: index, candidates, time, id, early: pieces, body_hash, key_url })
    }

    /// Returns the key that must be fetched for a claim.
    pub(super) fn wanted(&self, claim: &ProofClaim, body: &SentBody<'_>) -> Result<Option<WantedKey>, Mismatch> {
        let proof = &*self.proof;
        let Some(from) = proof.keys_from.clone() else { return Ok(None) };
        proof.is_not_absent(body)?;
        let late = match &proof.at.source {
            source @ ValueSource::Body(pointer) => {
                let value = body.at(pointer).ok_or_else(|| source.missing())?;
                Some(self.candidates(&value)?)
            }
            _ => None,
        };
        let url = match &*from {
            KeysFrom::Certificate { source: source @ ValueSource::Body(pointer), .. } => {
                Some(body.at(pointer).ok_or_else(|| source.missing())?.into_owned())
            }
            KeysFrom::Certificate { .. } => claim.key_url.clone(),
            KeysFrom::Jwks(_) | KeysFrom::Post { .. } => None,
        };
        let candidates = late.as_deref().unwrap_or(&claim.candidates);
        let mut id = None;
        if let (false, Some(token)) = (proof.is_over_text(), candidates.first()) {
            let place = || proof.at.source.to_string();
            let text = std::str::from_utf8(token).unwrap_or_default();
            id = Token::parse(text).map_err(|cause| Mismatch::Jwt { place: place(), cause })?.key_id;
            if id.is_none() && matches!(&*from, KeysFrom::Post { .. }) {
                return Err(Mismatch::Jwt { place: place(), cause: "it does not name its key" });
            }
        }
        Ok(Some(WantedKey { from, url, id }))
    }

    /// Reads signatures and tokens from the value of their place. A wrong token is refused at once.
    pub(super) fn candidates(&self, value: &str) -> Result<Vec<Vec<u8>>, Mismatch> {
        let (proof, source) = (&*self.proof, &self.proof.at.source);
        let most = |most: usize, of: usize| {
            let header = || if let ValueSource::Header(name) = source { name.clone() } else { source.to_string() };
            if of > most { Err(Mismatch::TooMany { header: header(), most }) } else { Ok(()) }
        };
        let all = || proof.at.candidates(value);
        let decoded: Vec<_> = match &proof.kind {
            ProofKind::Token | ProofKind::Jwt { .. } => {
                let limit = if *source == ValueSource::Body(String::new()) { usize::MAX } else { HEADER_TOKEN_MAX };
                let tokens: Vec<_> =
                    all().filter(|it| !it.is_empty() && it.len() <= limit).map(|it| it.as_bytes().to_vec()).collect();
                most(VERIFICATIONS_MAX, tokens.len())?;
                tokens
            }
            ProofKind::Hmac(algorithm) | ProofKind::Digest(algorithm) => {
                let fits = |it: &&str| proof.encoding.fits(it.len(), algorithm.bytes());
                most(SIGNATURES_MAX, all().filter(fits).count())?;
                all().filter(fits).filter_map(|it| proof.encoding.decode(it)).collect()
            }
            ProofKind::Signed(signing) => {
                // Without keys, no signature is verified.
                let keys = if proof.keys_from.is_some() { 1 } else { self.keys.len() };
                let decoded = |it: &str| proof.encoding.decode(it).filter(|it| signing.takes(it.len()));
                let decoded: Vec<_> = all().filter(|it| it.len() <= 2048 && keys > 0).filter_map(decoded).collect();
                most((VERIFICATIONS_MAX / keys.max(1)).max(1), decoded.len())?;
                decoded
            }
        };
        if decoded.is_empty() {
            let cause = match &proof.kind {
                ProofKind::Token | ProofKind::Jwt { .. } => "it must contain its prefix and a token",
                _ => proof.at.expected(proof.encoding),
            };
            return Err(source.malformed(cause));
        }
        if proof.kind == ProofKind::Token && self.token(&decoded).is_none() {
            return Err(Mismatch::Token { place: source.to_string() });
        }
        Ok(decoded)
    }

    /// Returns the secret that every one of these values equals: a body with several messages has a token in each.
    pub(super) fn every_token(&self, values: &[Cow<'_, str>]) -> Result<Option<Option<usize>>, Mismatch> {
        let mut found = None;
        for value in values {
            found = self.token(&self.candidates(value)?);
            if found.is_none() {
                break;
            }
        }
        found.map(|it| Some(Some(it))).ok_or_else(|| Mismatch::Token { place: self.proof.at.source.to_string() })
    }

    /// Returns the secret that one of the tokens equals. All secrets are compared, whichever matches.
    pub(super) fn token(&self, candidates: &[Vec<u8>]) -> Option<usize> {
        let mut found = None;
        for it in candidates.iter().filter_map(|it| std::str::from_utf8(it).ok()) {
            let sent = token(it);
            for (secret, key) in &self.keys {
                if let ProofKey::Token(hash) = key
                    && bool::from(hash.ct_eq(&sent))
                {
                    found = Some(*secret);
                }
            }
        }
        found
    }
}
