//! `GET /v1/me`: who the credentials belong to, for credential tests.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::key_holder::KeyHolder;
use super::reply::Success;
use crate::auth::{ApiKey, KeyId, Scope};
use crate::model::company::CompanyId;

/// The holder of the credentials in `X-API-Key`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub(super) struct IdentityAnswer {
    /// The credentials are the operator's token, which belongs to no company.
    operator: bool,
    /// The company whose data the key reaches; null for the operator.
    company_id: Option<CompanyId>,
    /// The key's id, never the key itself; null for the operator.
    key_id: Option<KeyId>,
    /// The label that the key was created with; `operator` for the operator.
    label: String,
    /// What the key may do.
    scopes: Vec<Scope>,
    /// The IANA time zone of deadlines without an offset.
    timezone: String,
    /// The key accepts only what is documented, and corrects nothing.
    strict: bool,
    /// Expiry time; null if the key does not expire.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    expires_at: Option<DateTime<Utc>>,
}

/// `GET /v1/me`
pub(super) async fn show(_: Call, who: KeyHolder, (): ()) -> Result<Success<IdentityAnswer>, Failed> {
    Ok(Success(match who {
        KeyHolder::Operator => IdentityAnswer::operator(),
        KeyHolder::Key(key) => IdentityAnswer::of(&key),
    }))
}

impl IdentityAnswer {
    fn operator() -> Self {
        Self {
            operator: true,
            company_id: None,
            key_id: None,
            label: "operator".into(),
            scopes: vec![Scope::Admin],
            timezone: chrono_tz::UTC.name().into(),
            strict: false,
            expires_at: None,
        }
    }

    fn of(key: &ApiKey) -> Self {
        Self {
            operator: false,
            company_id: Some(key.company_id.clone()),
            key_id: Some(key.id.clone()),
            label: key.label.clone(),
            scopes: key.scopes.clone(),
            timezone: key.rules().timezone.name().into(),
            strict: key.strict,
            expires_at: key.expires_at,
        }
    }
}
