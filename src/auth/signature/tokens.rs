//! Checks JSON Web Tokens: their signature, and that their claims are about this delivery.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::check::SignedText;
use super::claim::{KeyedProof, ProofClaim};
use super::delivery::Mismatch;
use super::jwt::Token;
use super::keys::{FetchedKeys, ProofKey};
use super::proof::{ProofKind, TimeUnit};
use super::source::{SentBody, ValueSource, as_text};

impl KeyedProof {
    /// Returns the number of the secret that has signed a valid token, as [`KeyedProof::check`] does.
    pub(super) fn check_tokens(
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
                let wanted = SignedText { claim, time: "", id: "" }.of(template, done, body)?.concat();
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
fn holds(claim: Option<&Value>, wanted: &[u8]) -> bool {
    let is = |it: &Value| as_text(it).is_some_and(|it| it.as_bytes() == wanted);
    match claim {
        Some(Value::Array(all)) => all.iter().any(is),
        Some(one) => is(one),
        None => false,
    }
}
