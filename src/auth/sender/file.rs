//! A sender file as it is written (docs/SENDER-FILES.md). `schemas/sender.schema.json` has checked it first.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::signature::hmac::{Algorithm, SignatureEncoding};
use super::super::signature::proof::{KeyEncoding, TimeUnit};
use super::answer_table::AnswerTable;
use crate::auth::signature::ValueSource;
use crate::format::parse;
use crate::format::payload::DeclaredFormat;
use crate::format::schema::{FileSchema, SchemaError};

/// A sender file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SenderTable {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) group: String,
    pub(super) docs: String,
    pub(super) checked: String,
    #[serde(default)]
    pub(super) setup: SetupTable,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, Value>,
    pub(super) proof: Vec<ProofTable>,
    #[serde(default)]
    pub(super) delivery: DeliveryTable,
    #[serde(default)]
    pub(super) body: BodyTable,
    #[serde(default)]
    pub(super) answer: AnswerTable,
    #[serde(default)]
    pub(super) handshake: Vec<HandshakeTable>,
    #[serde(default)]
    pub(super) vector: Vec<VectorTable>,
}

/// Where to paste the URL, and where to find the secret.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct SetupTable {
    /// Where to paste hookmill's URL.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Where to find the secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// What else to know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether a secret that is learned in a handshake must be entered at the sender.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enter_secret: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProofKindName {
    Hmac,
    Digest,
    Ed25519,
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    Rsa,
    Jwt,
    Token,
    Basic,
    UrlSecret,
    ApiKey,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProofTable {
    pub(super) name: Option<String>,
    pub(super) kind: ProofKindName,
    #[serde(default)]
    pub(super) hash: Algorithm,
    #[serde(default)]
    pub(super) key: KeyEncoding,
    #[serde(default)]
    pub(super) strip: String,
    #[serde(default)]
    pub(super) key_prefix: String,
    pub(super) at: Option<PlaceTable>,
    #[serde(default)]
    pub(super) encoding: SignatureEncoding,
    #[serde(default)]
    pub(super) format: EcdsaFormat,
    pub(super) time: Option<TimeTable>,
    pub(super) id: Option<SourceTable>,
    pub(super) text: Option<String>,
    pub(super) body_hash: Option<BodyHashTable>,
    #[serde(default)]
    pub(super) absent: Vec<SourceTable>,
    pub(super) alg: Option<JwtAlgorithmName>,
    #[serde(default)]
    pub(super) claims: BTreeMap<String, String>,
    pub(super) keys: Option<KeysTable>,
    #[serde(default)]
    pub(super) body_unsigned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EcdsaFormat {
    #[default]
    Der,
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum JwtAlgorithmName {
    HS256,
    RS256,
    ES256,
}

/// One of the places where a value is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceTable {
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
    pub(super) body: Option<String>,
    pub(super) claim: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceTable {
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) split: Option<String>,
    pub(super) pair: Option<String>,
    pub(super) take: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeTable {
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
    pub(super) body: Option<String>,
    pub(super) claim: Option<String>,
    pub(super) take: Option<String>,
    #[serde(default)]
    pub(super) unit: TimeUnit,
    #[serde(default = "tolerance")]
    pub(super) tolerance_seconds: u32,
}

fn tolerance() -> u32 {
    300
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyHashTable {
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
    pub(super) body: Option<String>,
    pub(super) claim: Option<String>,
    #[serde(default)]
    pub(super) prefix: String,
    #[serde(default)]
    pub(super) hash: Algorithm,
    #[serde(default)]
    pub(super) encoding: SignatureEncoding,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysTable {
    pub(super) jwks: Option<String>,
    pub(super) certificate: Option<SourceTable>,
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    pub(super) jwk_post: Option<String>,
    #[serde(default)]
    pub(super) send: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) jwk: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryTable {
    #[serde(default)]
    pub(super) id: Vec<IdTable>,
    pub(super) hours: Option<u32>,
    #[serde(default)]
    pub(super) headers: Vec<String>,
}

/// One source of an id, or several that are joined.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum IdTable {
    One(SourceTable),
    Joined(Vec<SourceTable>),
}

/// How a sender's bodies are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyTable {
    /// What the body is, whatever its content type says.
    pub format: Option<BodyFormatName>,
    /// JSON Pointers to texts that are JSON.
    #[serde(default)]
    pub json_in: Vec<String>,
    /// JSON Pointers to texts that are JSON in base64.
    #[serde(default)]
    pub base64_json_in: Vec<String>,
    /// JSON Pointers: the value of the only member is the payload.
    #[serde(default)]
    pub unwrap: Vec<String>,
    /// JSON that an empty body counts as.
    pub empty: Option<String>,
    /// Only the members that are signed reach the mapper.
    #[serde(default)]
    pub signed_only: bool,
}

/// A format of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormatName {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// XML.
    Xml,
    /// A JSON Web Token; its claims are the payload.
    Jwt,
}

impl From<BodyFormatName> for DeclaredFormat {
    fn from(name: BodyFormatName) -> Self {
        match name {
            BodyFormatName::Json => Self::Json,
            BodyFormatName::Form => Self::Form,
            BodyFormatName::Multipart => Self::Multipart,
            BodyFormatName::Xml => Self::Xml,
            BodyFormatName::Jwt => Self::Jwt,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandshakeTable {
    pub(super) name: String,
    pub(super) when: WhenTable,
    pub(super) proof: HandshakeProofTable,
    #[serde(default)]
    pub(super) answer: HandshakeAnswerTable,
    pub(super) learn: Option<SourceTable>,
    pub(super) show: Option<SourceTable>,
    pub(super) fetch: Option<SourceTable>,
    #[serde(default)]
    pub(super) hosts: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhenTable {
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) query: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) header: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) has: Vec<SourceTable>,
    #[serde(default)]
    pub(super) empty: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum HandshakeProofTable {
    Name(HandshakeProofName),
    Secret { header: Option<String>, query: Option<String>, body: Option<String>, secret: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HandshakeProofName {
    Signed,
    None,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandshakeAnswerTable {
    pub(super) status: Option<u16>,
    pub(super) text: Option<String>,
    pub(super) json: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VectorTable {
    pub(super) source: String,
    pub(super) proof: Option<String>,
    #[serde(default)]
    pub(super) secret: String,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) auth_url: String,
    pub(super) keys: Option<String>,
    pub(super) at: Option<String>,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
    pub(super) body_base64: Option<String>,
    pub(super) handshake: Option<String>,
    pub(super) answer: Option<HandshakeAnswerTable>,
}

static SCHEMA: LazyLock<Result<FileSchema, SchemaError>> =
    LazyLock::new(|| FileSchema::compile(include_str!("../../../schemas/sender.schema.json")));

impl SenderTable {
    /// Parses a file.
    ///
    /// # Errors
    /// What is wrong with it, in sentences. They quote no values: a file may contain a secret by mistake.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = parse::toml(text.strip_prefix('\u{feff}').unwrap_or(text))?;
        let schema = SCHEMA.as_ref().map_err(ToString::to_string)?;
        schema
            .check(&value)
            .map_err(|all| all.into_iter().map(|(sentence, _)| sentence).collect::<Vec<_>>().join(". "))?;
        serde_json::from_value(value).map_err(|error| parse::json_error(&error))
    }
}

/// Returns a source.
///
/// # Errors
/// It names no place, or several.
pub(super) fn source(it: &SourceTable) -> Result<ValueSource, String> {
    one_of([
        it.header.as_ref().map(|it| ValueSource::Header(it.to_ascii_lowercase())),
        it.query.clone().map(ValueSource::Query),
        it.body.clone().map(ValueSource::Body),
        it.claim.clone().map(ValueSource::Claim),
    ])
}

pub(super) fn one_of(places: [Option<ValueSource>; 4]) -> Result<ValueSource, String> {
    let mut places = places.into_iter().flatten();
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        _ => Err("name one of header, query, body and claim".into()),
    }
}
