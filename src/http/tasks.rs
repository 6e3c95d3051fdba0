//! `/v1/tasks`: the documented task API.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::query::ListQuery;
use super::repeat::Once;
use crate::app::now;
use crate::auth::Scope;
use crate::event::EventId;
use crate::ingest::{self, Receipt, Stop};
use crate::payload::{self, Loosened};
use crate::schema::{self, got};
use crate::store::{Page, Updated};
use crate::task::{Task, TaskChange, TaskId};

/// `POST /v1/tasks`
pub(super) async fn create(mut call: Call) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksWrite, now())?;
    let body = call.body().await?;
    let once = Once::of(&call, &key.id.0, "/v1/tasks", &body)?;
    let raw = call.raw_event(key.company_id.clone(), body, &[]);
    let event_id = raw.id;
    let (rules, tell) = (key.rules(), |receipt: &Receipt| once.tell(told(receipt, event_id)));
    let ended = ingest::task(&call.app, &rules, raw, tell, once.stored(&call));
    let ended = ended.await.map_err(Failed::of(event_id))?;
    Ok(once.ended(ended)?)
}

fn told(receipt: &Receipt, event_id: EventId) -> Result<Answer, Problem> {
    match receipt {
        Receipt::Created { tasks, loosened } => match tasks.as_slice() {
            [task] => Ok(created(task, loosened)?.for_event(event_id)),
            _ => Err(Problem::Internal),
        },
        Receipt::Skipped { .. } => Err(Problem::Internal),
    }
}

/// 201 with the documented task, where it is, and what was read loosely.
pub(super) fn created(task: &Task, loosened: &Loosened) -> Result<Answer, Problem> {
    let answer = one(StatusCode::CREATED, task)?.with("location", &format!("/v1/tasks/{}", task.id));
    Ok(with_loosened(answer, loosened))
}

/// An answer with one task; its version is what `If-Match` takes.
fn one(status: StatusCode, task: &Task) -> Result<Answer, Problem> {
    Ok(Answer::json(status, task)?.with("etag", &format!("\"{}\"", task.version)))
}

/// The `X-Loosened` header, where anything was.
pub(super) fn with_loosened(answer: Answer, loosened: &Loosened) -> Answer {
    match loosened.header_value() {
        Some(names) => answer.with("x-loosened", &names),
        None => answer,
    }
}

/// `GET /v1/tasks`
pub(super) async fn list(call: Call) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksRead, now())?;
    let ListQuery { filter, page, limit } = ListQuery::parse(&call.query, &key.rules())?;
    let _one_of_few = call.app.memory.page().await;
    let found = call.app.store.list_tasks(&key.company_id, filter, page).await?;
    if let Page::Number { .. } = page
        && found.is_cut
    {
        return Err(Problem::Invalid(too_large(found.tasks.len(), call.app.config.limits.page_bytes)).into());
    }
    let number = match page {
        Page::Number { page, .. } => page,
        // Behind a cursor, pages are not counted.
        Page::After { .. } => 1,
    };
    let pagination = json!({
        "has_more": found.next.is_some(),
        "total": found.total,
        "page": number,
        "limit": limit,
        "next_cursor": found.next.map(|it| it.to_string()),
    });
    Ok(Answer::json(StatusCode::OK, &Listed { data: &found.tasks, pagination })?)
}

/// A page of tasks. Written out as it is: a tree of JSON would take as much memory again.
#[derive(Serialize)]
struct Listed<'a> {
    data: &'a [Task],
    pagination: Value,
}

/// A page that is counted cannot be shorter: the next number would leave out what is missing here.
fn too_large(fits: usize, bytes: usize) -> String {
    format!(
        "limit: the tasks of this page have more than {bytes} bytes (limits.page_bytes); send limit={fits}, and follow next_cursor"
    )
}

/// `GET /v1/tasks/{id}`
pub(super) async fn show(call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksRead, now())?;
    let task = call.app.store.task(&key.company_id, parse_id(&id)?).await?;
    Ok(one(StatusCode::OK, &task.ok_or(MISSING)?)?)
}

/// `PATCH /v1/tasks/{id}`
pub(super) async fn change(mut call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksWrite, now())?;
    let id = parse_id(&id)?;
    let body = call.body().await?;
    let rules = key.rules();
    let payload = payload::decode(call.header("content-type"), &body, &rules)
        .and_then(|it| payload::unwrap_envelope(it, schema::task_update().shape(), &rules))
        .map_err(Stop::Decode)?;
    let (change, loosened) = TaskChange::parse(payload, if_match(&call)?, &rules)?;
    let updated = call.app.store.update_task(&key.company_id, id, change.version, change.patch, now()).await?;
    Ok(with_loosened(one(StatusCode::OK, &done(updated)?)?, &loosened))
}

/// `DELETE /v1/tasks/{id}`
pub(super) async fn delete(call: Call, id: String) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksWrite, now())?;
    let version = if_match(&call)?;
    let updated = call.app.store.delete_task(&key.company_id, parse_id(&id)?, version, now()).await?;
    done(updated)?;
    Ok(Answer::empty())
}

pub(super) const MISSING: Problem = Problem::NotFound("no such task");

/// What is no id names no task: the same answer as for another company's.
pub(super) fn parse_id(id: &str) -> Result<TaskId, Problem> {
    Uuid::parse_str(id).map(TaskId).map_err(|_| MISSING)
}

fn done(updated: Updated) -> Result<Task, Problem> {
    match updated {
        Updated::Done(task) => Ok(*task),
        Updated::Missing => Err(MISSING),
        Updated::Stale { version } => Err(Problem::VersionConflict { version }),
    }
}

/// The version in `If-Match`, as the header `ETag` writes it or without its quotes; `*` asks for none.
fn if_match(call: &Call) -> Result<Option<u64>, Problem> {
    let Some(sent) = call.headers.get("if-match") else { return Ok(None) };
    let sent = String::from_utf8_lossy(sent.as_bytes());
    let text = sent.trim();
    if matches!(text, "" | "*") {
        return Ok(None);
    }
    let tag = text.strip_prefix("W/").unwrap_or(text);
    let number = tag.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(tag).parse();
    number.map(Some).map_err(|_| {
        Problem::Invalid(format!("If-Match: {} is not a version; send e.g. If-Match: \"3\"", got(&json!(text))))
    })
}
