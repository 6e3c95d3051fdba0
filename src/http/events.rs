//! `/v1/events`: what came in, and what became of it.

use serde_json::json;
use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::tasks::{MISSING, parse_id};
use crate::app::now;
use crate::auth::Scope;
use crate::event::EventId;

/// `GET /v1/events/{id}`
pub(super) async fn show(call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksRead, now())?;
    let missing = Problem::NotFound("no such event");
    let Ok(id) = Uuid::parse_str(&id) else { return Err(missing.into()) };
    let event = call.app.store.event(&key.company_id, EventId(id)).await?.ok_or(missing)?;
    Ok(Answer::json(StatusCode::OK, &event)?.for_event(EventId(id)))
}

/// `GET /v1/tasks/{id}/provenance`: what a task was made of, so that it can be made again. Where its event has
/// expired, only the event's id is left.
pub(super) async fn provenance(call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::Admin, now())?;
    let task = call.app.store.task(&key.company_id, parse_id(&id)?).await?.ok_or(MISSING)?;
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
