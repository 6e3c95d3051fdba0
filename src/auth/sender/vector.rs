//! Runs a sender file's test vectors. Each must pass, and must fail once anything that is signed is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::description::{Chosen, DeclaredProof, Sender};
use super::file::VectorTable;
use super::handshake::{Handshake, HandshakeProof};
use super::vector_keys::{fetched, signature};
use crate::auth::error::AuthError;
use crate::auth::password::Passwords;
use crate::auth::signature::proof::{ClockPlace, Notation};
use crate::auth::signature::text::Piece;
use crate::auth::signature::{BodyHints, Delivery, FetchedKeys, Mismatch, Proof, SentBody, Signature, ValueSource};
use crate::format::payload::DeclaredFormat;
use crate::model::secret::Secret;

/// A vector as a request.
#[derive(Clone)]
struct VectorRequest {
    at: DateTime<Utc>,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The format that the file names.
    format: Option<DeclaredFormat>,
}

impl Sender {
    /// Runs all vectors.
    ///
    /// # Errors
    /// Which vector does not pass, which proof or handshake has none, or which change is not noticed.
    pub(super) fn test(&self) -> Result<(), String> {
        for (index, vector) in self.vectors.iter().enumerate() {
            self.run(vector).map_err(|cause| format!("vector {}: {cause}", index + 1))?;
        }
        // A question that is signed proves the proof as well.
        let is_signed =
            |name: &str| self.handshakes.iter().any(|it| it.name == name && it.proof == HandshakeProof::Signed);
        let checks = |it: &VectorTable| it.handshake.as_deref().is_none_or(is_signed);
        let proven = |name: &str| self.vectors.iter().any(|it| checks(it) && self.proof_of(it) == Some(name));
        if let Some((name, _)) = self.proofs.iter().find(|(name, _)| !proven(name)) {
            return Err(format!("vector: the proof \"{name}\" has none; add one"));
        }
        let asked = |name: &str| self.vectors.iter().any(|it| it.handshake.as_deref() == Some(name));
        match self.handshakes.iter().find(|it| !asked(&it.name)) {
            Some(it) => Err(format!("vector: the handshake \"{}\" has none; add one", it.name)),
            None => Ok(()),
        }
    }

    pub(super) fn proof_of<'a>(&'a self, vector: &'a VectorTable) -> Option<&'a str> {
        vector.proof.as_deref().or_else(|| self.proofs.first().map(|(name, _)| name.as_str()))
    }

    pub(super) fn run(&self, vector: &VectorTable) -> Result<(), String> {
        let sent = VectorRequest::of(vector, self.body.format.map(DeclaredFormat::from))?;
        if let Some(name) = &vector.handshake {
            let handshake = self.handshakes.iter().find(|it| it.name == *name);
            return self.ask(handshake.ok_or("names no handshake of this file")?, vector, &sent);
        }
        let name = self.proof_of(vector).unwrap_or_default();
        let (_, declared) = self.proofs.iter().find(|(it, _)| it == name).ok_or("names no proof of this file")?;
        match declared {
            DeclaredProof::Checked(proof) => self.run_proof(proof, vector, &sent),
            DeclaredProof::Basic => basic(vector, &sent),
            DeclaredProof::UrlSecret => url_secret(vector, &sent),
            DeclaredProof::ApiKey => api_key(vector, &sent),
        }
    }

    fn run_proof(&self, proof: &Arc<Proof>, vector: &VectorTable, sent: &VectorRequest) -> Result<(), String> {
        let chosen = Chosen::Checked(vec![Arc::clone(proof)]);
        if vector.secret.is_empty() && proof.keys_from.is_none() {
            return Err("secret: required".into());
        }
        if vector.at.is_none() && chosen.uses_time() {
            return Err("at: required, the time at which it was sent".into());
        }
        let signature = signature(std::iter::once(proof), vector)?.reading(sent.format);
        let fetched = fetched(proof, vector)?;
        let passes = |it: &VectorRequest| it.passes(&signature, &fetched);
        passes(sent).map_err(|cause| format!("does not pass: {cause}"))?;
        for changed in sent.changes(proof, self.signed_members(&chosen).as_deref()) {
            if passes(&changed.sent).is_ok() {
                return Err(format!("still passes with {}", changed.what));
            }
        }
        if let Some(clock) = &proof.time {
            let far = clock.tolerance + chrono::TimeDelta::seconds(2);
            for at in [sent.at + far * 2, sent.at - far * 2] {
                if passes(&VectorRequest { at, ..sent.clone() }).is_ok() {
                    return Err("still passes at another time".into());
                }
            }
        }
        Ok(())
    }

