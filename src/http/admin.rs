//! `/v1/admin`: API keys. A key of scope `admin` manages its own company's.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::repeat::Once;
use crate::app::{KeyRequest, now};
use crate::audit::Action;
use crate::auth::{ApiKey, AuthError, CompanyId, Scope, key};
use crate::ingest::Ended;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateKey {
    #[serde(default)]
    label: String,
    company_id: String,
    scopes: Vec<Scope>,
    expires_at: Option<DateTime<Utc>>,
    timezone: Option<chrono_tz::Tz>,
    #[serde(default)]
    strict: bool,
}

/// `POST /v1/admin/keys`: the key itself is in this answer and nowhere else, so a repetition gets null in its place.
pub(super) async fn create_key(mut call: Call) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    let body = call.body().await?;
    let once = Once::of(&call, admin.name(), "/v1/admin/keys", &body)?;
    if let Some(answer) = once.before(&call).await? {
        return Ok(answer);
    }
    let asked: CreateKey =
        serde_json::from_slice(&body).map_err(|e| Problem::Invalid(format!("not a key request: {e}")))?;
    let company_id = CompanyId::parse(&asked.company_id).map_err(|e| Problem::Invalid(format!("company_id: {e}")))?;
    if !admin.manages(&company_id) {
        return Err(AuthError::Scope(Scope::Admin).into());
    }
    let request = KeyRequest {
        label: key::label(&asked.label).map_err(|e| Problem::Invalid(format!("label: {e}")))?,
        company_id,
        scopes: asked.scopes,
        expires_at: asked.expires_at,
        timezone: asked.timezone,
        strict: asked.strict,
    };
    request.check().map_err(Problem::Invalid)?;
    let (id, secret) = key::generate().map_err(|_| Problem::Internal)?;
    let stored = request.into_key(id, &secret, now());
    // What is kept for a repetition does not hold the key.
    let remembered = once.remember(&made(None, &stored)?);
    let answer = made(Some(&secret), &stored);
    let entry = admin.does(Action::KeyCreated, &stored.id).of(&stored.company_id).with(stored.scope_names());
    let committed = call.app.create_key(stored, entry, remembered).await?;
    Ok(once.ended(Ended::of(answer, committed))?)
}

fn made(secret: Option<&str>, key: &ApiKey) -> Result<Answer, Problem> {
    Answer::json(StatusCode::CREATED, &json!({ "key": secret, "details": key }))
}

/// `GET /v1/admin/keys`
pub(super) async fn list_keys(call: Call) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    let keys = call.app.keys.list();
    let keys: Vec<_> = keys.iter().filter(|it| admin.manages(&it.company_id)).map(AsRef::as_ref).collect();
    Ok(Answer::json(StatusCode::OK, &json!({ "data": keys }))?)
}

/// `DELETE /v1/admin/keys/{id}`: the key no longer opens anything; the record of it stays.
pub(super) async fn revoke_key(call: Call, id: String) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    let keys = call.app.keys.list();
    let found = keys.iter().find(|it| it.id.0 == id && admin.manages(&it.company_id));
    let key = found.ok_or(Problem::NotFound("no such key"))?;
    let entry = admin.does(Action::KeyRevoked, &key.id).of(&key.company_id);
    call.app.revoke_key(key, entry).await?;
    Ok(Answer::empty())
}
