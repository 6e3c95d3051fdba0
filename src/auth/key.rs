//! API keys: stored as SHA-256 hashes, each with a company, scopes and optionally an expiry time.
//!
//! A generated key has 256 random bits, so a plain hash suffices: it cannot be guessed, and a slow password hash
//! would only slow down every request.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::AuthError;
use super::scope::{Scope, Scopes};
use crate::format::payload::Rules;
use crate::model::company::CompanyId;
use crate::system::text::is_unprintable;

/// Identifies a key in lists and logs; reveals nothing about the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stored key: everything except the key itself.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ApiKey {
    /// Id of the key.
    pub id: KeyId,
    /// The admin's note: the key's owner or purpose.
    pub label: String,
    /// Company whose tasks it can access.
    pub company_id: CompanyId,
    /// Permissions of the key.
    pub scopes: Scopes,
    /// Time of creation.
    #[serde(serialize_with = "crate::model::time::utc")]
    pub created_at: DateTime<Utc>,
    /// Expiry time, if there is one.
    pub expires_at: Option<DateTime<Utc>>,
    /// Time of revocation, if it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Time zone of deadlines without an offset; UTC if `None`.
    #[schemars(with = "Option<String>")]
    pub timezone: Option<chrono_tz::Tz>,
    /// Whether only the documented form is accepted, and nothing is read loosely.
    pub strict: bool,
    /// SHA-256 of the key.
    #[serde(skip)]
    pub hash: [u8; 32],
}

/// Maximum length of a key's label, in characters.
pub const LABEL: usize = 200;

/// Checks a key's label: it must be short and printable.
///
/// # Errors
/// A sentence that says which labels are valid.
pub fn label(text: &str) -> Result<String, String> {
    if text.chars().count() <= LABEL && !text.contains(is_unprintable) {
        return Ok(text.to_owned());
    }
    Err(format!("a label must have at most {LABEL} characters and no control characters"))
}

impl ApiKey {
    /// Returns the scopes as text: `tasks:read, admin`.
    #[must_use]
    pub fn scope_names(&self) -> String {
        self.scopes.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
    }

    /// Returns whether the key is neither revoked nor expired at `now`.
    #[must_use]
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Checks that the key has one of these scopes. If none are listed, every key will do.
    ///
    /// # Errors
    /// [`AuthError::Scope`] with the first scope if the key has none of them.
    pub fn allow_one(&self, scopes: &[Scope]) -> Result<(), AuthError> {
        match scopes.first() {
            Some(first) if !scopes.iter().any(|it| self.scopes.contains(it)) => Err(AuthError::Scope(*first)),
            _ => Ok(()),
        }
    }

    /// Checks that the key has this scope.
    ///
    /// # Errors
    /// [`AuthError::Scope`] if it does not.
    pub fn allow(&self, scope: Scope) -> Result<(), AuthError> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(AuthError::Scope(scope)) }
    }

    /// Returns how strictly values from the key's owner are read.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { strict: self.strict, timezone: self.timezone.unwrap_or_default(), ..Rules::default() }
    }
}

/// Maximum length of a key, in bytes. Longer texts are not hashed, because they cannot be a key.
pub const LONGEST: usize = 512;

/// Returns the SHA-256 of a key, as it is stored.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Generates a key and its id: `hm_` and 256 bits from the operating system.
///
/// # Errors
/// Fails if the operating system has no randomness available.
pub fn generate() -> Result<(KeyId, String), getrandom::Error> {
    let (mut id, mut secret) = ([0_u8; 6], [0_u8; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok((KeyId(format!("key_{id}")), format!("hm_{}", BASE64_URL_SAFE_NO_PAD.encode(secret))))
}

/// All keys in memory, by hash, so that requests are authenticated without reading the store.
#[derive(Debug, Default)]
pub struct KeyRing {
    by_hash: ArcSwap<HashMap<[u8; 32], Arc<ApiKey>>>,
}

impl KeyRing {
    /// Merges stored keys: adds new keys and revocations. It never removes a key and never reverts a revocation, so
    /// lists that were read at different times may be merged in any order.
    pub fn merge(&self, stored: Vec<ApiKey>) {
        let stored: Vec<_> = stored.into_iter().map(Arc::new).collect();
        self.by_hash.rcu(|known| {
            let mut merged = HashMap::clone(known);
            for key in &stored {
                let known = merged.entry(key.hash).or_insert_with(|| Arc::clone(key));
                if known.revoked_at.is_none() {
                    *known = Arc::clone(key);
                }
            }
            merged
        });
    }

    /// Returns all keys, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ApiKey>> {
        let mut keys: Vec<_> = self.by_hash.load().values().cloned().collect();
        keys.sort_by(|a, b| (a.created_at, &a.id.0).cmp(&(b.created_at, &b.id.0)));
        keys
    }

    /// Returns a key by its id, if it is neither revoked nor expired at `now`.
    #[must_use]
    pub fn by_id(&self, id: &str, now: DateTime<Utc>) -> Option<Arc<ApiKey>> {
        self.by_hash.load().values().find(|it| it.id.0 == id && it.is_good(now)).cloned()
    }

    /// Returns the key that a request carries. It is looked up by the hash of what was sent, which reveals nothing
    /// about stored keys to a guesser, and compared again in constant time.
    ///
    /// # Errors
    /// [`AuthError::NoKey`], [`AuthError::WrongKey`] or [`AuthError::QuotedKey`].
    pub fn check(&self, sent: Option<&str>, now: DateTime<Utc>) -> Result<Arc<ApiKey>, AuthError> {
        let sent = sent.map(str::trim).filter(|key| !key.is_empty()).ok_or(AuthError::NoKey)?;
        if sent.len() > LONGEST {
            return Err(AuthError::WrongKey);
        }
        let hash = hash(sent);
        // Copied from JSON or from a shell's line.
        let wrong = if sent.starts_with(['"', '\'']) { AuthError::QuotedKey } else { AuthError::WrongKey };
        let key = self.by_hash.load().get(&hash).cloned().ok_or(wrong)?;
        if bool::from(key.hash.ct_eq(&hash)) && key.is_good(now) { Ok(key) } else { Err(AuthError::WrongKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_read_before_a_revocation_does_not_undo_it() {
        let (ring, now) = (KeyRing::default(), DateTime::UNIX_EPOCH);
        let company_id = CompanyId::parse("company-1").unwrap();
        let key = |id: &str, revoked_at| ApiKey {
            id: KeyId(id.into()),
            label: String::new(),
            company_id: company_id.clone(),
            scopes: vec![Scope::Admin],
            created_at: now,
            expires_at: None,
            revoked_at,
            timezone: None,
            strict: false,
            hash: hash(id),
        };
        ring.merge(vec![key("one", None)]);
        assert!(ring.check(Some("one"), now).is_ok());
        ring.merge(vec![key("one", Some(now))]);
        ring.merge(vec![key("one", None), key("two", None)]);
        assert_eq!(ring.check(Some("one"), now).unwrap_err(), AuthError::WrongKey);
        assert_eq!(ring.check(Some("\"one\""), now).unwrap_err(), AuthError::QuotedKey);
        assert!(ring.check(Some("two"), now).is_ok());
        ring.merge(Vec::new());
        assert_eq!(ring.list().len(), 2);
    }
}
