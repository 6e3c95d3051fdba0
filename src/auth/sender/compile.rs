//! From a sender's file to what is used at run time. Rules that a schema cannot express are checked here.

use std::sync::Arc;

use chrono::TimeDelta;

use super::description::{DeclaredProof, Sender};
use super::file::{
    BodyHashTable, EcdsaFormat, JwtAlgorithmName, KeysTable, PlaceTable, ProofKindName, ProofTable, SenderTable,
    SourceTable, TimeTable, one_of, source,
};
use super::handshake::Handshake;
use super::rules::{hides_credentials, id, keep_apart, no_oracle, unmixed};
use crate::auth::signature::ValueSource;
use crate::auth::signature::hmac::Algorithm;
use crate::auth::signature::jwt::JwtAlgorithm;
use crate::auth::signature::proof::{
    BodyHash, Clock, ClockPlace, KeyFormat, KeysFrom, Notation, Proof, ProofKind, SignaturePlace,
};
use crate::auth::signature::public_key::Signing;
use crate::auth::signature::text::{Piece, pieces};

impl ProofTable {
    pub(super) fn declared(&self) -> Result<DeclaredProof, String> {
        let plain = match self.kind {
            ProofKindName::Basic => Some(DeclaredProof::Basic),
            ProofKindName::UrlSecret => Some(DeclaredProof::UrlSecret),
            ProofKindName::ApiKey => Some(DeclaredProof::ApiKey),
            _ => None,
        };
        match plain {
            Some(declared) => Ok(declared),
            None => self
                .proof()
                .map(|it| DeclaredProof::Checked(Arc::new(it)))
                .map_err(|cause| format!("{}: {cause}", self.own_name())),
        }
    }

