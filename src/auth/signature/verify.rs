//! Verifies the signature of a delivery: reads the claims of its headers first, and then checks them against the body.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use subtle::ConstantTimeEq as _;

use super::delivery::{Delivery, Mismatch};
use super::digest::digest;
use super::form;
use super::jwt::{HEADER_TOKEN_MAX, Token};
use super::keys::{FetchedKeys, ProofKey, token};
use super::proof::{Clock, KeysFrom, Notation, Proof, ProofKind, SIGNATURES_MAX, TimeUnit};
use super::public_key::Signing;
use super::source::{BodyHints, SentBody, ValueSource, as_text};
use super::text::{Piece, SenderSettings};
use crate::format::payload::DeclaredFormat;
use crate::model::headers::content_type;
use crate::model::secret::Secret;

/// Maximum number of verifications with public keys per delivery. Each one hashes the body again.
pub(in crate::auth) const VERIFICATIONS_MAX: usize = 8;
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

#[derive(Debug, Clone)]
struct KeyedProof {
    proof: Arc<Proof>,
    /// The keys, and to which secret they belong.
    keys: Vec<(usize, ProofKey)>,
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

/// One proof's claim.
#[derive(Debug)]
struct ProofClaim {
    proof: usize,
    /// Signatures, decoded, or tokens as text; empty until the body has arrived, if they are in it.
    candidates: Vec<Vec<u8>>,
    /// The value that they were read from, if a time in the body's value is needed later.
    time: Option<String>,
    id: String,
    /// Values of the pieces of the text that do not depend on the body.
    early: Vec<Option<String>>,
    body_hash: Option<String>,
    key_url: Option<String>,
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

