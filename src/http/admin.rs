//! `/v1/admin/keys`: API keys. A key with the scope `admin` manages the keys of its company.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Failed};
use super::body::{Json, JsonBody};
use super::call::Call;
use super::key_list::ApiKeyList;
use super::openapi::examples::{Example, example};
use super::path::{Path, SentKeyId};
use super::problem::Problem;
use super::query::routes::KeyListQuery;
use super::repeat::Once;
use super::reply::{Created, NoContent, TypedReply as _};
use super::request_headers::IdempotencyKey;
use crate::auth::{ApiKey, AuthError, Scope, key};
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::time::now;
use crate::pipeline::Superseded;
use crate::service::app::{Admin, KeyRequest};

/// Text without characters that are not visible as themselves ([`crate::system::text::is_unprintable`]).
const VISIBLE: &str = r"^[^\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]*$";

/// A key to create.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    /// A note, such as who uses the key.
    #[serde(default)]
    #[schemars(length(max = 200), extend("pattern" = VISIBLE))]
    label: String,
    /// Whose tasks it reaches.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    company_id: String,
    /// What it may do.
    #[schemars(length(min = 1, max = 5))]
    scopes: Vec<Scope>,
    /// When it expires; never if left out.
    #[schemars(extend("pattern" = "^(19[7-9]|[2-9][0-9]{2})[0-9]-"))]
    expires_at: Option<DateTime<Utc>>,
    /// The IANA time zone of deadlines without an offset; UTC if left out.
    #[schemars(with = "Option<String>", extend("format" = "iana-time-zone"))]
    timezone: Option<chrono_tz::Tz>,
    /// Accept tasks of the documented shape only, and correct nothing.
    #[serde(default)]
    strict: bool,
}

impl JsonBody for CreateKey {
    const ABOUT: &'static str = "The key to create.";
    const EXAMPLES: &'static [Example] = &[example!("reader", "A key that reads tasks.", "payloads/key.json")];
}

/// A key that was created.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyCreated {
    /// The key; null in the response to a repeated request.
    key: Option<String>,
    /// Everything else about it.
    details: ApiKey,
}

/// `POST /v1/admin/keys`. Only this response has the key itself, so a repetition gets null in its place.
pub(super) async fn create_key(
    call: Call,
    admin: Admin,
    (repeat, Json { value: asked, bytes }): (IdempotencyKey, Json<CreateKey>),
) -> Result<Answer<Created<KeyCreated>>, Failed> {
    let once = Once::of(repeat, admin.company(), admin.name(), "/v1/admin/keys", &bytes);
    if let Some(answer) = once.before(&call).await? {
        return Ok(answer);
    }
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
    // The response to a repetition is stored, so it does not contain the key.
    let remembered = once.remember(&made(None, &stored)?);
    let answer = made(Some(&secret), &stored);
    let entry = admin.does(Action::KeyCreated, &stored.id).of(&stored.company_id).with(stored.scope_names());
    let committed = call.app.create_key(stored, entry, remembered).await?;
    Ok(once.ended(answer, Superseded::of(committed))?)
}

fn made(key: Option<&str>, details: &ApiKey) -> Result<Answer<Created<KeyCreated>>, Problem> {
    Created(KeyCreated { key: key.map(str::to_owned), details: details.clone() }).write()
}

/// `GET /v1/admin/keys`. An admin sees the keys of its company, the operator all of them.
pub(super) async fn list_keys(call: Call, admin: Admin, query: KeyListQuery) -> Result<ApiKeyList, Failed> {
    let KeyListQuery { company_id, limit, cursor } = query;
    if company_id.as_ref().is_some_and(|it| !admin.manages(it)) {
        return Err(AuthError::OtherCompany.into());
    }
    let is_asked =
        |it: &ApiKey| admin.manages(&it.company_id) && company_id.as_ref().is_none_or(|of| it.company_id == *of);
    let keys = call.app.keys.list().iter().filter(|it| is_asked(it)).map(|it| ApiKey::clone(it)).collect();
    Ok(ApiKeyList::of(keys, limit, cursor.as_ref()))
}

/// `DELETE /v1/admin/keys/{id}`: the key is no longer valid; its record stays.
pub(super) async fn revoke_key(
    call: Call,
    admin: Admin,
    Path(SentKeyId(id)): Path<SentKeyId>,
) -> Result<NoContent, Failed> {
    let keys = call.app.keys.list();
    let found = keys.iter().find(|it| it.id.0 == id && admin.manages(&it.company_id));
    let key = found.ok_or(Problem::NotFound("no such key"))?;
    let entry = admin.does(Action::KeyRevoked, &key.id).of(&key.company_id);
    call.app.revoke_key(key, entry).await?;
    Ok(NoContent)
}
