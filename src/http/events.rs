//! `/v1/events`: what came in, and what became of it.

use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
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