    fn ask(&self, handshake: &Handshake, vector: &VectorTable, sent: &VectorRequest) -> Result<(), String> {
        let headers = sent.header_map().ok_or("has headers that cannot be sent")?;
        let delivery = sent.delivery(&headers);
        let body = sent.sent_body(&headers);
        if !handshake.asks(&delivery, &body) {
            let why = handshake.unmet(&delivery, &body).unwrap_or_else(|| "a value of `has` is missing".to_owned());
            return Err(format!("is not the question \"{}\": {why}", handshake.name));
        }
        let checked: Vec<_> = self.checked().cloned().collect();
        match &handshake.proof {
            HandshakeProof::Signed => {
                let chosen: Vec<_> =
                    checked.iter().filter(|it| vector.proof.as_ref().is_none_or(|name| it.name == *name)).collect();
                let fetched = FetchedKeys(
                    chosen
                        .iter()
                        .map(|it| fetched(it, vector))
                        .collect::<Result<Vec<_>, _>>()?
                        .into_iter()
                        .flat_map(|it| it.0)
                        .collect(),
                );
                let signature = signature(chosen.into_iter(), vector)?.reading(sent.format);
                sent.passes(&signature, &fetched).map_err(|cause| format!("is not proved: {cause}"))?;
            }
            HandshakeProof::Secret { source, name } => {
                let value = handshake.value(source, &delivery, &body);
                if value.as_ref() != vector.secrets.get(name) {
                    return Err(format!("has not the secret \"{name}\""));
                }
            }
            HandshakeProof::None => {}
        }
        let key = self.handshake_key(&Secret::new(vector.secret.clone()));
        let answer = handshake
            .answer(&delivery, &body, key.as_deref())
            .map_err(|cause| format!("cannot be answered: {cause}"))?;
        let Some(wanted) = &vector.answer else { return Err("has no answer to compare with".into()) };
        let json: Option<Value> =
            answer.content_type.filter(|it| it.contains("json")).and_then(|_| serde_json::from_str(&answer.body).ok());
        let text = answer.content_type.filter(|it| it.contains("text")).map(|_| answer.body.clone());
        let got: BTreeMap<_, _> = answer.headers.iter().cloned().collect();
        let headers: BTreeMap<_, _> =
            wanted.headers.iter().map(|(name, it)| (name.to_ascii_lowercase(), it.clone())).collect();
        let differs = if answer.status != wanted.status.unwrap_or(200) {
            Some("status")
        } else if text != wanted.text {
            Some("text")
        } else if json != wanted.json.clone().map(Value::Object) {
            Some("json")
        } else {
            (got != headers).then_some("headers")
        };
        differs.map_or(Ok(()), |it| Err(format!("is answered with something else: `{it}` of its answer differs")))
    }

    /// Returns the key of a handshake's HMACs: the secret as the first proof uses it.
    #[must_use]
    pub fn handshake_key(&self, secret: &Secret) -> Option<Vec<u8>> {
        match self.checked().next() {
            Some(proof) => proof.key.bytes(secret.expose())?.ok(),
            None => Some(secret.expose().as_bytes().to_vec()),
        }
    }
}

/// A vector with one change.
struct ChangedVector {
    what: String,
    sent: VectorRequest,
}

