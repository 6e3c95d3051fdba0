//! Where a value is in a delivery: in a header, the query, the body, or the claims of its token.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::delivery::{Delivery, Mismatch};
use crate::format::payload::{DeclaredFormat, Rules, decode, is_coded};

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueSource {
    /// In the header with this name, in lower case.
    Header(String),
    /// In the parameter of the URL's query with this name.
    Query(String),
    /// In the body, at this JSON Pointer; the empty pointer is the whole body.
    Body(String),
    /// In the claims of the proof's JWT, at this JSON Pointer.
    Claim(String),
}

impl std::fmt::Display for ValueSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Query(name) => write!(f, "the parameter {name} in the URL"),
            Self::Body(pointer) if pointer.is_empty() => f.write_str("the body"),
            Self::Body(pointer) => write!(f, "the value at {pointer} in the body"),
            Self::Claim(pointer) => write!(f, "the claim {pointer}"),
        }
    }
}

impl ValueSource {
    /// Returns whether the value can be read only once the body has arrived.
    pub(in crate::auth) fn is_late(&self) -> bool {
        matches!(self, Self::Body(_) | Self::Claim(_))
    }

    /// Reads a value that does not need the body.
    ///
    /// # Errors
    /// It is missing, or ambiguous.
    pub(in crate::auth) fn early<'a>(&self, delivery: &Delivery<'a>) -> Result<Cow<'a, str>, Mismatch> {
        match self {
            Self::Header(name) => delivery.header(name).map(Cow::Borrowed),
            Self::Query(name) => delivery.parameter(name),
            Self::Body(_) | Self::Claim(_) => Err(self.missing()),
        }
    }

    /// Returns whether the delivery has this value. Values in the body are looked up in `body`, if there is one yet.
    pub(in crate::auth) fn is_in(&self, delivery: &Delivery<'_>) -> bool {
        match self {
            Self::Header(name) => delivery.headers.contains_key(name),
            Self::Query(name) => form_urlencoded::parse(delivery.query.as_bytes()).any(|(it, _)| it == name.as_str()),
            Self::Body(_) | Self::Claim(_) => false,
        }
    }

    pub(in crate::auth) fn missing(&self) -> Mismatch {
        match self {
            Self::Header(name) => Mismatch::Missing { header: name.clone() },
            other => Mismatch::Absent { place: other.to_string() },
        }
    }

    pub(super) fn malformed(&self, cause: &'static str) -> Mismatch {
        match self {
            Self::Header(name) => Mismatch::malformed(name, cause),
            other => Mismatch::Unreadable { place: other.to_string(), cause },
        }
    }
}

/// What says how a body is read. The mapper reads the body by the same, so that both see the same values.
#[derive(Debug, Clone, Copy, Default)]
pub struct BodyHints<'a> {
    /// `Content-Type`, as [`content_type`](crate::model::headers::content_type) joins it.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub coding: Option<&'a str>,
    /// The format that the sender's file names.
    pub format: Option<DeclaredFormat>,
}

/// A body whose values are looked up; it is decoded at most once. Values of a body with a content coding are not looked up:
/// strangers could send small bodies that become large.
#[derive(Debug)]
pub struct SentBody<'a> {
    bytes: &'a [u8],
    hints: BodyHints<'a>,
    value: OnceCell<Option<Value>>,
}

impl<'a> SentBody<'a> {
    /// A body as it was sent.
    #[must_use]
    pub fn new(bytes: &'a [u8], hints: BodyHints<'a>) -> Self {
        Self { bytes, hints, value: OnceCell::new() }
    }

    pub(super) fn is_coded(&self) -> bool {
        is_coded(self.hints.coding)
    }

    /// Returns the body, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn content_type(&self) -> Option<&'a str> {
        self.hints.content_type
    }

    /// Returns the value at a JSON Pointer as text, if it is text, a number, or true or false. The empty pointer is the whole
    /// body.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<Cow<'_, str>> {
        if pointer.is_empty() {
            return std::str::from_utf8(self.bytes).ok().map(|it| Cow::Borrowed(it.trim()));
        }
        as_text(self.value()?.pointer(pointer)?)
    }

    /// Returns the values at a pointer in which `*` is every member of a list or an object; nothing if one of them is missing.
    #[must_use]
    pub fn all_at(&self, pointer: &str) -> Vec<Cow<'_, str>> {
        let Some((before, after)) = pointer.split_once("/*") else {
            return self.at(pointer).into_iter().collect();
        };
        let members: Vec<&Value> = match self.value().and_then(|it| it.pointer(before)) {
            Some(Value::Array(all)) => all.iter().collect(),
            Some(Value::Object(map)) => map.values().collect(),
            _ => return Vec::new(),
        };
        let texts = members.iter().map(|it| it.pointer(after).and_then(as_text));
        texts.collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// Returns whether there is a value at a JSON Pointer; null does not count.
    #[must_use]
    pub fn has(&self, pointer: &str) -> bool {
        if pointer.is_empty() {
            return !self.bytes.is_empty();
        }
        self.value().and_then(|it| it.pointer(pointer)).is_some_and(|it| !it.is_null())
    }

    /// Returns the body as JSON, if it is JSON or a form.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        let decoded = || {
            let rules = Rules { unwrap: false, format: self.hints.format, ..Rules::default() };
            decode(self.hints.content_type, self.bytes, &rules).ok().map(|it| it.value)
        };
        if self.is_coded() {
            return None;
        }
        self.value.get_or_init(decoded).as_ref()
    }
}

/// Returns text as it is, and numbers, true and false as they were sent.
pub(super) fn as_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
