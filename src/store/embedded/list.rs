//! Lists of tasks: which ones says the index, and what they are the view.

use super::index::Company;
use super::read_task;
use super::record::damaged;
use super::shared::{Current, Shared};
use crate::auth::CompanyId;
use crate::store::{Cursor, Page, StoreError, TaskFilter, TaskPage};
use crate::task::{Task, TaskId};

/// How often a page is read without holding the index, before it is read while holding it.
const TRIES: usize = 3;

/// One page, as of one moment. The applier waits for nobody who reads tasks: the index is locked only to find the rows.
/// Where one of the company's tasks was changed meanwhile, the page is read again; at last with the index locked, so
/// that a company whose tasks change all the time is listed as well.
pub(super) fn list(
    shared: &Shared,
    company: &CompanyId,
    filter: &TaskFilter,
    page: Page,
) -> Result<TaskPage, StoreError> {
    for _ in 0..TRIES {
        let (found, current, seen) = {
            let (index, current) = shared.pair();
            let Some(tasks) = index.company(company) else { return Ok(empty()) };
            (find(tasks, filter, page)?, current, tasks.changes())
        };
        let read = shared.view_of(&current, |tree| {
            let tasks = read(tree, company, &found.ids)?;
            if changed(shared, company, &current, seen) { Ok(None) } else { whole(tasks).map(Some) }
        });
        match read {
            Ok(Some(tasks)) => return Ok(found.page(tasks)),
            Ok(None) => {}
            // The old view's files may be gone.
            Err(_) if !shared.is_current(&current) => {}
            Err(error) => return Err(error),
        }
    }
    let (index, current) = shared.pair();
    let Some(tasks) = index.company(company) else { return Ok(empty()) };
    let found = find(tasks, filter, page)?;
    let tasks = shared.view_of(&current, |tree| read(tree, company, &found.ids).and_then(whole))?;
    Ok(found.page(tasks))
}

/// The tasks of a page that is not read yet.
struct Found {
    ids: Vec<TaskId>,
    total: u64,
    next: Option<Cursor>,
}

impl Found {
    fn page(self, tasks: Vec<Task>) -> TaskPage {
        TaskPage { tasks, total: self.total, next: self.next }
    }
}

fn empty() -> TaskPage {
    TaskPage { tasks: Vec::new(), total: 0, next: None }
}

fn find(tasks: &Company, filter: &TaskFilter, page: Page) -> Result<Found, StoreError> {
    let found = tasks.find(filter, page);
    let next = found.rows.last().filter(|_| found.more).map(|row| Cursor(u64::from(*row)));
    let id = |row: &u32| tasks.id(*row).map(TaskId).ok_or_else(|| damaged("index", &"a row without a task"));
    Ok(Found { ids: found.rows.iter().map(id).collect::<Result<_, _>>()?, total: found.total, next })
}

fn read(tree: &sled::Tree, company: &CompanyId, ids: &[TaskId]) -> Result<Vec<Option<Task>>, StoreError> {
    ids.iter().map(|id| read_task(tree, company, *id)).collect()
}

fn whole(tasks: Vec<Option<Task>>) -> Result<Vec<Task>, StoreError> {
    tasks.into_iter().map(|it| it.ok_or_else(|| damaged("index", &"a task that is not stored"))).collect()
}

/// Whether one of the company's tasks, or the whole view, is another by now.
fn changed(shared: &Shared, company: &CompanyId, current: &Current, seen: u64) -> bool {
    // The applier holds the index while it changes the tree, so this waits for a change that was half visible.
    let index = shared.index.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    !shared.is_current(current) || index.company(company).is_none_or(|it| it.changes() != seen)
}
