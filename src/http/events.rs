//! `/v1/events`: what came in, and what became of it.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::event_query::EventQuery;
use super::tasks::{self, parse_id};
use crate::app::{Admin, now};
use crate::audit::Action;
use crate::auth::{AuthError, CompanyId, Scope};
use crate::event::{Event, EventId};
use crate::log::{Field, know};
use crate::store::Versioned;

/// There is none of this id, for this company.
pub(super) const MISSING: Problem = Problem::NotFound("no such event");

/// `GET /v1/events`: newest first.
pub(super) async fn list(call: Call) -> Result<Answer, Failed> {
    let reader = reader(&call)?;
    let query = EventQuery::parse(&call.query)?;
    if query.filter.reason.is_some() && !reader.inside {
        return Err(AuthError::Scope(Scope::EventsRead).into());
    }
    let _one_of_few = call.app.memory.page().await;
    let page = call.app.store.list_events(&reader.company, query.filter, query.after, query.limit).await?;
    let shown: Vec<_> = page.events.iter().map(|it| reader.shown(it)).collect::<Result<_, _>>()?;
    let pagination = json!({ "limit": query.limit, "next_cursor": page.next });
    Ok(Answer::json(StatusCode::OK, &Listed { data: shown, pagination })?)
}

/// A page of events, written out as it is.
#[derive(Serialize)]
struct Listed {
    data: Vec<Value>,
    pagination: Value,
}

/// `GET /v1/events/{id}`; with the scope `events:read` also headers, log and reason, with `admin` what was sent as well.
pub(super) async fn show(mut call: Call, id: String) -> Result<Answer, Failed> {
    let reader = reader(&call)?;
    let event = find(&call, &reader.company, &id).await?;
    call.weigh(&event.body).await?;
    let mut shown = reader.shown(&event)?;
    if let Some(admin) = reader.admin.filter(|_| event.no_body().is_none())
        && let Some(shown) = shown.as_object_mut()
    {
        call.app.store.note(admin.does(Action::EventRead, event.id).of(&event.company_id)).await?;
        shown.insert("body".into(), String::from_utf8_lossy(&event.body).into());
        shown.insert("payload".into(), payload(&call, &event));
    }
    Ok(Answer::json(StatusCode::OK, &shown)?.for_event(event.id))
}

/// `GET /v1/events/{id}/raw`: the body, byte for byte. It may be anything, so it is never shown by a browser.
pub(super) async fn raw(call: Call, id: String) -> Result<Answer, Failed> {
    let (company, admin) = reader(&call)?.admin()?;
    let event = find(&call, &company, &id).await?;
    if let Some(why) = event.no_body() {
        return Err(Problem::NotFound(why.sentence()).into());
    }
    call.app.store.note(admin.does(Action::EventRead, event.id).of(&company)).await?;
    let answer = Answer::bytes(event.body.to_vec()).for_event(event.id);
    Ok(answer.with("content-disposition", "attachment").with("x-content-type-options", "nosniff"))
}

/// Who reads whose events.
pub(super) struct Reader {
    pub(super) company: CompanyId,
    /// May see [`Event::INSIDE`].
    inside: bool,
    /// Who may see what was sent.
    pub(super) admin: Option<Admin>,
}

impl Reader {
    /// What this reader may see of an event.
    fn shown(&self, event: &Event) -> Result<Value, Problem> {
        let mut shown = serde_json::to_value(event).map_err(|_| Problem::Internal)?;
        if let Some(fields) = shown.as_object_mut().filter(|_| !self.inside) {
            fields.retain(|name, _| !Event::INSIDE.contains(&name.as_str()));
        }
        Ok(shown)
    }

    /// Whose, and who, where it may see what was sent.
    pub(super) fn admin(self) -> Result<(CompanyId, Admin), AuthError> {
        let admin = self.admin.ok_or(AuthError::Scope(Scope::Admin))?;
        Ok((self.company, admin))
    }
}

/// The operator names the company in the query.
pub(super) fn reader(call: &Call) -> Result<Reader, Problem> {
    if let Ok(admin @ Admin::Operator) = call.admin() {
        know(Field::Key, admin.name().to_owned());
        let named = form_urlencoded::parse(call.query.as_bytes()).find(|(name, _)| name == "company_id");
        let company = named.ok_or_else(|| Problem::Invalid("company_id: the operator must name one".into()))?.1;
        let company = CompanyId::parse(&company).map_err(Problem::Invalid)?;
        return Ok(Reader { company, inside: true, admin: Some(admin) });
    }
    let key = call.key_for_one([Scope::TasksRead, Scope::EventsRead, Scope::Admin], now())?;
    let inside = key.allow(Scope::EventsRead).is_ok() || key.allow(Scope::Admin).is_ok();
    let admin = key.allow(Scope::Admin).is_ok().then(|| Admin::Company(key.company_id.clone(), key.id.clone()));
    Ok(Reader { company: key.company_id.clone(), inside, admin })
}

pub(super) async fn find(call: &Call, company: &CompanyId, id: &str) -> Result<Event, Problem> {
    Ok(find_version(call, company, id).await?.event)
}

/// The same with the version that a change has to name.
pub(super) async fn find_version(call: &Call, company: &CompanyId, id: &str) -> Result<Versioned, Problem> {
    let id = EventId(Uuid::parse_str(id).map_err(|_| MISSING)?);
    know(Field::Event, id);
    call.app.store.versioned(company, id).await?.ok_or(MISSING)
}

/// What the plugin would get, as its integration reads it today; null where that is not live, or cannot read it.
fn payload(call: &Call, event: &Event) -> Value {
    let integration = call.app.registry.get(&event.integration.0);
    let own = integration.filter(|it| it.company_id == event.company_id);
    own.and_then(|it| it.payload(&event.raw()).ok()).map_or(Value::Null, |payload| payload.value)
}

/// `GET /v1/tasks/{id}/provenance`: what a task was made of, so that it can be made again. Where its event has
/// expired, only the event's id is left.
pub(super) async fn provenance(call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::Admin, now())?;
    let task = call.app.store.task(&key.company_id, parse_id(&id)?).await?.ok_or(tasks::MISSING)?;
    let event = call.app.store.event(&key.company_id, task.event_id).await?;
    let derived = event.as_ref().and_then(|it| it.provenance.as_ref());
    let answer = json!({
        "task_id": task.id,
        "event_id": task.event_id,
        "event_expired": event.is_none(),
        "integration": event.as_ref().map(|it| &it.integration),
        "received_at": event.as_ref().map(|it| crate::payload::format_utc(it.received_at)),
        "plugin_version": derived.map(|it| &it.plugin_version),
        "module_sha256": derived.map(|it| &it.module_sha256),
        "schema_sha256": derived.map(|it| &it.schema_sha256),
    });
    Ok(Answer::json(StatusCode::OK, &answer)?.for_event(task.event_id))
}
