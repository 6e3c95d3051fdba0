//! Questions of a sender whether this URL accepts its deliveries, and the answers. An answer contains only fixed text and
//! data of the request, or an HMAC of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::file::{HandshakeAnswerTable, HandshakeProofName, HandshakeProofTable, HandshakeTable, SourceTable, source};
use crate::auth::signature::hmac::{Algorithm, HmacKey, SignatureEncoding};
use crate::auth::signature::text::{source as named_source, split};
use crate::auth::signature::{Delivery, Mismatch, SentBody, ValueSource};

/// Maximum size of an answer, in bytes: headers and body.
const ANSWER_MAX: usize = 1024;
/// Headers that an answer may have, in addition to those that begin with `x-`: browsers and proxies ignore them.
const ALLOWED: [&str; 3] = ["validation-token", "webhook-allowed-origin", "webhook-allowed-rate"];
/// Headers that begin with `x-` and have a meaning of their own.
const RESERVED: [&str; 7] = [
    "x-content-type-options",
    "x-event-id",
    "x-frame-options",
    "x-loosened",
    "x-request-id",
    "x-xss-protection",
    "x-accel-redirect",
];

/// A question, and its answer.
#[derive(Debug)]
pub struct Handshake {
    /// Its name.
    pub name: String,
    when: Condition,
    /// How it is authenticated.
    pub proof: HandshakeProof,
    answer: AnswerForm,
    /// Where the secret is that it sets.
    pub learn: Option<ValueSource>,
    /// What is shown to the admin.
    pub show: Option<ValueSource>,
    /// The URL that is requested once.
    pub fetch: Option<ValueSource>,
    /// Hosts of that URL.
    pub hosts: Vec<String>,
}

/// How a question is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeProof {
    /// It passes one of the sender's proofs.
    Signed,
    /// Not at all; it is rate-limited.
    None,
    /// A value that equals the secret with this name.
    Secret {
        /// Where the value is.
        source: ValueSource,
        /// Name of the secret.
        name: String,
    },
}

#[derive(Debug)]
struct Condition {
    method: String,
    query: BTreeMap<String, String>,
    header: BTreeMap<String, String>,
    body: BTreeMap<String, Value>,
    has: Vec<ValueSource>,
    empty: bool,
}

#[derive(Debug, Default)]
struct AnswerForm {
    status: u16,
    text: Option<Vec<AnswerPiece>>,
    json: Option<Map<String, Value>>,
    headers: Vec<(String, Vec<AnswerPiece>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum AnswerPiece {
    Text(String),
    From(ValueSource),
    Hmac(Algorithm, SignatureEncoding, ValueSource),
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// Status.
    pub status: u16,
    /// Content type, if there is a body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
}

impl Handshake {
    pub(super) fn of(table: &HandshakeTable) -> Result<Self, String> {
        let wrong = |cause: String| format!("handshake {}: {cause}", table.name);
        let when = Condition::of(&table.when).map_err(wrong)?;
        let one = |it: &Option<SourceTable>| it.as_ref().map(source).transpose().map_err(wrong);
        let handshake = Self {
            name: table.name.clone(),
            when,
            proof: proof(&table.proof).map_err(wrong)?,
            answer: AnswerForm::of(&table.answer).map_err(wrong)?,
            learn: one(&table.learn)?,
            show: one(&table.show)?,
            fetch: one(&table.fetch)?,
            hosts: table.hosts.clone(),
        };
        if handshake.when.method == "GET" && handshake.when.says_nothing() && !handshake.answer.is_empty() {
            return Err(wrong(
                "when: would be every GET request; name what tells it apart, or answer with nothing".into(),
            ));
        }
        if handshake.fetch.is_some() == handshake.hosts.is_empty() {
            return Err(wrong("use fetch and hosts together".into()));
        }
        Ok(handshake)
    }

    /// Returns whether its answer contains an HMAC.
    pub(super) fn answers_with_hmac(&self) -> bool {
        let has = |pieces: &[AnswerPiece]| pieces.iter().any(|it| matches!(it, AnswerPiece::Hmac(..)));
        let in_json =
            self.answer.json.as_ref().is_some_and(|it| Value::Object(it.clone()).to_string().contains("{hmac-"));
        self.answer.text.as_deref().is_some_and(has) || in_json || self.answer.headers.iter().any(|(_, it)| has(it))
    }

    /// Returns the name of the second secret that it needs.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        if let HandshakeProof::Secret { name, .. } = &self.proof { Some(name) } else { None }
    }

    /// Returns the method of its requests.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.when.method
    }

