//! Signs an example as a sender would, to try an integration.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::description::{Chosen, Sender};
use crate::auth::signature::BodyHints;
use crate::auth::signature::digest::digest;
use crate::auth::signature::jwt::JwtAlgorithm;
use crate::auth::signature::keys::ProofKey;
use crate::auth::signature::proof::{ClockPlace, Notation, Proof, ProofKind};
use crate::auth::signature::text::Piece;
use crate::auth::signature::{SenderSettings, SentBody, ValueSource};
use crate::model::secret::Secret;

/// What is signed, and with what.
#[derive(Debug)]
pub struct Signable<'a> {
    /// The body.
    pub body: &'a [u8],
    /// Its content type.
    pub content_type: &'a str,
    /// The sender's secret.
    pub secret: &'a Secret,
    /// The user name of Basic authentication.
    pub username: &'a str,
    /// URL and other settings.
    pub settings: &'a SenderSettings,
    /// The time of signing.
    pub at: DateTime<Utc>,
    /// The id of the delivery.
    pub id: &'a str,
}

/// What a request needs to be accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignedRequest {
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// The last segment of the URL's path, if that is the secret.
    pub segment: Option<String>,
    /// The body with the token in it, if it belongs there.
    pub body: Option<Vec<u8>>,
}

impl Sender {
    /// Signs a delivery with the first of these proofs that can be made here.
    ///
    /// # Errors
    /// Why no valid request can be made.
    pub fn sign(&self, chosen: &Chosen, it: &Signable<'_>) -> Result<SignedRequest, String> {
        chosen.sign(it)
    }
}

impl Chosen {
    /// Returns whether somebody who has the secret can sign: not where only the sender has the private key.
    #[must_use]
    pub fn is_signable(&self) -> bool {
        let private = |it: &Arc<Proof>| it.keys_from.is_some() || matches!(it.kind, ProofKind::Signed(_));
        !matches!(self, Self::Checked(proofs) if proofs.iter().all(private))
    }

    /// Signs a delivery with the first of these proofs that can be made here: not those that need the sender's private key.
    ///
    /// # Errors
    /// Why no valid request can be made.
    pub fn sign(&self, it: &Signable<'_>) -> Result<SignedRequest, String> {
        let secret = it.secret.expose();
        let header = |name: &str, value: String| SignedRequest {
            headers: vec![(name.to_owned(), value)],
            ..SignedRequest::default()
        };
        match self {
            Self::ApiKey => Ok(header("x-api-key", secret.to_owned())),
            Self::UrlSecret => Ok(SignedRequest { segment: Some(secret.to_owned()), ..SignedRequest::default() }),
            Self::Basic => Ok(header(
                "authorization",
                format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{secret}", it.username))),
            )),
            Self::Checked(proofs) => {
                let mut cause = "this sender has no proof that can be made here".to_owned();
                for proof in proofs {
                    match (ProofSigning { proof, it }).sign() {
                        Ok(signed) => return Ok(signed),
                        Err(why) => cause = why,
                    }
                }
                Err(cause)
            }
        }
    }
}

struct ProofSigning<'a> {
    proof: &'a Arc<Proof>,
    it: &'a Signable<'a>,
}