    pub(super) fn own_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            match self.kind {
                ProofKindName::Hmac => "hmac",
                ProofKindName::Digest => "digest",
                ProofKindName::Ed25519 => "ed25519",
                ProofKindName::EcdsaP256 => "ecdsa-p256",
                ProofKindName::Rsa => "rsa",
                ProofKindName::Jwt => "jwt",
                ProofKindName::Token => "token",
                ProofKindName::Basic => "basic",
                ProofKindName::UrlSecret => "url-secret",
                ProofKindName::ApiKey => "api-key",
            }
            .to_owned()
        })
    }

    fn proof(&self) -> Result<Proof, String> {
        let at = self.at.as_ref().ok_or("at: is required")?;
        let time = self.time.as_ref().map(TimeTable::clock).transpose()?;
        if self.kind == ProofKindName::Token && self.text.is_some() {
            return Err("text: a token signs nothing; remove it".into());
        }
        let text =
            pieces(self.text.as_deref().unwrap_or(if self.kind == ProofKindName::Token { "" } else { "{body}" }))?;
        let kind = self.kind()?;
        let proof = Proof {
            name: self.own_name(),
            text: if matches!(kind, ProofKind::Jwt { .. } | ProofKind::Token) { Vec::new() } else { text },
            kind,
            at: at.place()?,
            encoding: self.encoding,
            time,
            id: self.id.as_ref().map(source).transpose()?,
            body_hash: self.body_hash.as_ref().map(BodyHashTable::hash).transpose()?,
            absent: self.absent.iter().map(source).collect::<Result<_, _>>()?,
            key: KeyFormat { encoding: self.key, strip: self.strip.clone(), required: self.key_prefix.clone() },
            keys_from: self.keys.as_ref().map(KeysTable::from).transpose()?.map(Arc::new),
        };
        self.is_sound(&proof)?;
        Ok(proof)
    }

    fn kind(&self) -> Result<ProofKind, String> {
        Ok(match self.kind {
            ProofKindName::Hmac => ProofKind::Hmac(self.hash),
            ProofKindName::Digest => ProofKind::Digest(self.hash),
            ProofKindName::Ed25519 => ProofKind::Signed(Signing::Ed25519),
            ProofKindName::EcdsaP256 if self.hash != Algorithm::Sha256 => return Err("hash: must be sha256".into()),
            ProofKindName::EcdsaP256 => ProofKind::Signed(match self.format {
                EcdsaFormat::Der => Signing::EcdsaDer,
                EcdsaFormat::Raw => Signing::EcdsaRaw,
            }),
            ProofKindName::Rsa => ProofKind::Signed(Signing::Rsa(self.hash)),
            ProofKindName::Jwt if self.alg == Some(JwtAlgorithmName::HS256) && self.keys.is_some() => {
                return Err("keys: HS256 uses a shared secret; remove keys, or use RS256 or ES256".into());
            }
            ProofKindName::Jwt => ProofKind::Jwt {
                algorithm: match self.alg.ok_or("alg: is required")? {
                    JwtAlgorithmName::HS256 => JwtAlgorithm::Hs256,
                    JwtAlgorithmName::RS256 => JwtAlgorithm::Rs256,
                    JwtAlgorithmName::ES256 => JwtAlgorithm::Es256,
                },
                claims: self
                    .claims
                    .iter()
                    .map(|(name, it)| Ok((name.clone(), pieces(it)?)))
                    .collect::<Result<_, String>>()?,
            },
            ProofKindName::Token | ProofKindName::Basic | ProofKindName::UrlSecret | ProofKindName::ApiKey => {
                ProofKind::Token
            }
        })
    }

    /// Checks that nothing that is trusted could be changed by others.
    fn is_sound(&self, proof: &Proof) -> Result<(), String> {
        let has = |piece: &Piece| proof.text.contains(piece);
        let is_jwt = matches!(proof.kind, ProofKind::Jwt { .. });
        if proof.is_over_text() {
            if proof.time.is_some() != has(&Piece::Time) && !self.time_is_signed(proof) {
                return Err("text: must contain {time} if there is a time, and only then; otherwise anybody could change the time".into());
            }
            if proof.id.is_some() != has(&Piece::Id) {
                return Err("text: use {id} and id together".into());
            }
        }
        if let (Some(Clock { place: ClockPlace::In(time), .. }), Some(id)) = (&proof.time, &proof.id)
            && time == id
        {
            return Err("id: is the time, which is not an id".into());
        }
        if let (Some(Clock { place: ClockPlace::In(ValueSource::Claim(_)), .. }), false) = (&proof.time, is_jwt) {
            return Err("time: only a JWT has claims".into());
        }
        let is_digest = matches!(proof.kind, ProofKind::Digest(_));
        let in_claims = is_jwt && proof.pieces().any(|it| *it == Piece::Secret);
        if is_digest != has(&Piece::Secret) || in_claims {
            return Err("text: a digest needs {secret}, and nothing else may contain it".into());
        }
        if let Some(hash) = &proof.body_hash
            && !self.hash_is_signed(proof, &hash.source)
        {
            return Err("body_hash: must itself be signed: put its place into the text".into());
        }
        if proof.absent.iter().any(|it| matches!(it, ValueSource::Claim(_))) {
            return Err("absent: use headers, the query and the body".into());
        }
        if let (ProofKind::Jwt { claims, .. }, Some(KeysFrom::Jwks(_))) = (&proof.kind, proof.keys_from.as_deref()) {
            let is_ours = claims.values().flatten().any(|it| matches!(it, Piece::Setting(_) | Piece::Url));
            if !is_ours && proof.body_hash.is_none() {
                return Err("claims: one must equal a setting, such as \"/aud\" = \"{setting:audience}\", or tokens for others would pass".into());
            }
        }
        if matches!(proof.kind, ProofKind::Token) && (proof.time.is_some() || proof.body_hash.is_some()) {
            return Err("a token signs nothing: remove time and body_hash".into());
        }
        Ok(())
    }

    /// A time in the body is signed with the body; one in the query with the URL.
    fn time_is_signed(&self, proof: &Proof) -> bool {
        match proof.time.as_ref().map(|it| &it.place) {
            Some(ClockPlace::In(source)) => self.is_signed(proof, source),
            _ => false,
        }
    }

    fn hash_is_signed(&self, proof: &Proof, source: &ValueSource) -> bool {
        matches!((source, &proof.kind), (ValueSource::Claim(_), ProofKind::Jwt { .. })) || self.is_signed(proof, source)
    }

    fn is_signed(&self, proof: &Proof, source: &ValueSource) -> bool {
        let covers = |piece: &Piece| match (piece, source) {
            (Piece::From(it), _) => it == source,
            (Piece::Body, ValueSource::Body(_)) | (Piece::Url | Piece::Query, ValueSource::Query(_)) => true,
            _ => false,
        };
        proof.is_over_text() && proof.text.iter().any(covers)
    }
}

impl PlaceTable {
    fn place(&self) -> Result<SignaturePlace, String> {
        let source = one_of([
            self.header.as_ref().map(|it| ValueSource::Header(it.to_ascii_lowercase())),
            self.query.clone().map(ValueSource::Query),
            self.body.clone().map(ValueSource::Body),
            None,
        ])
        .map_err(|cause| format!("at: {cause}"))?;
        let written = match (&self.split, &self.pair, &self.take) {
            (None, None, None) => Notation::Whole { prefix: self.prefix.clone() },
            (Some(separator), None, None) => {
                Notation::List { separator: separator.clone(), prefix: self.prefix.clone() }
            }
            (Some(separator), Some(pair), Some(name)) if self.prefix.is_empty() => {
                Notation::Pairs { separator: separator.clone(), pair: pair.clone(), name: name.clone() }
            }
            _ => return Err("at: use split alone, or split, pair and take together and no prefix".into()),
        };
        Ok(SignaturePlace { source, written })
    }
}