    /// Returns whether the request's line and headers may be this question; if so, the body decides.
    #[must_use]
    pub fn may_be(&self, delivery: &Delivery<'_>) -> bool {
        let equals = |source: ValueSource, value: &str| source.early(delivery).is_ok_and(|it| it == value);
        self.when.method == delivery.method
            && self.when.query.iter().all(|(name, value)| equals(ValueSource::Query(name.clone()), value))
            && self.when.header.iter().all(|(name, value)| equals(ValueSource::Header(name.clone()), value))
            && self.when.has.iter().filter(|it| !it.is_late()).all(|it| it.is_in(delivery))
    }

    /// Returns whether a request is this question.
    #[must_use]
    pub fn asks(&self, delivery: &Delivery<'_>, body: &SentBody<'_>) -> bool {
        let in_body = |pointer: &str, value: &Value| body.value().and_then(|it| it.pointer(pointer)) == Some(value);
        self.may_be(delivery)
            && (!self.when.empty || body.bytes().iter().all(u8::is_ascii_whitespace))
            && self.when.body.iter().all(|(pointer, value)| in_body(pointer, value))
            && self.when.has.iter().all(|it| match it {
                ValueSource::Body(pointer) => body.has(pointer),
                _ => true,
            })
    }

    /// Returns the first condition that a request does not meet, for the author of a file.
    pub(super) fn unmet(&self, delivery: &Delivery<'_>, body: &SentBody<'_>) -> Option<String> {
        let when = &self.when;
        let early = |source: ValueSource| source.early(delivery).ok();
        if !delivery.method.eq_ignore_ascii_case(&when.method) {
            return Some(format!("its method is not {}", when.method));
        }
        for (name, value) in &when.query {
            if early(ValueSource::Query(name.clone())).is_none_or(|it| it != *value) {
                return Some(format!("the parameter {name} of its URL differs"));
            }
        }
        for (name, value) in &when.header {
            if early(ValueSource::Header(name.clone())).is_none_or(|it| it != *value) {
                return Some(format!("its header {name} differs"));
            }
        }
        let member = |pointer: &str| body.value().and_then(|it| it.pointer(pointer));
        let differs = when.body.iter().find(|(pointer, value)| member(pointer) != Some(*value));
        if let Some((pointer, _)) = differs {
            return Some(format!("{pointer} in its body differs"));
        }
        when.empty.then(|| "its body is not empty".to_owned())
    }

    /// Returns the answer. `key` is the sender's secret.
    ///
    /// # Errors
    /// The request has not all values, or the answer would be too large.
    pub fn answer(
        &self,
        delivery: &Delivery<'_>,
        body: &SentBody<'_>,
        key: Option<&[u8]>,
    ) -> Result<HandshakeAnswer, Mismatch> {
        let asked = AskedRequest { delivery, body, key };
        let form = &self.answer;
        let headers =
            form.headers.iter().map(|(name, it)| Ok((name.clone(), asked.text(it)?))).collect::<Result<Vec<_>, _>>()?;
        let (content_type, body) = match (&form.text, &form.json) {
            (Some(text), _) => (Some("text/plain; charset=utf-8"), asked.text(text)?),
            (_, Some(json)) => (Some("application/json"), asked.json(&Value::Object(json.clone()))?.to_string()),
            _ => (None, String::new()),
        };
        let size = body.len() + headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let plain = |it: &str| it.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if size > ANSWER_MAX || !headers.iter().all(|(_, it)| plain(it)) {
            let place = format!("the question \"{}\"", self.name);
            return Err(Mismatch::Unreadable { place, cause: "its values are longer than 1 KiB, or not plain text" });
        }
        Ok(HandshakeAnswer { status: form.status, content_type, body, headers })
    }

    /// Returns a value of the request that is learned or shown.
    #[must_use]
    pub fn value(&self, source: &ValueSource, delivery: &Delivery<'_>, body: &SentBody<'_>) -> Option<String> {
        AskedRequest { delivery, body, key: None }
            .value(source)
            .ok()
            .filter(|it| !it.is_empty() && it.len() <= 2 * ANSWER_MAX)
    }
}

struct AskedRequest<'a> {
    delivery: &'a Delivery<'a>,
    body: &'a SentBody<'a>,
    key: Option<&'a [u8]>,
}

impl AskedRequest<'_> {
    fn value(&self, source: &ValueSource) -> Result<String, Mismatch> {
        match source {
            ValueSource::Body(pointer) => self.body.at(pointer).map(Into::into).ok_or_else(|| source.missing()),
            other => other.early(self.delivery).map(Into::into),
        }
    }

    fn text(&self, pieces: &[AnswerPiece]) -> Result<String, Mismatch> {
        let piece = |it: &AnswerPiece| match it {
            AnswerPiece::Text(text) => Ok(text.clone()),
            AnswerPiece::From(source) => self.value(source),
            AnswerPiece::Hmac(algorithm, encoding, source) => {
                let key = self.key.and_then(|it| HmacKey::new(*algorithm, it).ok());
                let key = key.ok_or(Mismatch::Absent { place: "the secret of this integration".into() })?;
                let value = self.value(source)?;
                Ok(encoding.encode(&key.sign(std::iter::once(value.as_bytes()))))
            }
        };
        pieces.iter().map(piece).collect()
    }

    fn json(&self, value: &Value) -> Result<Value, Mismatch> {
        Ok(match value {
            Value::String(text) => {
                // They were parsed when the file was loaded.
                let pieces = answer_pieces(text).unwrap_or_default();
                Value::String(self.text(&pieces)?)
            }
            Value::Object(map) => Value::Object(
                map.iter().map(|(name, it)| Ok((name.clone(), self.json(it)?))).collect::<Result<_, Mismatch>>()?,
            ),
            Value::Array(all) => Value::Array(all.iter().map(|it| self.json(it)).collect::<Result<_, _>>()?),
            other => other.clone(),
        })
    }
}

