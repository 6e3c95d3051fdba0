//! Reads of tasks: one by its id, and lists.

use super::failure;
use super::shared::SharedDatabase;
use super::task_query::{EXACT, TaskQuery};
use super::writer::task;
use crate::model::company::CompanyId;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::store::error::StoreError;
use crate::store::json_size::json_bytes;
use crate::store::query::{Cursor, PageRequest, TaskFilter, TaskPage};

const ONE: &str = "SELECT document FROM hookmill.tasks WHERE company_id = $1 AND id = $2 AND deleted_at IS NULL";

/// Returns a task that is not deleted.
pub(super) async fn one(shared: &SharedDatabase, company: &CompanyId, id: TaskId) -> Result<Option<Task>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(ONE).await.map_err(failure::read)?;
    let row = client.query_opt(&statement, &[&company.as_str(), &id.0]).await.map_err(failure::read)?;
    row.map(|row| task(row.get(0))).transpose()
}

/// Returns a page of a company's tasks, newest first.
pub(super) async fn list(
    shared: &SharedDatabase,
    company: &CompanyId,
    filter: &TaskFilter,
    page: PageRequest,
) -> Result<TaskPage, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let (offset, limit, below) = match page {
        PageRequest::Number { page, limit } => ((page - 1).saturating_mul(limit as u64), limit, u64::MAX),
        PageRequest::After { cursor, limit } => (0, limit, cursor.0),
    };
    let offset = i64::try_from(offset).unwrap_or(i64::MAX - 1000);
    let below = i64::try_from(below).unwrap_or(i64::MAX);
    let query = TaskQuery::of(company, filter);
    // One more than the page has, which shows whether there are more.
    let rows = query.page(&client, below, offset, limit as i64 + 1);
    let total = query.total(&client);
    let (rows, counted) = tokio::try_join!(rows, total).map_err(failure::read)?;
    let (mut tasks, mut bytes, mut last) = (Vec::with_capacity(limit), 0, None);
    let mut is_cut = false;
    for row in rows.iter().take(limit) {
        let task = task(row.get(1))?;
        bytes += json_bytes(&task);
        if bytes > shared.options.page_bytes && !tasks.is_empty() {
            is_cut = true;
            break;
        }
        last = Some(row.get::<_, i64>(0));
        tasks.push(task);
    }
    let more = rows.len() > limit || is_cut;
    let next = last.filter(|_| more).and_then(|it| u64::try_from(it).ok()).map(Cursor);
    let total_is_exact = counted <= EXACT;
    Ok(TaskPage { tasks, total: counted.min(EXACT).unsigned_abs(), total_is_exact, next, is_cut })
}
