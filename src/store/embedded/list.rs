//! Lists of tasks: the index finds the rows, and the read view has the tasks.

use super::index::{Company, PageRows};
use super::read::read_task;
use super::record::damaged;
use super::shared::{Current, SharedStore};
use crate::model::company::CompanyId;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::store::error::StoreError;
use crate::store::json_size::json_bytes;
use crate::store::query::{Cursor, PageRequest, TaskFilter, TaskPage};

/// How often a page is read without holding the index's lock, before it is read with the lock held.
const TRIES: usize = 3;

/// Returns a page of a company's tasks.
pub(super) fn list(
    shared: &SharedStore,
    company: &CompanyId,
    filter: &TaskFilter,
    page_of: PageRequest,
) -> Result<TaskPage, StoreError> {
    let found = page(shared, company, &|tasks| find(tasks, filter, page_of))?;
    let Some((tasks, PageRows { rows, total, more })) = found else {
        return Ok(TaskPage { tasks: Vec::new(), total: 0, total_is_exact: true, next: None, is_cut: false });
    };
    let is_cut = tasks.len() < rows.len();
    let last = rows.get(tasks.len().wrapping_sub(1)).filter(|_| more || is_cut);
    Ok(TaskPage { tasks, total, total_is_exact: true, next: last.map(|row| Cursor(u64::from(*row))), is_cut })
}

fn find(tasks: &Company, filter: &TaskFilter, page: PageRequest) -> Result<(Vec<TaskId>, PageRows), StoreError> {
    let found = tasks.find(filter, page);
    let id = |row: &u32| tasks.id(*row).map(TaskId).ok_or_else(|| damaged("index", &"a row without a task"));
    Ok((found.rows.iter().map(id).collect::<Result<_, _>>()?, found))
}

/// Finds the tasks of a page, and what else the page needs.
type Find<'a, T> = &'a dyn Fn(&Company) -> Result<(Vec<TaskId>, T), StoreError>;

/// Returns one page, consistent as of one moment: the tasks that `find` names, or fewer if more would exceed the size limit;
/// none for a company without tasks. The index is locked only to find the rows, so the applier does not wait for readers of
/// tasks. If one of the company's tasks changed in the meantime, the page is read again. The last attempt holds the lock, so
/// that lists also work for a company whose tasks change all the time.
pub(super) fn page<T>(
    shared: &SharedStore,
    company: &CompanyId,
    find: Find<'_, T>,
) -> Result<Option<(Vec<Task>, T)>, StoreError> {
    for _ in 0..TRIES {
        let ((ids, found), current, seen) = {
            let (index, current) = shared.pair();
            let Some(tasks) = index.company(company) else { return Ok(None) };
            (find(tasks)?, current, tasks.changes())
        };
        let read = shared.view_of(&current, |tree| {
            let tasks = read(shared, tree, company, &ids)?;
            if changed(shared, company, &current, seen) { Ok(None) } else { whole(tasks).map(Some) }
        });
        match read {
            Ok(Some(tasks)) => return Ok(Some((tasks, found))),
            Ok(None) => {}
            // The old view's files may have been removed.
            Err(_) if !shared.is_current(&current) => {}
            Err(error) => return Err(error),
        }
    }
    let (index, current) = shared.pair();
    let Some(tasks) = index.company(company) else { return Ok(None) };
    let (ids, found) = find(tasks)?;
    let tasks = shared.view_of(&current, |tree| read(shared, tree, company, &ids).and_then(whole))?;
    Ok(Some((tasks, found)))
}

/// Reads these tasks, stopping before the page would exceed the size limit; returns at least one.
fn read(
    shared: &SharedStore,
    tree: &sled::Tree,
    company: &CompanyId,
    ids: &[TaskId],
) -> Result<Vec<Option<Task>>, StoreError> {
    let (mut tasks, mut bytes) = (Vec::with_capacity(ids.len()), 0);
    for id in ids {
        let task = read_task(tree, company, *id)?;
        bytes += task.as_ref().map_or(0, json_bytes);
        if bytes > shared.options.page_bytes && !tasks.is_empty() {
            break;
        }
        tasks.push(task);
    }
    Ok(tasks)
}

fn whole(tasks: Vec<Option<Task>>) -> Result<Vec<Task>, StoreError> {
    tasks.into_iter().map(|it| it.ok_or_else(|| damaged("index", &"a task that is not stored"))).collect()
}

/// Returns whether one of the company's tasks has changed, or the view has been replaced.
fn changed(shared: &SharedStore, company: &CompanyId, current: &Current, seen: u64) -> bool {
    // The applier holds the index while it changes the tree, so this waits for a half-visible change.
    let index = shared.index.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    !shared.is_current(current) || index.company(company).is_none_or(|it| it.changes() != seen)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::store::embedded::StoreOptions;
    use crate::store::embedded::backend::Embedded;

    /// An index combined with another view's tree names tasks that the tree does not have: such a list returned
    /// 503.
    #[test]
    fn the_index_and_the_tree_that_a_list_uses_belong_together() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let (_index, current) = store.shared.pair();
                        assert!(store.shared.is_current(&current), "the view was replaced in between");
                    }
                });
            }
            (0..5).for_each(|_| store.compact().unwrap());
            done.store(true, Ordering::Relaxed);
        });
    }
}
