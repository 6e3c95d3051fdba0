//! `GET /v1/tasks/changes`: every change of a company's tasks in order, for clients that cannot receive webhooks.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::problem::Problem;
use super::query::routes::TaskChangesQuery;
use super::query::values::PageLimit;
use super::reply::Success;
use crate::auth::ApiKey;
use crate::format::schema::{Violation, got};
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::store::{ChangeFeed, FeedCursor};

/// A part of the changes, oldest first. Each task appears once, at its last change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangesAnswer {
    data: Vec<TaskChanged>,
    /// Send it as `cursor` to read on. At the end it stays valid: the same request returns what changes later.
    next_cursor: String,
    /// More changes can be read now.
    has_more: bool,
}

/// The last change of a task.
#[derive(Debug, Serialize, JsonSchema)]
struct TaskChanged {
    id: TaskId,
    version: u64,
    #[serde(serialize_with = "crate::model::time::utc")]
    updated_at: DateTime<Utc>,
    /// The task was deleted.
    deleted: bool,
    /// The task as it is now; null if it was deleted.
    task: Option<Task>,
}

impl From<Task> for TaskChanged {
    fn from(task: Task) -> Self {
        let deleted = task.deleted_at.is_some();
        let (id, version, updated_at) = (task.id, task.version, task.updated_at);
        Self { id, version, updated_at, deleted, task: (!deleted).then_some(task) }
    }
}

/// `GET /v1/tasks/changes`
pub(super) async fn changes(
    call: Call,
    key: Arc<ApiKey>,
    query: TaskChangesQuery,
) -> Result<Success<ChangesAnswer>, Failed> {
    let TaskChangesQuery { limit: PageLimit(limit), cursor } = query;
    let company = &key.company_id;
    let after = cursor.map(|it| FeedCursor::parse(company, &it).map_err(|said| wrong(&it, &said))).transpose()?;
    let _one_of_few = call.app.memory.page().await;
    let found = call.app.store.change_feed(company, after, limit).await?;
    let ChangeFeed::Page(page) = found else { return Err(Problem::CursorExpired.into()) };
    let data = page.tasks.into_iter().map(Into::into).collect();
    Ok(Success(ChangesAnswer { data, next_cursor: page.next.to_text(company), has_more: page.has_more }))
}

/// A text that is not a cursor of this company.
fn wrong(text: &str, said: &str) -> Problem {
    let violation = Violation {
        pointer: "/cursor".into(),
        code: "invalid_query".into(),
        expected: "the next_cursor of an earlier response".into(),
        got: Some(got(&text.into())),
        message: format!("cursor: {said}"),
        hint: None,
    };
    vec![violation].into()
}
