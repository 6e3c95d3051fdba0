//! Who is asking: API keys with scopes, and signatures over the raw body.

pub mod key;
pub mod limit;
pub mod password;
pub mod signature;
pub mod strength;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use key::{ApiKey, KeyId, KeyRing, Scope, Scopes};

/// A company: every task, event and key belongs to exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CompanyId(Arc<str>);

impl CompanyId {
    /// Longest name, in bytes. It leads every stored key, so it is kept short.
    pub const MAX_LEN: usize = 64;

    /// Takes letters, digits, `-`, `_` and `.`: never a NUL, which ends the name in stored keys.
    ///
    /// # Errors
    /// A sentence that says what a company id may look like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN;
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits && plain {
            return Ok(Self(text.into()));
        }
        Err(format!("a company id has 1 to {} letters, digits, '-', '_' or '.'", Self::MAX_LEN))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CompanyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for CompanyId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// Why a request was not let in. The sender is told no more than [`AuthError`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `X-API-Key` header.
    #[error("no API key: send it in the X-API-Key header")]
    NoKey,
    /// The key is not known, has expired or was revoked; which of them is not told.
    #[error("the API key in X-API-Key is not valid")]
    WrongKey,
    /// The key is good for something else.
    #[error("this API key lacks the scope {0}")]
    Scope(Scope),
    /// The signature is missing or does not fit the body.
    #[error("the request's signature is missing or wrong")]
    Signature(signature::Mismatch),
    /// The password or the secret in the URL is missing or wrong.
    #[error("the request's credentials are missing or wrong")]
    Credentials(&'static str),
    /// The integration's secret is not set on the server, so nothing can be checked.
    #[error("this integration cannot check its senders yet: its secret is not set on the server")]
    NotConfigured,
}

impl AuthError {
    /// The whole reason, for the admin and not for the sender.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Signature(mismatch) => mismatch.to_string(),
            Self::Credentials(cause) => (*cause).to_owned(),
            other => other.to_string(),
        }
    }
}