impl TimeTable {
    fn clock(&self) -> Result<Clock, String> {
        let table = SourceTable {
            header: self.header.clone(),
            query: self.query.clone(),
            body: self.body.clone(),
            claim: self.claim.clone(),
        };
        let place = match &self.take {
            Some(name) => ClockPlace::Entry(name.clone()),
            None => ClockPlace::In(source(&table).map_err(|cause| format!("time: {cause}, or take"))?),
        };
        Ok(Clock { place, unit: self.unit, tolerance: TimeDelta::seconds(self.tolerance_seconds.into()) })
    }
}

impl BodyHashTable {
    fn hash(&self) -> Result<BodyHash, String> {
        let table = SourceTable {
            header: self.header.clone(),
            query: self.query.clone(),
            body: self.body.clone(),
            claim: self.claim.clone(),
        };
        let source = source(&table).map_err(|cause| format!("body_hash: {cause}"))?;
        Ok(BodyHash { source, prefix: self.prefix.clone(), algorithm: self.hash, encoding: self.encoding })
    }
}

impl KeysTable {
    fn from(&self) -> Result<KeysFrom, String> {
        if let Some(url) = self.jwks.iter().chain(&self.jwk_post).find(|it| !is_private(it)) {
            return Err(format!("keys: {url} must begin with https://, or anybody on the way could replace the keys"));
        }
        match (&self.jwks, &self.certificate, &self.jwk_post) {
            (Some(url), None, None) => Ok(KeysFrom::Jwks(url.clone())),
            (None, Some(place), None) if !self.hosts.is_empty() => {
                Ok(KeysFrom::Certificate { source: source(place)?, hosts: self.hosts.clone() })
            }
            (None, Some(_), None) => Err("keys: a certificate needs hosts".into()),
            (None, None, Some(url)) => Ok(KeysFrom::Post {
                url: url.clone(),
                send: self.send.iter().map(|(name, it)| (name.clone(), it.clone())).collect(),
                pointer: self.jwk.clone(),
            }),
            _ => Err("keys: name one of jwks, certificate and jwk_post".into()),
        }
    }
}

/// Whether nobody on the way can change what a URL returns.
fn is_private(url: &str) -> bool {
    let host = url.parse::<hyper::Uri>().ok().and_then(|it| it.host().map(str::to_owned));
    url.starts_with("https://") || host.is_some_and(|it| ["localhost", "127.0.0.1", "[::1]"].contains(&it.as_str()))
}

impl SenderTable {
    /// Makes a sender of the file, and checks its rules except for the vectors.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub(super) fn compile(self) -> Result<Sender, String> {
        let mut proofs = Vec::new();
        for table in &self.proof {
            let (name, declared) = (table.own_name(), table.declared().map_err(|cause| format!("proof {cause}"))?);
            if proofs.iter().any(|(it, _)| *it == name) {
                return Err(format!("proof: two have the name \"{name}\""));
            }
            if let DeclaredProof::Checked(proof) = &declared {
                let is_covered = proof.covers_body() || self.body.signed_only || proof.kind == ProofKind::Token;
                if !is_covered && !table.body_unsigned {
                    return Err(format!(
                        "proof {name}: text must contain {{body}} or a digest of it, or anybody could change the body; if the sender signs nothing else, set body_unsigned = true, and it is shown as weak"
                    ));
                }
            }
            proofs.push((name, declared));
        }
        unmixed(&proofs)?;
        hides_credentials(&self.delivery.headers, &proofs)?;
        let is_token =
            |it: &(String, DeclaredProof)| matches!(&it.1, DeclaredProof::Checked(it) if it.kind == ProofKind::Token);
        if self.body.signed_only && proofs.iter().all(is_token) {
            return Err("body.signed_only: a token signs no members; remove it".into());
        }
        if self.body.signed_only {
            keep_apart(&mut proofs);
        }
        let ids = self.delivery.id.iter().map(id).collect::<Result<Vec<_>, _>>()?;
        for (_, declared) in &proofs {
            if let DeclaredProof::Checked(proof) = declared
                && let Some(Clock { place: ClockPlace::In(time), .. }) = &proof.time
                && ids.iter().any(|it| it.0 == [time.clone()])
            {
                return Err(format!("delivery.id: {time} is the time of signing, which is not an id"));
            }
        }
        let handshakes = self.handshake.iter().map(Handshake::of).collect::<Result<Vec<_>, _>>()?;
        no_oracle(&proofs, &handshakes)?;
        Sender::new(self, proofs, ids, handshakes)
    }
}
