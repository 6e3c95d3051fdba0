//! `/v1/tasks`: the documented task API.

use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use crate::app::now;
use crate::auth::Scope;
use crate::ingest::{self, Receipt};
use crate::payload::{Loosened, Rules};
use crate::task::{Task, TaskId};

/// `POST /v1/tasks`
pub(super) async fn create(mut call: Call) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksWrite, now())?;
    let body = call.body().await?;
    let raw = call.raw_event(key.company_id.clone(), body);
    let event_id = raw.id;
    let rules = Rules { strict: key.strict, timezone: key.timezone.unwrap_or_default() };
    match ingest::task(&call.app, &rules, raw).await.map_err(Failed::of(event_id))? {
        Receipt::Created { tasks, loosened } => match tasks.as_slice() {
            [task] => Ok(created(task, &loosened)?.for_event(event_id)),
            _ => Err(Problem::Internal.into()),
        },
        Receipt::Skipped { .. } => Err(Problem::Internal.into()),
    }
}

/// 201 with the documented task, where it is, and what was read loosely.
pub(super) fn created(task: &Task, loosened: &Loosened) -> Result<Answer, Problem> {
    let answer = Answer::json(StatusCode::CREATED, task)?.with("location", &format!("/v1/tasks/{}", task.id));
    Ok(with_loosened(answer, loosened))
}

/// The `X-Loosened` header, where anything was.
pub(super) fn with_loosened(answer: Answer, loosened: &Loosened) -> Answer {
    match loosened.header_value() {
        Some(names) => answer.with("x-loosened", &names),
        None => answer,
    }
}

/// `GET /v1/tasks/{id}`
pub(super) async fn show(call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksRead, now())?;
    let missing = Problem::NotFound("no such task");
    // What is no id names no task: the same answer as for another company's.
    let Ok(id) = Uuid::parse_str(&id) else { return Err(missing.into()) };
    let task = call.app.store.task(&key.company_id, TaskId(id)).await?.ok_or(missing)?;
    Ok(Answer::json(StatusCode::OK, &task)?)
}
