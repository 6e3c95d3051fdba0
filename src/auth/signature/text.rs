//! The signed text: text with placeholders from a closed list.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::delivery::{Delivery, Mismatch};
use super::digest::{Algorithm, digest, hex};
use super::form;
use super::source::{SentBody, ValueSource};

/// A part of the signed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) enum Piece {
    Text(String),
    Body,
    Time,
    Id,
    /// The configured URL with the query as sent.
    Url,
    Method,
    Path,
    Query,
    FormSorted,
    FilesSha1,
    From(ValueSource),
    Setting(String),
    Length,
    BodyDigest(Algorithm, DigestEncoding),
    BodyCrc32,
    Secret,
}

/// How a digest of the body is written in the signed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum DigestEncoding {
    Hex,
    Base64,
}

impl Piece {
    /// Returns whether it changes with any byte of the body.
    pub(in crate::auth) fn covers_body(&self) -> bool {
        match self {
            Self::Body | Self::FormSorted | Self::BodyDigest(..) => true,
            // Anybody can change a body so that its CRC-32 remains the same.
            Self::BodyCrc32 => false,
            Self::From(source) => *source == ValueSource::Body(String::new()),
            _ => false,
        }
    }

    /// Returns its value, if that is known before the body has arrived.
    ///
    /// # Errors
    /// The delivery does not have it.
    pub(in crate::auth) fn early(
        &self,
        delivery: &Delivery<'_>,
        settings: &SenderSettings,
    ) -> Result<Option<String>, Mismatch> {
        Ok(Some(match self {
            Self::Url => settings.url_with(delivery.query),
            Self::Method => delivery.method.to_owned(),
            Self::Path => settings.path().unwrap_or(delivery.path).to_owned(),
            Self::Query => delivery.query.to_owned(),
            Self::From(source) if !source.is_late() => source.early(delivery)?.into_owned(),
            Self::Setting(name) => settings.values.get(name).cloned().unwrap_or_default(),
            _ => return Ok(None),
        }))
    }

    /// Returns its value from the body.
    ///
    /// # Errors
    /// The body does not have it, or is too large a form.
    pub(in crate::auth) fn late<'a>(&'a self, body: &'a SentBody<'_>) -> Result<Cow<'a, [u8]>, Mismatch> {
        Ok(match self {
            Self::Text(text) => Cow::Borrowed(text.as_bytes()),
            Self::FormSorted => Cow::Owned(form::sorted(body)?.into_bytes()),
            Self::FilesSha1 => Cow::Owned(form::files(body)?.into_bytes()),
            Self::From(source @ ValueSource::Body(pointer)) => {
                match body.at(pointer).ok_or_else(|| source.missing())? {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                }
            }
            Self::Length => Cow::Owned(body.bytes().len().to_string().into_bytes()),
            Self::BodyCrc32 => Cow::Owned(crc32fast::hash(body.bytes()).to_string().into_bytes()),
            Self::BodyDigest(algorithm, encoding) => {
                let digest = digest(*algorithm, &[body.bytes()]);
                Cow::Owned(match encoding {
                    DigestEncoding::Hex => hex(&digest).into_bytes(),
                    DigestEncoding::Base64 => BASE64_STANDARD.encode(digest).into_bytes(),
                })
            }
            Self::Body
            | Self::Time
            | Self::Id
            | Self::Url
            | Self::Method
            | Self::Path
            | Self::Query
            | Self::From(_)
            | Self::Setting(_)
            | Self::Secret => Cow::Borrowed(&[]),
        })
    }
}

/// What plugin.toml says about a sender apart from its secrets.
#[derive(Debug, Clone, Default)]
pub struct SenderSettings {
    /// The address that the sender calls, without its query.
    pub url: String,
    /// Other values, by name.
    pub values: std::collections::BTreeMap<String, String>,
}

impl SenderSettings {
    fn url_with(&self, query: &str) -> String {
        if query.is_empty() { self.url.clone() } else { format!("{}?{query}", self.url) }
    }

    fn path(&self) -> Option<&str> {
        let (_, rest) = self.url.split_once("://")?;
        rest.find('/').map(|at| &rest[at..])
    }
}

/// Splits a text at its placeholders, which are read by `placeholder`.
///
/// # Errors
/// A placeholder is not closed, or not known.
pub(in crate::auth) fn split<T>(
    template: &str,
    text: impl Fn(String) -> T,
    placeholder: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a { has no }")?;
        if !before.is_empty() {
            pieces.push(text(before.to_owned()));
        }
        pieces.push(placeholder(name)?);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Parses the signed text of a sender file.
///
/// # Errors
/// Which placeholder is not known.
pub(in crate::auth) fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    split(template, Piece::Text, |name| {
        placeholder(name).ok_or_else(|| {
            format!("text: {{{name}}} is not known; docs/SENDER-FILES.md lists the placeholders, such as {{body}} and {{time}}")
        })
    })
}

fn placeholder(name: &str) -> Option<Piece> {
    use Algorithm::{Sha1, Sha256, Sha512};
    use DigestEncoding::{Base64, Hex};
    Some(match name {
        "body" => Piece::Body,
        "time" => Piece::Time,
        "id" => Piece::Id,
        "url" => Piece::Url,
        "method" => Piece::Method,
        "path" => Piece::Path,
        "query" => Piece::Query,
        "form-sorted" => Piece::FormSorted,
        "files-sha1-sorted" => Piece::FilesSha1,
        "length" => Piece::Length,
        "secret" => Piece::Secret,
        "sha1-hex:body" => Piece::BodyDigest(Sha1, Hex),
        "sha1-base64:body" => Piece::BodyDigest(Sha1, Base64),
        "sha256-hex:body" => Piece::BodyDigest(Sha256, Hex),
        "sha256-base64:body" => Piece::BodyDigest(Sha256, Base64),
        "sha512-hex:body" => Piece::BodyDigest(Sha512, Hex),
        "sha512-base64:body" => Piece::BodyDigest(Sha512, Base64),
        "crc32:body" => Piece::BodyCrc32,
        other => match other.split_once(':')? {
            ("setting", name) => Piece::Setting(name.to_owned()),
            _ => Piece::From(source(other)?),
        },
    })
}

/// Reads `header:x`, `query:x` and `body:/pointer`.
pub(in crate::auth) fn source(text: &str) -> Option<ValueSource> {
    match text.split_once(':')? {
        ("header", name) if !name.is_empty() => Some(ValueSource::Header(name.to_ascii_lowercase())),
        ("query", name) if !name.is_empty() => Some(ValueSource::Query(name.to_owned())),
        ("body", pointer) if pointer.is_empty() || pointer.starts_with('/') => {
            Some(ValueSource::Body(pointer.to_owned()))
        }
        _ => None,
    }
}