impl Condition {
    fn of(table: &super::file::WhenTable) -> Result<Self, String> {
        let condition = Self {
            method: table.method.clone().unwrap_or_else(|| "POST".into()),
            query: table.query.clone(),
            header: table.header.iter().map(|(name, it)| (name.to_ascii_lowercase(), it.clone())).collect(),
            body: table.body.clone(),
            has: table.has.iter().map(source).collect::<Result<_, _>>()?,
            empty: table.empty,
        };
        if condition.method == "POST" && condition.says_nothing() && !condition.empty {
            return Err("when: would be every delivery; name what tells it apart".into());
        }
        Ok(condition)
    }

    fn says_nothing(&self) -> bool {
        self.query.is_empty() && self.header.is_empty() && self.body.is_empty() && self.has.is_empty()
    }
}

impl AnswerForm {
    fn is_empty(&self) -> bool {
        self.text.is_none() && self.json.is_none() && self.headers.is_empty()
    }

    fn of(table: &HandshakeAnswerTable) -> Result<Self, String> {
        if table.text.is_some() && table.json.is_some() {
            return Err("answer: use text or json".into());
        }
        if table.status == Some(204) && (table.text.is_some() || table.json.is_some()) {
            return Err("answer: status 204 has no body".into());
        }
        if let Some(json) = &table.json {
            every_text(&Value::Object(json.clone()), &|it| answer_pieces(it).map(drop))?;
        }
        let headers = table.headers.iter().map(|(name, it)| {
            let name = name.to_ascii_lowercase();
            let is_allowed =
                (name.starts_with("x-") && !RESERVED.contains(&name.as_str())) || ALLOWED.contains(&name.as_str());
            if is_allowed {
                Ok((name, answer_pieces(it)?))
            } else {
                Err(format!("answer: a sender file must not set the header {name}"))
            }
        });
        Ok(Self {
            status: table.status.unwrap_or(200),
            text: table.text.as_deref().map(answer_pieces).transpose()?,
            json: table.json.clone(),
            headers: headers.collect::<Result<_, _>>()?,
        })
    }
}

fn every_text(value: &Value, check: &impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    match value {
        Value::String(text) => check(text),
        Value::Array(all) => all.iter().try_for_each(|it| every_text(it, check)),
        Value::Object(map) => map.values().try_for_each(|it| every_text(it, check)),
        _ => Ok(()),
    }
}

fn answer_pieces(template: &str) -> Result<Vec<AnswerPiece>, String> {
    split(template, AnswerPiece::Text, |name| {
        let unknown = || format!("answer: {{{name}}} is not known; use query:, header:, body: or an HMAC of one");
        let Some(rest) = name.strip_prefix("hmac-") else {
            return named_source(name).map(AnswerPiece::From).ok_or_else(unknown);
        };
        let (how, from) = rest.split_once(':').ok_or_else(unknown)?;
        let (algorithm, encoding) = match how {
            "sha256-hex" => (Algorithm::Sha256, SignatureEncoding::Hex),
            "sha256-base64" => (Algorithm::Sha256, SignatureEncoding::Base64),
            "sha1-hex" => (Algorithm::Sha1, SignatureEncoding::Hex),
            "sha1-base64" => (Algorithm::Sha1, SignatureEncoding::Base64),
            _ => return Err(unknown()),
        };
        let from = named_source(from).ok_or_else(unknown)?;
        Ok(AnswerPiece::Hmac(algorithm, encoding, from))
    })
}

fn proof(table: &HandshakeProofTable) -> Result<HandshakeProof, String> {
    match table {
        HandshakeProofTable::Name(HandshakeProofName::Signed) => Ok(HandshakeProof::Signed),
        HandshakeProofTable::Name(HandshakeProofName::None) => Ok(HandshakeProof::None),
        HandshakeProofTable::Secret { header, query, body, secret } => {
            let place = SourceTable { header: header.clone(), query: query.clone(), body: body.clone(), claim: None };
            Ok(HandshakeProof::Secret { source: source(&place)?, name: secret.clone() })
        }
    }
}
