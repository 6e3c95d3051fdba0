//! A decoded body, and the rules by which it is decoded.

use serde_json::Value;

/// Maximum size of a body without its content coding, if nothing else is set, in bytes.
const BODY_BYTES: usize = 1 << 20;

/// The format of a body, as its sender's description declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredFormat {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// XML.
    Xml,
    /// A JSON Web Token, whose claims are the payload. Its signature is verified elsewhere.
    Jwt,
}

/// How a sender's body is read.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Accept JSON of the documented form only.
    pub strict: bool,
    /// Time zone of deadlines without an offset; UTC by default.
    pub timezone: chrono_tz::Tz,
    /// Remove wrappers that workflow tools put around a payload. A sender that signs its bodies sends none.
    pub unwrap: bool,
    /// Maximum size of a body without its content coding, in bytes.
    pub body_bytes: usize,
    /// The format of every body, whatever its content type says.
    pub format: Option<DeclaredFormat>,
    /// What an empty body counts as.
    pub empty: Option<Value>,
    /// JSON Pointers: text there that is JSON is parsed in place.
    pub json_in: Vec<String>,
    /// JSON Pointers: text there that is JSON in base64 is parsed in place.
    pub base64_json_in: Vec<String>,
    /// JSON Pointers: if the body holds nothing but this value, it is the payload.
    pub unwrap_at: Vec<String>,
    /// JSON Pointers: if there are any, only the values there are kept, because the sender signs nothing else.
    pub only: Option<Vec<String>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            only: None,
            strict: false,
            timezone: chrono_tz::Tz::default(),
            unwrap: true,
            body_bytes: BODY_BYTES,
            format: None,
            empty: None,
            json_in: Vec::new(),
            base64_json_in: Vec::new(),
            unwrap_at: Vec::new(),
        }
    }
}

/// The encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON: values have types.
    Json,
    /// A form: every value is text.
    Form,
    /// A form whose only field is JSON.
    JsonField,
}

/// A decoded body.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The decoded value.
    pub value: Value,
    /// Encoding of the body.
    pub encoding: Encoding,
    /// What was read loosely so far.
    pub loosened: Loosened,
    /// The wrappers that were removed, from the outside.
    pub wrappers: Wrappers,
}

/// Wrappers of a payload, each without what it wrapped, and the name of its place.
#[derive(Debug, Clone, Default)]
pub struct Wrappers(Vec<(Value, String)>);

impl Wrappers {
    /// Returns the names of the places of what they wrapped, from the outside.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, name)| name.as_str())
    }
}

impl Payload {
    /// Creates the payload of a JSON value that was not wrapped.
    #[must_use]
    pub fn of(value: Value) -> Self {
        Self::new(value, Encoding::Json, Loosened::default())
    }

    /// Creates a payload that was not wrapped.
    #[must_use]
    pub fn new(value: Value, encoding: Encoding, loosened: Loosened) -> Self {
        Self { value, encoding, loosened, wrappers: Wrappers::default() }
    }

    /// Returns the value at a JSON Pointer into the body, as it was before wrappers were removed, or else into the
    /// payload.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        let mut rest = pointer;
        for (wrapper, step) in &self.wrappers.0 {
            let name = rest.strip_prefix('/').map(|it| it.split('/').next().unwrap_or_default());
            match name.filter(|it| it.replace("~1", "/").replace("~0", "~") == *step) {
                Some(name) => rest = rest.get(1 + name.len()..).unwrap_or_default(),
                None => return wrapper.pointer(rest).or_else(|| self.value.pointer(pointer)),
            }
        }
        self.value.pointer(rest).or_else(|| self.value.pointer(pointer))
    }

    /// Makes a member of the value, or an item, the payload. What is around it is kept for [`Self::pointer`].
    pub(super) fn enter(&mut self, step: &str) {
        let inner = match &mut self.value {
            Value::Object(map) => map.get_mut(step).map(Value::take),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|at| items.get_mut(at)).map(Value::take),
            _ => None,
        };
        let wrapper = std::mem::replace(&mut self.value, inner.unwrap_or_default());
        self.wrappers.0.push((wrapper, step.to_owned()));
    }
}

/// Names of what was read loosely, each once, in order; for the response header `X-Loosened`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loosened(Vec<String>);

impl Loosened {
    /// Adds a name.
    pub fn add(&mut self, name: &str) {
        if !self.0.iter().any(|it| it == name) {
            self.0.push(name.to_owned());
        }
    }

    /// Returns the names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Returns the names as in `deadline,tags`; `None` if nothing was read loosely.
    #[must_use]
    pub fn header_value(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(","))
    }
}
