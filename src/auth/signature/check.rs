//! Checks one proof's claim against the body.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;

use super::claim::{KeyedProof, ProofClaim, VERIFICATIONS_MAX};
use super::delivery::Mismatch;
use super::digest::digest;
use super::form;
use super::keys::{FetchedKeys, ProofKey};
use super::proof::{BodyHash, Clock, Notation, Proof, ProofKind};
use super::public_key::{PublicKey, Signing};
use super::source::{SentBody, ValueSource};
use super::text::Piece;

impl KeyedProof {
    /// Returns the number of the secret that matches; `Some(None)` if a fetched key does, and `None` if nothing does.
    pub(super) fn check(
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
                let text = SignedText { claim, time: &time, id: &id }.of(&proof.text, 0, body)?;
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
                let ProofKey::Text(own) = key else { return None };
                let part =
                    |(piece, it): (&Piece, _)| if *piece == Piece::Secret { own.expose().as_bytes() } else { it };
                let parts: Vec<&[u8]> = self.proof.text.iter().zip(pieces()).map(part).collect();
                let right = digest(*algorithm, &parts);
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

    /// Returns whether one of the keys has signed the message.
    pub(super) fn verified(
        &self,
        signing: Signing,
        message: &[u8],
        candidates: &[Vec<u8>],
        key_id: Option<&str>,
        fetched: &FetchedKeys,
    ) -> Option<Option<usize>> {
        let fits = |key: &PublicKey| candidates.iter().any(|it| key.fits(signing, message, it));
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
}

/// What the signed text consists of, apart from the body.
pub(super) struct SignedText<'a> {
    pub(super) claim: &'a ProofClaim,
    pub(super) time: &'a str,
    pub(super) id: &'a str,
}

impl<'a> SignedText<'a> {
    /// Returns the values of pieces. `skip` is the number of the proof's pieces before these.
    pub(super) fn of(
        &self,
        pieces: &'a [Piece],
        skip: usize,
        body: &'a SentBody<'_>,
    ) -> Result<Vec<Cow<'a, [u8]>>, Mismatch> {
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

impl BodyHash {
    /// Checks that this is the body's digest.
    pub(super) fn check(&self, sent: Option<&str>, body: &[u8]) -> Result<(), Mismatch> {
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
    pub(super) fn is_not_absent(&self, body: &SentBody<'_>) -> Result<(), Mismatch> {
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
    pub(super) fn needs_parsing(&self) -> bool {
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