impl VectorRequest {
    fn of(vector: &VectorTable, format: Option<DeclaredFormat>) -> Result<Self, String> {
        let at = match &vector.at {
            Some(at) => DateTime::parse_from_rfc3339(at).map_err(|_| "at must be as in RFC 3339")?.to_utc(),
            None => DateTime::UNIX_EPOCH,
        };
        let body = match &vector.body_base64 {
            Some(text) => BASE64_STANDARD
                .decode(text.split_ascii_whitespace().collect::<String>())
                .map_err(|_| "body_base64 is not base64")?,
            None => vector.body.clone().into_bytes(),
        };
        let (path, query) = vector.url.split_once('?').unwrap_or((&vector.url, ""));
        Ok(Self {
            at,
            method: vector.method.clone().unwrap_or_else(|| "POST".into()),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: vector.headers.iter().map(|(name, it)| (name.to_ascii_lowercase(), it.clone())).collect(),
            body,
            format,
        })
    }

    fn header_map(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
        }
        Some(headers)
    }

    fn delivery<'a>(&'a self, headers: &'a HeaderMap) -> Delivery<'a> {
        Delivery { method: &self.method, path: &self.path, query: &self.query, headers, received_at: self.at }
    }

    fn sent_body<'a>(&'a self, headers: &'a HeaderMap) -> SentBody<'a> {
        let content_type = headers.get("content-type").and_then(|it| it.to_str().ok());
        SentBody::new(&self.body, BodyHints { content_type, coding: None, format: self.format })
    }

    fn passes(&self, signature: &Signature, fetched: &FetchedKeys) -> Result<(), String> {
        let headers = self.header_map().ok_or("it has headers that cannot be sent")?;
        let claim = signature.claim(&self.delivery(&headers)).map_err(|it| it.to_string())?;
        signature.check(&claim, &self.body, fetched).map(drop).map_err(|it| match it {
            // No sender and no proxy is involved.
            Mismatch::Wrong { header, .. } => format!(
                "the signature in {header} does not match; compare `text`, `key`, `strip`, `hash` and `encoding` with the sender's documentation, and the unit of `time`"
            ),
            other => other.to_string(),
        })
    }

    /// Returns the vector with each byte changed that a proof covers.
    fn changes(&self, proof: &Proof, members: Option<&[String]>) -> Vec<ChangedVector> {
        let mut changes = Vec::new();
        let mut named: Vec<&str> = proof.signed_headers().collect();
        if let ValueSource::Header(name) = &proof.at.source {
            named.push(name);
        }
        for (index, (name, value)) in
            self.headers.iter().enumerate().filter(|(_, (name, _))| named.contains(&name.as_str()))
        {
            let spans = match (&proof.at.written, &proof.at.source) {
                (Notation::Pairs { name: entry, .. }, ValueSource::Header(it)) if it == name => {
                    let time = match proof.time.as_ref().map(|it| &it.place) {
                        Some(ClockPlace::Entry(time)) => Some(proof.at.entries(value, time)),
                        _ => None,
                    };
                    spans(value, proof.at.entries(value, entry).chain(time.into_iter().flatten()))
                }
                _ => spans(value, std::iter::once(value.as_str())),
            };
            for at in spans.into_iter().flatten() {
                let mut changed = self.clone();
                changed.headers[index].1 = flipped(value, at);
                changes.push(ChangedVector {
                    what: format!("byte {} of the header {name} changed", at + 1),
                    sent: changed,
                });
            }
            let mut without = self.clone();
            without.headers.remove(index);
            changes.push(ChangedVector { what: format!("no header {name}"), sent: without });
        }
        changes.extend(self.changed_queries(proof));
        let seen = self.seen(proof, members);
        for at in 0..self.body.len() {
            let mut changed = self.clone();
            changed.body[at] ^= 1;
            // What the proof and the mapper see is the same, such as the letter case of %2a in a form.
            if changed.seen(proof, members) != seen {
                changes.push(ChangedVector { what: format!("byte {} of the body changed", at + 1), sent: changed });
            }
        }
        changes
    }

    /// Returns the vector with each byte of a signed parameter changed.
    fn changed_queries(&self, proof: &Proof) -> Vec<ChangedVector> {
        let mut names: Vec<&str> = proof.signed_parameters().collect();
        if let ValueSource::Query(name) = &proof.at.source {
            names.push(name);
        }
        let is_whole = proof.pieces().any(|it| matches!(it, Piece::Url | Piece::Query));
        let mut changes = Vec::new();
        let mut start = 0;
        for pair in self.query.split('&') {
            let name = pair.split('=').next().unwrap_or_default();
            if is_whole || names.contains(&name) {
                let from = if is_whole { start } else { start + (name.len() + 1).min(pair.len()) };
                for at in from..start + pair.len() {
                    let sent = VectorRequest { query: flipped(&self.query, at), ..self.clone() };
                    changes.push(ChangedVector { what: format!("byte {} of the query changed", at + 1), sent });
                }
            }
            start += pair.len() + 1;
        }
        changes
    }

    /// Returns what the proof covers of the body: all of it, its decoded form, or single members.
    fn seen(&self, proof: &Proof, members: Option<&[String]>) -> Vec<Option<String>> {
        let Some(headers) = self.header_map() else { return Vec::new() };
        let body = self.sent_body(&headers);
        let whole = || {
            Some(String::from_utf8_lossy(&self.body).into_owned())
                .filter(|_| std::str::from_utf8(&self.body).is_ok())
                .or_else(|| Some(BASE64_STANDARD.encode(&self.body)))
        };
        if let Some(members) = members {
            return members.iter().map(|it| body.at(it).map(Into::into)).collect();
        }
        if !proof.covers_body() {
            let pointers = proof
                .pieces()
                .filter_map(|it| if let Piece::From(ValueSource::Body(pointer)) = it { Some(pointer) } else { None });
            let token = if let ValueSource::Body(pointer) = &proof.at.source { Some(pointer) } else { None };
            return pointers.chain(token).map(|it| Some(body.all_at(it).join("\n"))).collect();
        }
        if proof.text.contains(&Piece::FormSorted) && !proof.text.contains(&Piece::Body) {
            let parts = [Piece::FormSorted, Piece::FilesSha1];
            return parts
                .iter()
                .map(|it| it.late(&body).ok().map(|it| String::from_utf8_lossy(&it).into_owned()))
                .collect();
        }
        vec![whole()]
    }
}

