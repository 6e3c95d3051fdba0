//! API keys: kept as SHA-256 hashes, each with a company, scopes and perhaps an expiry.
//!
//! A key made here has 256 random bits, so a plain hash suffices: there is nothing to guess, and a slow
//! password hash would only slow down every request.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthError, CompanyId};
use crate::payload::Rules;
use crate::text::is_unprintable;

/// Names a key in lists and logs; says nothing about the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names are the documented values")]
pub enum Scope {
    #[serde(rename = "tasks:read")]
    #[value(name = "tasks:read")]
    TasksRead,
    #[serde(rename = "tasks:write")]
    #[value(name = "tasks:write")]
    TasksWrite,
    #[serde(rename = "hooks:write")]
    #[value(name = "hooks:write")]
    HooksWrite,
    #[serde(rename = "admin")]
    #[value(name = "admin")]
    Admin,
    // Stored keys hold a scope's place: new ones are added at the end only.
    #[serde(rename = "events:read")]
    #[value(name = "events:read")]
    EventsRead,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::TasksRead, Self::TasksWrite, Self::HooksWrite, Self::Admin, Self::EventsRead];

    /// The documented name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TasksRead => "tasks:read",
            Self::TasksWrite => "tasks:write",
            Self::HooksWrite => "hooks:write",
            Self::Admin => "admin",
            Self::EventsRead => "events:read",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The scopes of one key.
pub type Scopes = Vec<Scope>;

/// A stored key: everything but the key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// A note of the admin's: whose key it is, what for.
    pub label: String,
    /// Whose tasks it reaches.
    pub company_id: CompanyId,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    #[serde(serialize_with = "crate::task::utc")]
    pub created_at: DateTime<Utc>,
    /// From when it is no longer good.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The zone of deadlines without an offset; UTC where none is named.
    pub timezone: Option<chrono_tz::Tz>,
    /// Takes the documented shape only, and loosens nothing.
    pub strict: bool,
    /// SHA-256 of the key.
    #[serde(skip)]
    pub hash: [u8; 32],
}

/// Longest label of a key, in characters.
pub const LABEL: usize = 200;

/// A key's label, where it is one: short, and only of characters that show themselves.
///
/// # Errors
/// A sentence that says what a label may look like.
pub fn label(text: &str) -> Result<String, String> {
    if text.chars().count() <= LABEL && !text.contains(is_unprintable) {
        return Ok(text.to_owned());
    }
    Err(format!("a label has at most {LABEL} characters, and no control characters"))
}

impl ApiKey {
    /// What it may do, for people: `tasks:read, admin`.
    #[must_use]
    pub fn scope_names(&self) -> String {
        self.scopes.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
    }

    /// Whether it opens anything at this moment.
    #[must_use]
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Nothing, where the key may do one of these.
    ///
    /// # Errors
    /// [`AuthError::Scope`] with the first one, where it may not.
    pub fn allow_one(&self, scopes: [Scope; 3]) -> Result<(), AuthError> {
        if scopes.iter().any(|it| self.scopes.contains(it)) { Ok(()) } else { Err(AuthError::Scope(scopes[0])) }
    }

    /// Nothing, where the key may do this.
    ///
    /// # Errors
    /// [`AuthError::Scope`] where it may not.
    pub fn allow(&self, scope: Scope) -> Result<(), AuthError> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(AuthError::Scope(scope)) }
    }

    /// How loosely its holder is read.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { strict: self.strict, timezone: self.timezone.unwrap_or_default() }
    }
}

/// Longest key, in bytes: what is longer is not hashed, since it is none.
pub const LONGEST: usize = 512;

/// SHA-256 of a key, as it is stored.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A new key and its id: `hm_` and 256 bits from the operating system.
///
/// # Errors
/// Where the operating system has no randomness to give.
pub fn generate() -> Result<(KeyId, String), getrandom::Error> {
    let (mut id, mut secret) = ([0_u8; 6], [0_u8; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok((KeyId(format!("key_{id}")), format!("hm_{}", BASE64_URL_SAFE_NO_PAD.encode(secret))))
}

/// All keys in memory, by hash: a request is let in without touching the store.
#[derive(Debug, Default)]
pub struct KeyRing {
    by_hash: ArcSwap<HashMap<[u8; 32], Arc<ApiKey>>>,
}

impl KeyRing {
    /// Takes in what is stored: adds keys that are new, and notes revocations. It never forgets a key and never makes a
    /// revoked one good again, so lists that were read at different times may come in any order.
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

    /// Every key, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ApiKey>> {
        let mut keys: Vec<_> = self.by_hash.load().values().cloned().collect();
        keys.sort_by(|a, b| (a.created_at, &a.id.0).cmp(&(b.created_at, &b.id.0)));
        keys
    }

    /// The key that a request carries. Looked up by the hash of what was sent, which tells a guesser nothing
    /// about stored keys, and compared once more in constant time.
    ///
    /// # Errors
    /// [`AuthError::NoKey`] or [`AuthError::WrongKey`].
    pub fn check(&self, sent: Option<&str>, now: DateTime<Utc>) -> Result<Arc<ApiKey>, AuthError> {
        let sent = sent.map(str::trim).filter(|key| !key.is_empty()).ok_or(AuthError::NoKey)?;
        if sent.len() > LONGEST {
            return Err(AuthError::WrongKey);
        }
        let hash = hash(sent);
        let key = self.by_hash.load().get(&hash).cloned().ok_or(AuthError::WrongKey)?;
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
        assert!(ring.check(Some("two"), now).is_ok());
        ring.merge(Vec::new());
        assert_eq!(ring.list().len(), 2);
    }
}
