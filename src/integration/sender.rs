//! How the senders of an integration are authenticated.

use std::collections::BTreeMap;

use crate::auth::password::Passwords;
use crate::auth::signature::{Delivery, FetchedKeys, Signature, SignatureClaim, WantedKey};
use crate::auth::{AuthError, SecretPlace};
use crate::model::headers::Headers;
use crate::model::secret::Secret;

/// How senders are authenticated.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `X-API-Key` with the scope `hooks:write`, of the integration's company.
    ApiKey,
    /// A signature over the raw body.
    Signature(Box<Signature>),
    /// HTTP Basic authentication.
    Basic {
        /// User name.
        username: String,
        /// Valid passwords.
        passwords: Passwords,
    },
    /// A secret after the name in the URL.
    UrlSecret {
        /// Hashes of the valid secrets.
        hashes: Passwords,
        /// The secrets, to find copies of them in headers.
        secrets: Vec<Secret>,
    },
}

/// The secrets of an integration that are set, with their names.
#[derive(Debug, Clone, Default)]
pub struct NamedSecrets {
    /// The names of the main secrets, whether they are set or not.
    pub names: Vec<String>,
    /// The main secrets.
    pub main: Vec<(String, Secret)>,
    /// The secrets of a sender file, by what they are for.
    pub others: BTreeMap<String, Vec<(String, Secret)>>,
    /// The names of the other secrets, whether they are set or not.
    pub other_names: Vec<String>,
    /// Where each secret is set.
    pub places: BTreeMap<String, SecretPlace>,
    /// The secrets from which whitespace was removed, and what it was.
    pub trimmed: Vec<(String, &'static str)>,
    /// What is wrong with files that secrets are read from.
    pub problems: Vec<String>,
}

impl NamedSecrets {
    /// Returns whether a text contains one of the secrets, in any case and encoding.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let all = self.main.iter().chain(self.others.values().flatten());
        let text = plain(text);
        all.map(|(_, it)| plain(it.expose())).any(|it| it.len() >= SHORTEST && text.contains(&it))
    }
}

/// Minimum length of a secret that is searched for, in bytes: a shorter one may be part of any text.
const SHORTEST: usize = 8;

/// A sender whose headers and URL are valid so far.
#[derive(Debug)]
pub enum Claimed {
    /// Fully authenticated by this secret, counted from 0; the body is not covered.
    Proved(usize),
    /// A signature that the body must match.
    Signed(SignatureClaim),
}

impl Auth {
    /// Returns whether this header (in lower case) contains the proof.
    #[must_use]
    pub fn proves(&self, header: &str) -> bool {
        if let Self::Signature(signature) = self { signature.is_in(header) } else { false }
    }

    /// Returns whether this parameter of the query contains the proof.
    #[must_use]
    pub fn proves_by_parameter(&self, name: &str) -> bool {
        if let Self::Signature(signature) = self { signature.is_in_parameter(name) } else { false }
    }

    /// Clears the values of headers that contain the URL's secret, because proxies copy URLs to headers. `in_url`
    /// is the secret that was sent, right or wrong.
    pub fn hide(&self, headers: &mut Headers, in_url: Option<&str>) {
        headers.iter_mut().filter(|(_, value)| self.is_in(value, in_url)).for_each(|(_, value)| value.clear());
    }

    /// Returns whether a text contains the URL's secret, in any case and encoding.
    #[must_use]
    pub fn is_in(&self, text: &str, in_url: Option<&str>) -> bool {
        let Self::UrlSecret { secrets, .. } = self else { return false };
        let all = secrets.iter().map(Secret::expose).chain(in_url);
        let text = plain(text);
        all.map(plain).any(|it| !it.is_empty() && text.contains(&it))
    }

    /// Checks the delivery's headers and URL before its body is read. `in_url` is what follows the integration's
    /// name in the URL. API keys are not checked here, so integrations with [`Self::ApiKey`] are refused.
    ///
    /// # Errors
    /// What is wrong with the proof, or that no secret is configured.
    pub fn claim(&self, delivery: &Delivery<'_>, in_url: Option<&str>) -> Result<Claimed, AuthError> {
        match self {
            Self::ApiKey => Err(AuthError::NoKey),
            Self::Signature(signature) if !signature.is_configured() => Err(AuthError::NotConfigured),
            Self::Signature(signature) => signature.claim(delivery).map(Claimed::Signed).map_err(AuthError::Signature),
            Self::UrlSecret { hashes, .. } => hashes.in_url(in_url).map(Claimed::Proved),
            Self::Basic { username, passwords } => {
                let header = delivery.headers.get("authorization").and_then(|it| it.to_str().ok());
                passwords.basic(header, username).map(Claimed::Proved)
            }
        }
    }

    /// Returns the settings of plugin.toml, by name.
    pub fn settings(&self) -> impl Iterator<Item = (&String, &String)> {
        let settings = if let Self::Signature(signature) = self { Some(signature.settings()) } else { None };
        settings.into_iter().flatten()
    }

    /// Returns the address that is signed, if plugin.toml names one.
    #[must_use]
    pub fn signed_url(&self) -> Option<&str> {
        match self {
            Self::Signature(signature) => Some(signature.signed_settings().url.as_str()).filter(|it| !it.is_empty()),
            _ => None,
        }
    }

    /// Returns whether keys may be needed that must be fetched for a claim.
    #[must_use]
    pub fn may_want(&self, claimed: &Claimed) -> bool {
        matches!((self, claimed), (Self::Signature(signature), Claimed::Signed(claim)) if signature.may_want(claim))
    }

    /// Returns the keys that must be fetched before the claim can be checked.
    ///
    /// # Errors
    /// What is wrong with the proof, whatever the keys are.
    pub fn wanted(&self, claimed: &Claimed, body: &[u8]) -> Result<Vec<WantedKey>, AuthError> {
        match (self, claimed) {
            (Self::Signature(signature), Claimed::Signed(claim)) => {
                signature.wanted(claim, body).map_err(AuthError::Signature)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Checks that the body matches the claim. Returns which secret matched, counted from 0; `None` for a fetched key.
    ///
    /// # Errors
    /// What is wrong with the proof.
    pub fn check(&self, claimed: &Claimed, body: &[u8], fetched: &FetchedKeys) -> Result<Option<usize>, AuthError> {
        match (self, claimed) {
            (_, Claimed::Proved(secret)) => Ok(Some(*secret)),
            (Self::Signature(signature), Claimed::Signed(claim)) => {
                signature.check(claim, body, fetched).map_err(AuthError::Signature)
            }
            _ => Err(AuthError::NoKey),
        }
    }

    /// Returns how many bytes are hashed to check a body of this size; see [`Signature::cost`].
    #[must_use]
    pub fn cost(&self, claimed: &Claimed, body: usize) -> usize {
        match (self, claimed) {
            (Self::Signature(signature), Claimed::Signed(claim)) => signature.cost(claim, body),
            _ => 0,
        }
    }
}

/// Converts a text to lower case and removes percent-encoding, even if it was applied several times.
fn plain(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..DECODED {
        let decoded = decoded(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    String::from_utf8_lossy(&bytes).to_lowercase()
}

/// Maximum number of times that a text may have been percent-encoded, by one proxy after another.
const DECODED: usize = 8;

/// Removes percent-encoding once; what is not a code stays as it is.
pub(super) fn decoded(bytes: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == b'%' => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|it| u8::from_str_radix(it, 16).ok())
            }
            _ => None,
        };
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    plain
}