/// Returns the places of parts in a text.
fn spans<'a>(whole: &str, parts: impl Iterator<Item = &'a str>) -> Vec<std::ops::Range<usize>> {
    let start = |part: &str| (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    parts.map(|it| start(it)..start(it) + it.len()).collect()
}

fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn each_changed(text: &str) -> impl Iterator<Item = String> + '_ {
    (0..text.len()).map(|at| flipped(text, at))
}

fn basic(vector: &VectorTable, sent: &VectorRequest) -> Result<(), String> {
    let passwords = Passwords::new(&[Secret::new(vector.secret.clone())]);
    let header = sent.headers.iter().find(|(name, _)| name == "authorization").map(|(_, it)| it.as_str());
    let check = |it: Option<&str>| passwords.basic(it, &vector.username);
    check(header).map(drop).map_err(|it: AuthError| format!("does not pass: {}", it.detail()))?;
    let value = header.unwrap_or_default();
    // The scheme's name may have any letter case.
    let scheme = value.find(' ').map_or(0, |it| it + 1);
    let passes = (scheme..value.len()).map(|at| flipped(value, at)).find(|it| check(Some(it)).is_ok());
    if passes.is_some() { Err("still passes with another password".into()) } else { Ok(()) }
}

fn url_secret(vector: &VectorTable, sent: &VectorRequest) -> Result<(), String> {
    let secrets = Passwords::new(&[Secret::new(vector.secret.clone())]);
    let segment = sent.path.rsplit('/').next().unwrap_or_default();
    secrets.in_url(Some(segment)).map_err(|it| format!("does not pass: {}", it.detail()))?;
    let passes = each_changed(segment).any(|it| secrets.in_url(Some(&it)).is_ok());
    if passes { Err("still passes with another secret".into()) } else { Ok(()) }
}

fn api_key(vector: &VectorTable, sent: &VectorRequest) -> Result<(), String> {
    let key = sent.headers.iter().find(|(name, _)| name == "x-api-key").map(|(_, it)| it.as_str());
    if key == Some(vector.secret.as_str()) && !vector.secret.is_empty() {
        Ok(())
    } else {
        Err("has not the key in X-API-Key".into())
    }
}