impl ProofSigning<'_> {
    fn sign(&self) -> Result<SignedRequest, String> {
        let (proof, it) = (self.proof, self.it);
        if proof.keys_from.is_some() || matches!(proof.kind, ProofKind::Signed(_)) {
            return Err("only the sender has the private key that signs its deliveries; send a test from there".into());
        }
        let key = proof.key(it.secret).ok_or("the secret is not of the kind that this proof uses")??;
        let mut signed = SignedRequest::default();
        let time = proof.time.as_ref().map(|clock| clock.unit.write(it.at)).unwrap_or_default();
        match proof.time.as_ref().map(|it| &it.place) {
            Some(ClockPlace::In(ValueSource::Header(name))) => signed.headers.push((name.clone(), time.clone())),
            Some(ClockPlace::In(ValueSource::Query(name))) => signed.query.push((name.clone(), time.clone())),
            _ => {}
        }
        match &proof.id {
            Some(ValueSource::Header(name)) => signed.headers.push((name.clone(), it.id.to_owned())),
            Some(ValueSource::Query(name)) => signed.query.push((name.clone(), it.id.to_owned())),
            _ => {}
        }
        let value = match (&proof.kind, &key) {
            (ProofKind::Token, _) => proof.key.plain(it.secret.expose()).unwrap_or_default().to_owned(),
            (ProofKind::Jwt { algorithm: JwtAlgorithm::Hs256, .. }, ProofKey::Hmac(key)) => self.token(key),
            (ProofKind::Hmac(_), ProofKey::Hmac(key)) => {
                let text = self.text(&mut signed, &time, None)?;
                proof.encoding.encode(&key.sign(std::iter::once(text.as_slice())))
            }
            (ProofKind::Digest(algorithm), ProofKey::Text(secret)) => {
                let text = self.text(&mut signed, &time, Some(secret))?;
                proof.encoding.encode(&digest(*algorithm, &[&text]))
            }
            _ => return Err("this kind of proof cannot be made here".into()),
        };
        let value = match &proof.at.written {
            Notation::Whole { prefix } | Notation::List { prefix, .. } => format!("{prefix}{value}"),
            Notation::Pairs { separator, pair, name } => match proof.time.as_ref().map(|it| &it.place) {
                Some(ClockPlace::Entry(entry)) => format!("{entry}{pair}{time}{separator}{name}{pair}{value}"),
                _ => format!("{name}{pair}{value}"),
            },
        };
        match &proof.at.source {
            ValueSource::Header(name) => signed.headers.push((name.clone(), value)),
            ValueSource::Query(name) => signed.query.push((name.clone(), value)),
            ValueSource::Body(pointer) if pointer.is_empty() && matches!(proof.kind, ProofKind::Jwt { .. }) => {
                signed.body = Some(value.into_bytes());
            }
            // A signature of members of the body can be another one, but not one of the whole body.
            ValueSource::Body(pointer) if !pointer.is_empty() && !proof.text.contains(&Piece::Body) => {
                signed.body = Some(with_member(it.body, pointer, &value)?);
            }
            place @ (ValueSource::Body(_) | ValueSource::Claim(_)) => {
                return Err(format!("the signature is {place}: put it there yourself"));
            }
        }
        Ok(signed)
    }

    fn text(&self, signed: &mut SignedRequest, time: &str, secret: Option<&Secret>) -> Result<Vec<u8>, String> {
        let it = self.it;
        let body = SentBody::new(it.body, BodyHints { content_type: Some(it.content_type), ..BodyHints::default() });
        if let Some(hash) = &self.proof.body_hash {
            let value = format!("{}{}", hash.prefix, hash.encoding.encode(&digest(hash.algorithm, &[it.body])));
            match &hash.source {
                ValueSource::Header(name) => signed.headers.push((name.clone(), value)),
                ValueSource::Query(name) => signed.query.push((name.clone(), value)),
                ValueSource::Body(_) | ValueSource::Claim(_) => return Err("the digest is part of the body".into()),
            }
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&signed.query).finish();
        let path = it
            .settings
            .url
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()))
            .unwrap_or_default();
        let mut text = Vec::new();
        for piece in &self.proof.text {
            match piece {
                Piece::Body => text.extend_from_slice(it.body),
                Piece::Time => text.extend_from_slice(time.as_bytes()),
                Piece::Id => text.extend_from_slice(it.id.as_bytes()),
                Piece::Url if query.is_empty() => text.extend_from_slice(it.settings.url.as_bytes()),
                Piece::Url => text.extend_from_slice(format!("{}?{query}", it.settings.url).as_bytes()),
                Piece::Method => text.extend_from_slice(b"POST"),
                Piece::Path => text.extend_from_slice(path.as_bytes()),
                Piece::Query => text.extend_from_slice(query.as_bytes()),
                Piece::Setting(name) => {
                    text.extend_from_slice(it.settings.values.get(name).map(String::as_bytes).unwrap_or_default());
                }
                Piece::Secret => text.extend_from_slice(secret.map(|it| it.expose().as_bytes()).unwrap_or_default()),
                Piece::From(ValueSource::Header(name)) => {
                    let value = if name == "content-type" { it.content_type.to_owned() } else { it.id.to_owned() };
                    text.extend_from_slice(value.as_bytes());
                    if name != "content-type" && !signed.headers.iter().any(|(it, _)| it == name) {
                        signed.headers.push((name.clone(), value));
                    }
                }
                other => text.extend_from_slice(&other.late(&body).map_err(|it| it.to_string())?),
            }
        }
        Ok(text)
    }

    fn token(&self, key: &crate::auth::signature::hmac::HmacKey) -> String {
        let it = self.it;
        let is_body = matches!(&self.proof.at.source, ValueSource::Body(pointer) if pointer.is_empty());
        let mut claims = if is_body { claims_of(it.body) } else { Value::Object(Map::new()) };
        for (name, seconds) in [("iat", 0), ("nbf", 0), ("exp", 300)] {
            claims[name] = (it.at.timestamp() + seconds).into();
        }
        if let ProofKind::Jwt { claims: required, .. } = &self.proof.kind {
            for (pointer, pieces) in required {
                let text = |piece: &Piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Setting(name) => it.settings.values.get(name).cloned().unwrap_or_default(),
                    _ => String::new(),
                };
                claims[pointer.trim_start_matches('/')] = pieces.iter().map(text).collect::<String>().into();
            }
        }
        if let Some(hash) = &self.proof.body_hash
            && let ValueSource::Claim(pointer) = &hash.source
        {
            let value = format!("{}{}", hash.prefix, hash.encoding.encode(&digest(hash.algorithm, &[it.body])));
            claims[pointer.trim_start_matches('/')] = value.into();
        }
        let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&serde_json::json!({ "alg": "HS256", "typ": "JWT" })), part(&claims));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(std::iter::once(signed.as_bytes())));
        format!("{signed}.{signature}")
    }
}

