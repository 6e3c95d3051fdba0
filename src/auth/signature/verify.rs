//! Verifies the signature of a delivery: reads the claims of its headers first, and then checks them against the body.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::claim::{KeyedProof, ProofClaim, WantedKey};
use super::delivery::{Delivery, Mismatch};
use super::keys::{FetchedKeys, ProofKey};
use super::proof::{Proof, ProofKind};
use super::source::{BodyHints, SentBody, ValueSource};
use super::text::SenderSettings;
use crate::format::payload::{DeclaredFormat, received_type};
use crate::model::headers::content_type;
use crate::model::secret::Secret;

/// Cost of a verification with a public key apart from hashing the body, expressed as bytes to hash: about 50 µs.
const VERIFICATION_BYTES: usize = 32 * 1024;

/// The proofs of a sender, with its secrets. A delivery must pass one of them.
#[derive(Debug, Clone)]
pub struct Signature {
    proofs: Vec<KeyedProof>,
    settings: SenderSettings,
    secrets: usize,
    /// The format of bodies, if the sender's file names one.
    format: Option<DeclaredFormat>,
}

/// What a delivery's headers and URL claim; checked against the body by [`Signature::check`].
#[derive(Debug)]
pub struct SignatureClaim {
    claims: Vec<ProofClaim>,
    content_type: Option<String>,
    coding: Option<String>,
    received_at: DateTime<Utc>,
}

impl SignatureClaim {
    fn body<'a>(&'a self, bytes: &'a [u8], format: Option<DeclaredFormat>) -> SentBody<'a> {
        let hints = BodyHints { content_type: self.content_type.as_deref(), coding: self.coding.as_deref(), format };
        SentBody::new(bytes, hints)
    }
}

impl Signature {
    /// Creates the proofs of a sender. Without secrets, no delivery passes, unless keys are fetched.
    ///
    /// # Errors
    /// What is wrong with a secret; never the secret itself.
    pub fn new(
        proofs: impl IntoIterator<Item = Arc<Proof>>,
        settings: SenderSettings,
        secrets: &[Secret],
    ) -> Result<Self, String> {
        let mut keyed: Vec<_> = proofs.into_iter().map(|proof| KeyedProof { proof, keys: Vec::new() }).collect();
        for (index, secret) in secrets.iter().enumerate() {
            let (mut used, mut wrong) = (false, None);
            for it in &mut keyed {
                match it.proof.key(secret) {
                    None => {}
                    Some(Ok(key)) => {
                        used = true;
                        it.keys.push((index, key));
                    }
                    // A prefix says which proof the secret is meant for.
                    Some(Err(cause)) if !it.proof.key.required.is_empty() => wrong = Some(cause),
                    Some(Err(cause)) => wrong = wrong.or(Some(cause)),
                }
            }
            // Anybody may know a public key, so it is no secret for another proof.
            let is_public = |(of, key): &(usize, ProofKey)| *of == index && matches!(key, ProofKey::Public(_));
            if keyed.iter().any(|it| it.keys.iter().any(is_public)) {
                keyed.iter_mut().for_each(|it| it.keys.retain(|key| key.0 != index || is_public(key)));
            }
            // A secret that no proof can use is a mistake; one that some proofs cannot use is not.
            if let (false, Some(cause)) = (used, wrong) {
                return Err(cause);
            }
        }
        Ok(Self { proofs: keyed, settings, secrets: secrets.len(), format: None })
    }

    /// Returns these proofs for bodies of this format.
    #[must_use]
    pub fn reading(self, format: Option<DeclaredFormat>) -> Self {
        Self { format, ..self }
    }

    /// Returns these proofs with another tolerance for the time of signing.
    #[must_use]
    pub fn within(mut self, tolerance: TimeDelta) -> Self {
        for it in &mut self.proofs {
            if let Some(clock) = Arc::make_mut(&mut it.proof).time.as_mut() {
                clock.tolerance = tolerance;
            }
        }
        self
    }

    /// Returns the settings of plugin.toml, by name.
    #[must_use]
    pub fn settings(&self) -> &std::collections::BTreeMap<String, String> {
        &self.settings.values
    }

    /// Returns the proofs, without their keys.
    #[must_use]
    pub fn proofs(&self) -> Vec<Arc<Proof>> {
        self.proofs.iter().map(|it| Arc::clone(&it.proof)).collect()
    }

    /// Returns URL and settings, as they are signed.
    #[must_use]
    pub fn signed_settings(&self) -> &SenderSettings {
        &self.settings
    }

    /// Returns whether this header (in lower case) contains a signature or a token.
    #[must_use]
    pub fn is_in(&self, header: &str) -> bool {
        self.proofs.iter().any(|it| matches!(&it.proof.at.source, ValueSource::Header(name) if name == header))
    }

    /// Returns whether this parameter of the query contains a signature or a token.
    #[must_use]
    pub fn is_in_parameter(&self, parameter: &str) -> bool {
        let is_it = |it: &ValueSource| matches!(it, ValueSource::Query(name) if name.eq_ignore_ascii_case(parameter));
        self.proofs.iter().any(|it| is_it(&it.proof.at.source))
    }

