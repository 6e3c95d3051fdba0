//! `/v1/tasks`: the documented task API.

use std::sync::Arc;

use bytes::Bytes;
use warp::http::StatusCode;

use super::answer::{Answer, Failed, with_loosened};
use super::call::Call;
use super::conflict::{ComparedBody, Reads, explained};
use super::openapi::describer::Describer;
use super::openapi::headers;
use super::path::{NO_TASK, Path};
use super::problem::Problem;
use super::query::reading::wrong;
use super::query::routes::TaskListQuery;
use super::query::values::PageNumber;
use super::repeat::{Once, Told};
use super::reply::{NoContent, Page, Pagination, TypedReply};
use super::request_headers::{IdempotencyKey, IfMatch};
use super::task_body::{NewTaskBody, TaskChangeBody};
use crate::auth::ApiKey;
use crate::format::payload;
use crate::format::payload::{Loosened, Rules};
use crate::format::schema::{self, Violation};
use crate::format::task_change::TaskChange;
use crate::integration::stop::Stop;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::Task;
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::{Prepared, Receipt};
use crate::store::{self, Updated};

/// A task that was created.
pub(super) struct TaskCreated {
    pub(super) task: Task,
    pub(super) loosened: Loosened,
    pub(super) event_id: EventId,
}

/// One task, and what was read loosely to change it.
pub(super) struct TaskFound {
    task: Task,
    loosened: Loosened,
}

/// `POST /v1/tasks`
pub(super) async fn create(
    call: Call,
    key: Arc<ApiKey>,
    (repeat, NewTaskBody(body)): (IdempotencyKey, NewTaskBody),
) -> Result<Answer<TaskCreated>, Failed> {
    let once = Once::of(repeat, Some(&key.company_id), &key.id.0, "/v1/tasks", &body);
    let created = create_once(&call, &key, &once, body.clone()).await;
    match created {
        Err(failed) => {
            let sent = [ComparedBody { content_type: call.header("content-type"), body: &body }];
            Err(explained(failed, &call, &key.company_id, &sent, reads_task(&key)).await)
        }
        created => created,
    }
}

/// How a task's body is read, for the explanation of a conflict.
pub(super) fn reads_task(key: &ApiKey) -> impl Reads {
    let rules = key.rules();
    move |content_type, body| {
        let payload = payload::decode(content_type, body, &rules).ok()?;
        Some(payload::unwrap_envelope(payload, schema::task_create().shape(), &rules).ok()?.value)
    }
}

async fn create_once(call: &Call, key: &ApiKey, once: &Once, body: Bytes) -> Result<Answer<TaskCreated>, Failed> {
    let raw = call.raw_event(key.company_id.clone(), body, &[]);
    let rules = Rules { body_bytes: call.app.config.limits.body_bytes, ..key.rules() };
    let event_id = raw.id;
    let (pipeline, failed) = (&call.app.pipeline, Failed::of(event_id));
    let prepared = pipeline::task(pipeline, &rules, raw, once.stored(call)).await.map_err(&failed)?;
    let ready = match prepared {
        Prepared::Superseded(superseded) => return Ok(once.superseded(superseded)?),
        Prepared::Ready(ready) => ready,
    };
    let Told { answer, remembered } = once.tell(created(ready.receipt(), event_id));
    let superseded = ready.commit(pipeline, remembered, once.stored(call)).await.map_err(|it| failed(it.into()))?;
    Ok(once.ended(answer, superseded)?)
}

fn created(receipt: &Receipt, event_id: EventId) -> Result<Answer<TaskCreated>, Problem> {
    match receipt {
        Receipt::Created { tasks, loosened } => match tasks.as_slice() {
            [task] => written(task, loosened, event_id),
            _ => Err(Problem::Internal),
        },
        Receipt::Skipped { .. } | Receipt::Captured => Err(Problem::Internal),
    }
}

/// `GET /v1/tasks`
pub(super) async fn list(call: Call, key: Arc<ApiKey>, query: TaskListQuery) -> Result<Page<Task, Pagination>, Failed> {
    if call.exchange.has_content {
        return Err(Problem::BodyOnGet.into());
    }
    let (page, limit) = (wanted(&query)?, query.limit.0);
    let _one_of_few = call.app.memory.page().await;
    let found = call.app.store.list_tasks(&key.company_id, query.filter(), page).await?;
    if let store::PageRequest::Number { .. } = page
        && found.is_cut
    {
        return Err(Problem::Invalid(too_large(found.tasks.len(), call.app.config.limits.page_bytes)).into());
    }
    let page = match page {
        store::PageRequest::Number { page, .. } => page,
        // Pages behind a cursor are not numbered.
        store::PageRequest::After { .. } => 1,
    };
    let next_cursor = found.next.map(|it| it.to_string());
    let pagination = Pagination {
        has_more: next_cursor.is_some(),
        total: found.total,
        total_is_exact: (!found.total_is_exact).then_some(false),
        page,
        limit,
        next_cursor,
    };
    Ok(Page { data: found.tasks, pagination })
}

