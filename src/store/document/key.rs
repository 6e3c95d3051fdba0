//! An API key's record as JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::auth::{ApiKey, KeyId, Scopes};
use crate::model::company::CompanyId;

/// An API key with the hash of its secret.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyDocument {
    id: KeyId,
    label: String,
    company_id: CompanyId,
    scopes: Scopes,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    timezone: Option<chrono_tz::Tz>,
    strict: bool,
    sha256_base64: String,
}

// Both take apart all fields, so that a new one cannot be left out.

impl From<ApiKey> for KeyDocument {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, label, company_id, scopes, created_at, expires_at, revoked_at, timezone, strict, hash } = key;
        let sha256_base64 = BASE64_STANDARD.encode(hash);
        Self { id, label, company_id, scopes, created_at, expires_at, revoked_at, timezone, strict, sha256_base64 }
    }
}

impl KeyDocument {
    /// Returns the key; `None` if its hash is not 32 bytes in base64.
    pub(crate) fn key(self) -> Option<ApiKey> {
        let Self { id, label, company_id, scopes, created_at, expires_at, revoked_at, timezone, strict, sha256_base64 } =
            self;
        let hash = BASE64_STANDARD.decode(sha256_base64).ok()?.try_into().ok()?;
        Some(ApiKey { id, label, company_id, scopes, created_at, expires_at, revoked_at, timezone, strict, hash })
    }
}