    /// Returns whether there is a secret, or a key that is fetched.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.proofs.iter().any(|it| !it.keys.is_empty() || it.proof.keys_from.is_some())
    }

    /// Reads the claims of a delivery's headers and URL. Costs no more than parsing them. What cannot match is refused
    /// before the body is read.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn claim(&self, delivery: &Delivery<'_>) -> Result<SignatureClaim, Mismatch> {
        let mut claims = Vec::with_capacity(self.proofs.len());
        let mut wrong: Option<Mismatch> = None;
        for (index, it) in self.proofs.iter().enumerate() {
            match it.claim(index, delivery, &self.settings) {
                Ok(claim) => claims.push(claim),
                Err(mismatch) => wrong = Some(nearer(wrong, mismatch)),
            }
        }
        match wrong {
            Some(mismatch) if claims.is_empty() => Err(mismatch),
            _ if claims.is_empty() => Err(Mismatch::Missing { header: "with a signature".into() }),
            _ => Ok(SignatureClaim {
                claims,
                content_type: content_type(delivery.headers).map(received_type),
                coding: delivery.headers.get("content-encoding").and_then(|it| it.to_str().ok()).map(str::to_owned),
                received_at: delivery.received_at,
            }),
        }
    }

    /// Returns how many bytes are hashed to check this claim; the additional cost of verifications with public keys
    /// counts as bytes, and so does parsing the body.
    #[must_use]
    pub fn cost(&self, claim: &SignatureClaim, body: usize) -> usize {
        let of = |claim: &ProofClaim| {
            let it = &self.proofs[claim.proof];
            let parsed = if it.proof.needs_parsing() { body.saturating_mul(4) } else { 0 };
            let hashed = if it.proof.body_hash.is_some() { body } else { 0 };
            let keys = it.keys.len().max(1);
            parsed
                + hashed
                + match &it.proof.kind {
                    ProofKind::Hmac(_) | ProofKind::Digest(_) => body.saturating_mul(keys),
                    ProofKind::Token => 0,
                    ProofKind::Jwt { .. } | ProofKind::Signed(_) => {
                        let verifications = keys.saturating_mul(claim.candidates.len().max(1));
                        body.saturating_mul(verifications) + verifications * VERIFICATION_BYTES
                    }
                }
        };
        claim.claims.iter().map(of).fold(0, usize::saturating_add)
    }

    /// Returns whether keys may be needed that must be fetched for this claim.
    #[must_use]
    pub fn may_want(&self, claim: &SignatureClaim) -> bool {
        claim.claims.iter().any(|it| self.proofs[it.proof].proof.keys_from.is_some())
    }

    /// Returns the keys that must be fetched before this claim can be checked. A claim that cannot hold whatever the key is
    /// wants none.
    ///
    /// # Errors
    /// Why no claim can hold.
    pub fn wanted(&self, claim: &SignatureClaim, body: &[u8]) -> Result<Vec<WantedKey>, Mismatch> {
        let body = claim.body(body, self.format);
        let (mut wanted, mut wrong) = (Vec::new(), None);
        for it in &claim.claims {
            match self.proofs[it.proof].wanted(it, &body) {
                Ok(key) => wanted.extend(key),
                Err(mismatch) => wrong = Some(nearer(wrong, mismatch)),
            }
        }
        match wrong {
            Some(mismatch)
                if wanted.is_empty()
                    && claim.claims.iter().all(|it| self.proofs[it.proof].proof.keys_from.is_some()) =>
            {
                Err(mismatch)
            }
            _ => Ok(wanted),
        }
    }

    /// Checks that one of the claims holds for this body. Computes one HMAC per secret, however many signatures are
    /// claimed; comparisons take constant time. Returns the number of the secret that matches.
    ///
    /// # Errors
    /// Which check failed.
    pub fn check(&self, claim: &SignatureClaim, body: &[u8], fetched: &FetchedKeys) -> Result<Option<usize>, Mismatch> {
        let body = claim.body(body, self.format);
        let mut wrong = None;
        for it in &claim.claims {
            match self.proofs[it.proof].check(it, &body, claim.received_at, fetched) {
                Ok(Some(secret)) => return Ok(secret),
                Ok(None) => {
                    let mismatch = self.mismatch(&self.proofs[it.proof].proof);
                    wrong = Some(nearer(wrong, mismatch));
                }
                Err(mismatch) => wrong = Some(nearer(wrong, mismatch)),
            }
        }
        Err(wrong.unwrap_or_else(|| Mismatch::Missing { header: "with a signature".into() }))
    }

    fn mismatch(&self, proof: &Proof) -> Mismatch {
        let place = match &proof.at.source {
            ValueSource::Header(name) => name.clone(),
            other => other.to_string(),
        };
        match proof.kind {
            ProofKind::Token => Mismatch::Token { place: proof.at.source.to_string() },
            ProofKind::Jwt { .. } => {
                Mismatch::Jwt { place: proof.at.source.to_string(), cause: "no key matches its signature" }
            }
            _ => Mismatch::Wrong {
                header: place,
                secrets: self.secrets,
                signs_url: proof.text.contains(&super::text::Piece::Url),
            },
        }
    }
}

/// Of two causes, returns the one of the proof that the sender probably meant: a value that is wrong rather than missing.
fn nearer(before: Option<Mismatch>, now: Mismatch) -> Mismatch {
    let rank = |it: &Mismatch| match it {
        // The proof is for deliveries of another form.
        Mismatch::Present { .. } => 0,
        Mismatch::Missing { .. } | Mismatch::Absent { .. } => 1,
        Mismatch::Malformed { .. } | Mismatch::Unreadable { .. } => 2,
        _ => 3,
    };
    match before {
        Some(before) if rank(&before) >= rank(&now) => before,
        _ => now,
    }
}