/// The page of a list. A cursor is a place of its own: together with a number, one of the two would be ignored.
fn wanted(query: &TaskListQuery) -> Result<store::PageRequest, Vec<Violation>> {
    let limit = query.limit.0;
    match (query.cursor, query.page) {
        (Some(_), Some(PageNumber(number))) => {
            let sent = number.to_string();
            Err(vec![wrong("page", "no page number", Some(&sent), "cannot be combined with cursor; send one of them")])
        }
        (Some(cursor), None) => Ok(store::PageRequest::After { cursor, limit }),
        (None, number) => Ok(store::PageRequest::Number { page: number.map_or(1, |it| it.0.into()), limit }),
    }
}

/// A numbered page cannot be shorter than its limit: the next number would skip tasks.
fn too_large(fits: usize, bytes: usize) -> String {
    format!(
        "limit: the tasks of this page have more than {bytes} bytes (limits.page_bytes); send limit={fits}, and follow next_cursor"
    )
}

/// `GET /v1/tasks/{id}`
pub(super) async fn show(call: Call, key: Arc<ApiKey>, Path(id): Path<TaskId>) -> Result<TaskFound, Failed> {
    let task = call.app.store.task(&key.company_id, id).await?;
    Ok(TaskFound { task: task.ok_or(NO_TASK)?, loosened: Loosened::default() })
}

/// `PATCH /v1/tasks/{id}`
pub(super) async fn change(
    call: Call,
    key: Arc<ApiKey>,
    (Path(id), IfMatch(version), TaskChangeBody(body)): (Path<TaskId>, IfMatch, TaskChangeBody),
) -> Result<TaskFound, Failed> {
    let rules = key.rules();
    let payload = payload::decode(call.header("content-type"), &body, &rules)
        .and_then(|it| payload::unwrap_envelope(it, schema::task_update().shape(), &rules))
        .map_err(Stop::Decode)?;
    let has_files = !payload::file_places(&payload.value).is_empty();
    let (change, mut loosened) = TaskChange::parse(payload, version, &rules)?;
    if has_files {
        // A change is not an event: nothing keeps them.
        loosened.add("file");
    }
    let updated = call.app.store.update_task(&key.company_id, id, change.version, change.patch, now()).await?;
    Ok(TaskFound { task: done(updated)?, loosened })
}

/// `DELETE /v1/tasks/{id}`
pub(super) async fn delete(
    call: Call,
    key: Arc<ApiKey>,
    (Path(id), IfMatch(version)): (Path<TaskId>, IfMatch),
) -> Result<NoContent, Failed> {
    done(call.app.store.delete_task(&key.company_id, id, version, now()).await?)?;
    Ok(NoContent)
}

fn done(updated: Updated) -> Result<Task, Problem> {
    match updated {
        Updated::Done(task) => Ok(*task),
        Updated::Missing => Err(NO_TASK),
        Updated::Stale { version } => Err(Problem::VersionConflict { version }),
    }
}

/// 201 with the documented task, its URL, and what was read loosely. Written from references: a task is not copied for it.
pub(super) fn written<T>(task: &Task, loosened: &Loosened, event_id: EventId) -> Result<Answer<T>, Problem> {
    let answer = one(StatusCode::CREATED, task)?.with("location", &format!("/v1/tasks/{}", task.id));
    Ok(with_loosened(answer, loosened).for_event(event_id))
}

/// A response with one task, and its version for `If-Match`.
fn one<T>(status: StatusCode, task: &Task) -> Result<Answer<T>, Problem> {
    Ok(Answer::json(status, task)?.with("etag", &format!("\"{}\"", task.version)))
}

impl TypedReply for TaskCreated {
    fn write(self) -> Result<Answer<Self>, Problem> {
        written(&self.task, &self.loosened, self.event_id)
    }

    fn describe(to: &mut Describer<'_>) {
        let headers = [headers::LOCATION, headers::ETAG, headers::EVENT_ID, headers::LOOSENED];
        to.answers::<Task>(201, "The task was created.", &headers);
    }
}

impl TypedReply for TaskFound {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(with_loosened(one(StatusCode::OK, &self.task)?, &self.loosened))
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Task>(200, "The task.", &[headers::ETAG, headers::LOOSENED]);
    }
}