    /// Returns whether this header (in lower case) contains a signature or a token.
    #[must_use]
    pub fn is_in(&self, header: &str) -> bool {
        self.proofs.iter().any(|it| matches!(&it.proof.at.source, ValueSource::Header(name) if name == header))
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
                content_type: content_type(delivery.headers),
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
            _ => Mismatch::Wrong { header: place, secrets: self.secrets },
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

impl KeyedProof {
    fn claim(&self, index: usize, delivery: &Delivery<'_>, settings: &SenderSettings) -> Result<ProofClaim, Mismatch> {
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
    fn wanted(&self, claim: &ProofClaim, body: &SentBody<'_>) -> Result<Option<WantedKey>, Mismatch> {
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
    fn candidates(&self, value: &str) -> Result<Vec<Vec<u8>>, Mismatch> {
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
    fn every_token(&self, values: &[Cow<'_, str>]) -> Result<Option<Option<usize>>, Mismatch> {
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
    fn token(&self, candidates: &[Vec<u8>]) -> Option<usize> {
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

    /// Returns the number of the secret that matches; `Some(None)` if a fetched key does, and `None` if nothing does.
    fn check(
        &self,
        claim: &ProofClaim,
        body: &SentBody<'_>,
        now: DateTime<Utc>,
        fetched: &FetchedKeys,
    ) -> Result<Option<Option<usize>>, Mismatch> {
        let proof = &*self.proof;
        proof.is_not_absent(body)?;
        if let (ProofKind::Token, ValueSource::Body(pointer)) = (&proof.kind, &proof.at.source)
            && pointer.contains("/*")
        {
            return self.every_token(&body.all_at(pointer));
        }
        let late = match &proof.at.source {
            source @ ValueSource::Body(pointer) => Some(body.at(pointer).ok_or_else(|| source.missing())?),
            _ => None,
        };
        let read = late.as_deref().map(|it| self.candidates(it)).transpose()?;
        let candidates = read.as_deref().unwrap_or(&claim.candidates);
        match &proof.kind {
            ProofKind::Token => Ok(self.token(candidates).map(Some)),
            ProofKind::Jwt { .. } => self.check_tokens(candidates, claim, body, now, fetched),
            _ => {
                let time = self.late_time(claim, body, late.as_deref(), now)?;
                let id = match &proof.id {
                    Some(source @ ValueSource::Body(pointer)) => body.at(pointer).ok_or_else(|| source.missing())?,
                    _ => Cow::Borrowed(claim.id.as_str()),
                };
                if let Some(hash) = &proof.body_hash {
                    let sent = match (&hash.source, &claim.body_hash) {
                        (ValueSource::Body(pointer), _) => body.at(pointer),
                        (_, sent) => sent.as_deref().map(Cow::Borrowed),
                    };
                    hash.check(sent.as_deref(), body.bytes())?;
                }
                let signs = |piece| proof.text.contains(&piece);
                if signs(Piece::FormSorted) && !signs(Piece::Body) && !signs(Piece::FilesSha1) && form::has_files(body)
                {
                    let cause = "it has files, which this sender does not sign";
                    return Err(Mismatch::Unreadable { place: "the body".into(), cause });
                }
                let text = Text { claim, time: &time, id: &id }.of(&proof.text, 0, body)?;
                Ok(self.matches(&text, candidates, fetched))
            }
        }
    }

    fn late_time<'a>(
        &self,
        claim: &'a ProofClaim,
        body: &'a SentBody<'_>,
        value: Option<&'a str>,
        now: DateTime<Utc>,
    ) -> Result<Cow<'a, str>, Mismatch> {
        let proof = &*self.proof;
        let (Some(clock), None) = (&proof.time, &claim.time) else {
            return Ok(Cow::Borrowed(claim.time.as_deref().unwrap_or_default()));
        };
        let source = clock.source(&proof.at);
        let text = match (source, value) {
            (ValueSource::Body(pointer), None) => body.at(pointer).ok_or_else(|| source.missing())?,
            (ValueSource::Body(pointer), Some(_)) if source != &proof.at.source => {
                body.at(pointer).ok_or_else(|| source.missing())?
            }
            (_, Some(value)) => Cow::Owned(clock.entry(&proof.at, value)?.to_owned()),
            (_, None) => return Err(source.missing()),
        };
        clock.check(&text, source, now)?;
        Ok(text)
    }

    fn matches(&self, text: &[Cow<'_, [u8]>], candidates: &[Vec<u8>], fetched: &FetchedKeys) -> Option<Option<usize>> {
        let pieces = || text.iter().map(|it| &**it);
        match &self.proof.kind {
            ProofKind::Hmac(_) => {
                let fits = |(secret, key): &(usize, ProofKey)| match key {
                    ProofKey::Hmac(key) => key.fits_one(pieces(), candidates).then_some(Some(*secret)),
                    _ => None,
                };
                self.keys.iter().find_map(fits)
            }
            ProofKind::Digest(algorithm) => self.keys.iter().find_map(|(secret, key)| {
                let ProofKey::Text(text) = key else { return None };
                let secret_piece = |(piece, it): (&Piece, &_)| -> Vec<u8> {
                    if *piece == Piece::Secret {
                        text.expose().as_bytes().to_vec()
                    } else {
                        <Cow<'_, [u8]>>::clone(it).into_owned()
                    }
                };
                let parts: Vec<_> = self
                    .proof
                    .text
                    .iter()
                    .zip(self.text_pieces(pieces()))
                    .map(|(a, b)| secret_piece((a, &b)))
                    .collect();
                let right = digest(*algorithm, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
                let fits = candidates.iter().fold(false, |fits, it| fits | bool::from(it.ct_eq(&right)));
                fits.then_some(Some(*secret))
            }),
            ProofKind::Signed(signing) => {
                let message = text.concat();
                self.verified(*signing, &message, candidates, None, fetched)
            }
            ProofKind::Jwt { .. } | ProofKind::Token => None,
        }
    }

    fn text_pieces<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Cow<'a, [u8]>> {
        pieces.map(Cow::Borrowed).collect()
    }

    fn verified(
        &self,
        signing: Signing,
        message: &[u8],
        candidates: &[Vec<u8>],
        key_id: Option<&str>,
        fetched: &FetchedKeys,
    ) -> Option<Option<usize>> {
        let fits = |key: &super::public_key::PublicKey| candidates.iter().any(|it| key.fits(signing, message, it));
        if let Some(from) = &self.proof.keys_from {
            let named = |id: &Option<String>| key_id.is_none() || id.is_none() || id.as_deref() == key_id;
            let keys = fetched.of(from).iter().filter(|it| named(&it.id)).take(VERIFICATIONS_MAX);
            return { keys }.any(|it| fits(&it.key)).then_some(None);
        }
        self.keys.iter().find_map(|(secret, key)| match key {
            ProofKey::Public(key) => fits(key).then_some(Some(*secret)),
            _ => None,
        })
    }

    fn check_tokens(
        &self,
        candidates: &[Vec<u8>],
        claim: &ProofClaim,
        body: &SentBody<'_>,
        now: DateTime<Utc>,
        fetched: &FetchedKeys,
    ) -> Result<Option<Option<usize>>, Mismatch> {
        let place = || self.proof.at.source.to_string();
        let wrong = |cause| Mismatch::Jwt { place: place(), cause };
        let ProofKind::Jwt { algorithm, claims: required } = &self.proof.kind else { return Ok(None) };
        for candidate in candidates.iter().filter_map(|it| std::str::from_utf8(it).ok()) {
            let token = match Token::parse(candidate).and_then(|it| it.is_signed_with(*algorithm).map(|()| it)) {
                Ok(token) => token,
                Err(cause) if candidates.len() == 1 => return Err(wrong(cause)),
                Err(_) => continue,
            };
            let signature = std::slice::from_ref(&token.signature);
            let matches = match algorithm.signing() {
                Some(signing) => {
                    self.verified(signing, token.signed.as_bytes(), signature, token.key_id.as_deref(), fetched)
                }
                None => self.keys.iter().find_map(|(secret, key)| match key {
                    ProofKey::Hmac(key) => {
                        key.fits_one(std::iter::once(token.signed.as_bytes()), signature).then_some(Some(*secret))
                    }
                    _ => None,
                }),
            };
            let Some(secret) = matches else { continue };
            let claims = token.valid_claims(now).map_err(wrong)?;
            let at = |pointer: &str| claims.pointer(pointer).and_then(as_text);
            if let Some(clock) = &self.proof.time {
                let source = clock.source(&self.proof.at);
                let ValueSource::Claim(pointer) = source else { return Err(source.missing()) };
                let text = at(pointer).ok_or_else(|| source.missing())?;
                // A Unix time may have fractions of a second.
                let whole =
                    if clock.unit == TimeUnit::Rfc3339 { &*text } else { text.split('.').next().unwrap_or_default() };
                clock.check(whole, source, now)?;
            }
            let mut done = self.proof.text.len();
            for (pointer, template) in required {
                let wanted = Text { claim, time: "", id: "" }.of(template, done, body)?.concat();
                done += template.len();
                if !holds(claims.pointer(pointer), &wanted) {
                    return Err(Mismatch::Jwt {
                        place: ValueSource::Claim(pointer.clone()).to_string(),
                        cause: "it has not the required value",
                    });
                }
            }
            if let Some(hash) = &self.proof.body_hash {
                let sent = match &hash.source {
                    ValueSource::Claim(pointer) => at(pointer),
                    _ => claim.body_hash.as_deref().map(Cow::Borrowed),
                };
                hash.check(sent.as_deref(), body.bytes())?;
            }
            return Ok(Some(secret));
        }
        Ok(None)
    }
}

/// Returns whether a claim has this text, or is a list with it.
fn holds(claim: Option<&serde_json::Value>, wanted: &[u8]) -> bool {
    let is = |it: &serde_json::Value| as_text(it).is_some_and(|it| it.as_bytes() == wanted);
    match claim {
        Some(serde_json::Value::Array(all)) => all.iter().any(is),
        Some(one) => is(one),
        None => false,
    }
}

/// What the signed text consists of, apart from the body.
struct Text<'a> {
    claim: &'a ProofClaim,
    time: &'a str,
    id: &'a str,
}

impl<'a> Text<'a> {
    /// Returns the values of pieces. `skip` is the number of the proof's pieces before these.
    fn of(&self, pieces: &'a [Piece], skip: usize, body: &'a SentBody<'_>) -> Result<Vec<Cow<'a, [u8]>>, Mismatch> {
        let early = self.claim.early.iter().skip(skip);
        pieces
            .iter()
            .zip(early)
            .map(|(piece, early)| match (piece, early) {
                (_, Some(value)) => Ok(Cow::Borrowed(value.as_bytes())),
                (Piece::Body, _) => Ok(Cow::Borrowed(body.bytes())),
                (Piece::Time, _) => Ok(Cow::Borrowed(self.time.as_bytes())),
                (Piece::Id, _) => Ok(Cow::Borrowed(self.id.as_bytes())),
                (piece, _) => piece.late(body),
            })
            .collect()
    }
}

impl super::proof::BodyHash {
    /// Checks that this is the body's digest.
    fn check(&self, sent: Option<&str>, body: &[u8]) -> Result<(), Mismatch> {
        let sent = sent.ok_or_else(|| self.source.missing())?.trim();
        let sent = sent.strip_prefix(self.prefix.as_str()).and_then(|it| self.encoding.decode(it));
        let sent = sent.ok_or_else(|| self.source.malformed("it is not a digest"))?;
        if bool::from(sent.ct_eq(&digest(self.algorithm, &[body]))) {
            Ok(())
        } else {
            Err(Mismatch::BodyHash { place: self.source.to_string() })
        }
    }
}

impl Proof {
    /// Checks that the body has nothing that only other deliveries have.
    fn is_not_absent(&self, body: &SentBody<'_>) -> Result<(), Mismatch> {
        let in_body = |it: &ValueSource| matches!(it, ValueSource::Body(pointer) if !pointer.is_empty());
        if self.absent.iter().any(in_body) && body.value().is_none() {
            return Err(Mismatch::Unreadable { place: "the body".into(), cause: "its values cannot be looked up" });
        }
        let is_there = |it: &&ValueSource| matches!(it, ValueSource::Body(pointer) if body.has(pointer));
        match self.absent.iter().find(is_there) {
            Some(source) => Err(Mismatch::Present { place: source.to_string() }),
            None => Ok(()),
        }
    }

    /// Returns whether checking it parses the body.
    fn needs_parsing(&self) -> bool {
        let in_body = |it: &ValueSource| matches!(it, ValueSource::Body(pointer) if !pointer.is_empty());
        let piece = |it: &Piece| match it {
            Piece::FormSorted | Piece::FilesSha1 => true,
            Piece::From(source) => in_body(source),
            _ => false,
        };
        let clock = |it: &Clock| in_body(it.source(&self.at));
        in_body(&self.at.source)
            || self.pieces().any(piece)
            || self.time.as_ref().is_some_and(clock)
            || self.id.as_ref().is_some_and(in_body)
            || self.absent.iter().any(in_body)
            || matches!(&self.at.written, Notation::Pairs { .. } if in_body(&self.at.source))
    }
}