/// Returns the claims of a body that is a token as a whole: the body itself if it is a JSON object, or else those of the token
/// that it is.
fn claims_of(body: &[u8]) -> Value {
    let part = std::str::from_utf8(body).ok().and_then(|it| it.trim().split('.').nth(1));
    let decoded = part.and_then(|it| BASE64_URL_SAFE_NO_PAD.decode(it).ok()).unwrap_or_default();
    let claims = [body, &decoded].into_iter().find_map(|it| serde_json::from_slice(it).ok().filter(Value::is_object));
    claims.unwrap_or_else(|| Value::Object(Map::new()))
}

/// Returns a JSON body with a text at a pointer, in which `*` is every item; missing objects on the way to it are created.
fn with_member(body: &[u8], pointer: &str, text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("the token is {pointer} in the body, which must be JSON that has a place for it");
    let mut root = match body.trim_ascii() {
        b"" => Value::Object(Map::new()),
        body => serde_json::from_slice(body).map_err(|_| wrong())?,
    };
    let parts: Vec<_> = pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
    if !put(&mut root, &parts, text) {
        return Err(wrong());
    }
    serde_json::to_vec(&root).map_err(|_| wrong())
}

/// Puts a text at a place. Returns whether there is one.
fn put(value: &mut Value, parts: &[String], text: &str) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        *value = Value::String(text.to_owned());
        return true;
    };
    match value {
        Value::Array(items) if part == "*" => !items.is_empty() && items.iter_mut().all(|it| put(it, rest, text)),
        Value::Array(items) => {
            part.parse::<usize>().ok().and_then(|at| items.get_mut(at)).is_some_and(|it| put(it, rest, text))
        }
        Value::Object(members) => {
            put(members.entry(part.clone()).or_insert_with(|| Value::Object(Map::new())), rest, text)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an integration of Aircall or Microsoft Graph cannot be tried, or a body is changed in another place.
    #[test]
    fn a_token_is_put_into_the_body_at_its_pointer() {
        let with = |body: &str, pointer: &str| {
            with_member(body.as_bytes(), pointer, "t").map(|it| String::from_utf8(it).unwrap())
        };
        assert_eq!(with("{\"a\":1}", "/token").unwrap(), "{\"a\":1,\"token\":\"t\"}");
        assert_eq!(with("", "/a/b~1c").unwrap(), "{\"a\":{\"b/c\":\"t\"}}");
        assert_eq!(with("{\"v\":[{}]}", "/v/0/s").unwrap(), "{\"v\":[{\"s\":\"t\"}]}");
        assert_eq!(with("{\"v\":[{},{}]}", "/v/*/s").unwrap(), "{\"v\":[{\"s\":\"t\"},{\"s\":\"t\"}]}");
        for (body, pointer) in [("{\"v\":[]}", "/v/0/s"), ("{\"v\":[]}", "/v/*/s"), ("a=b", "/token"), ("1", "/token")]
        {
            assert!(with(body, pointer).unwrap_err().contains(pointer), "{body}");
        }
    }
}
