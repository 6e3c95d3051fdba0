//! What lists find, compared with each task's own fields.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

use super::*;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::{NewTask, Priority, Status};
use crate::store::query::Cursor;

fn company(name: &str) -> CompanyId {
    CompanyId::parse(name).unwrap()
}

/// The `n`th task of company a.
fn task(n: u32) -> Task {
    let new: NewTask = serde_json::from_value(serde_json::json!({
        "title": "t", "description": "d", "assigned_user_ids": ["u"], "created_by_id": "u",
        "deadline": "2026-12-01T09:00:00Z",
    }))
    .unwrap();
    let id = Uuid::from_u128(u128::from(n) + 1);
    let mut task = new.into_task(TaskId(id), EventId(id), company("a"), DateTime::UNIX_EPOCH);
    task.status = [Status::Pending, Status::InProgress, Status::Completed][n as usize % 3];
    task.priority = [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][n as usize % 4];
    // Of one patient there are more tasks than a list of rows holds.
    task.patient_id = match n % 10 {
        0 => None,
        2 | 4 | 6 | 8 => Some("many".into()),
        _ => Some(format!("few-{}", n % 7)),
    };
    task.assigned_user_ids = vec![format!("u{}", n % 3), format!("u{}", n % 5)];
    task.assigned_user_ids.dedup();
    task.kind = (n % 4 == 1).then(|| "call".into());
    task
}

/// Every combination of filters, those that no task fits as well.
fn filters() -> Vec<TaskFilter> {
    let names = |all: &[&[&str]]| -> Vec<Vec<String>> {
        all.iter().map(|either| either.iter().map(|it| (*it).to_owned()).collect()).collect()
    };
    let mut filters = vec![TaskFilter::default()];
    let mut each =
        |change: &dyn Fn(&TaskFilter) -> Vec<TaskFilter>| filters = filters.iter().flat_map(change).collect();
    let statuses = [vec![], vec![Status::Pending], vec![Status::Completed, Status::InProgress]];
    each(&|it| statuses.iter().map(|status| TaskFilter { status: status.clone(), ..it.clone() }).collect());
    let priorities = [vec![], vec![Priority::Low], vec![Priority::Low, Priority::Urgent]];
    each(&|it| priorities.iter().map(|priority| TaskFilter { priority: priority.clone(), ..it.clone() }).collect());
    let patients = names(&[&[], &["many"], &["few-3"], &["none"], &["many", "few-3"], &["few-1", "none", "few-3"]]);
    each(&|it| patients.iter().map(|id| TaskFilter { patient_id: id.clone(), ..it.clone() }).collect());
    let users = names(&[&[], &["u0"], &["u4", "none"], &["u0", "u4"]]);
    each(&|it| users.iter().map(|id| TaskFilter { assigned_user_id: id.clone(), ..it.clone() }).collect());
    let kinds = names(&[&[], &["call"]]);
    each(&|it| kinds.iter().map(|kind| TaskFilter { kind: kind.clone(), ..it.clone() }).collect());
    filters
}

/// The place of a task that was changed once.
fn at(row: u32) -> LastChange {
    LastChange { sequence: 1, row }
}

const ALL: PageRequest = PageRequest::Number { page: 1, limit: 10_000 };

#[track_caller]
fn assert_same(index: &Index, tasks: &BTreeMap<u32, Task>) {
    let a = index.company(&company("a")).unwrap();
    for filter in filters() {
        let fits = |it: &(&u32, &Task)| it.1.deleted_at.is_none() && filter.fits(it.1);
        let expected: Vec<u32> = tasks.iter().rev().filter(fits).map(|(row, _)| *row).collect();
        let found = a.find(&filter, ALL);
        assert_eq!((found.total, found.more), (expected.len() as u64, false), "{filter:?}");
        assert_eq!(found.rows, expected, "{filter:?}");
    }
}

/// Otherwise a list shows tasks that do not fit its filter, or leaves some out.
#[test]
fn every_combination_of_filters_finds_the_tasks_that_fit_through_changes_and_removals() {
    let (mut index, mut tasks) = (Index::default(), BTreeMap::new());
    for row in 0..240 {
        index.add(&task(row), at(row), 100);
        tasks.insert(row, task(row));
    }
    assert_same(&index, &tasks);
    for row in (0..240).step_by(3) {
        let old = tasks.remove(&row).unwrap();
        index.remove(&old, at(row), 100);
        match row % 4 {
            // Purged.
            0 => {}
            // Deleted, and kept for some time.
            1 => {
                let deleted = Task { deleted_at: Some(DateTime::UNIX_EPOCH), ..old };
                index.add(&deleted, at(row), 100);
                tasks.insert(row, deleted);
            }
            // Changed: every field that can be filtered by.
            _ => {
                let changed = Task { id: old.id, ..task(row + 1) };
                index.add(&changed, at(row), 100);
                tasks.insert(row, changed);
            }
        }
    }
    assert_same(&index, &tasks);
    for (row, task) in std::mem::take(&mut tasks) {
        index.remove(&task, at(row), 100);
    }
    assert_same(&index, &tasks);
    assert_eq!(index.stats(), [], "a company without tasks is not counted");
    assert_eq!(index.next_rows().collect::<Vec<_>>(), [(&company("a"), 240)], "its rows are not used again");
}

/// Otherwise a client that follows cursors, or counts pages, misses tasks or sees some twice.
#[test]
fn a_page_is_cut_from_the_newest_row_on_and_says_whether_more_follow() {
    let mut index = Index::default();
    for row in [2, 3, 5, 7, 11] {
        index.add(&task(row), at(row), 1);
    }
    let a = index.company(&company("a")).unwrap();
    let found = |page: PageRequest| {
        let found = a.find(&TaskFilter::default(), page);
        assert_eq!(found.total, 5);
        (found.rows, found.more)
    };
    let number = |page, limit| found(PageRequest::Number { page, limit });
    assert_eq!(number(1, 2), (vec![11, 7], true));
    assert_eq!(number(2, 2), (vec![5, 3], true));
    assert_eq!(number(3, 2), (vec![2], false));
    assert_eq!(number(4, 2), (vec![], false));
    assert_eq!(number(u64::MAX, 100), (vec![], false));
    assert_eq!(number(1, 5), (vec![11, 7, 5, 3, 2], false));
    let after = |row, limit| found(PageRequest::After { cursor: Cursor(row), limit });
    // A cursor is a row; the page begins below it. Its own task may be gone.
    assert_eq!(after(11, 2), (vec![7, 5], true));
    assert_eq!(after(6, 2), (vec![5, 3], true));
    assert_eq!(after(5, 2), (vec![3, 2], false));
    assert_eq!(after(2, 2), (vec![], false));
    assert_eq!(after(0, 2), (vec![], false));
    assert_eq!(after(u64::MAX, 1), (vec![11], true));
}

/// Otherwise a purge takes tasks that are not due, or tasks of which it has too many at once.
#[test]
fn deleted_tasks_are_found_by_the_time_of_their_deletion() {
    let mut index = Index::default();
    let time = |minutes| DateTime::<Utc>::UNIX_EPOCH + Duration::minutes(minutes);
    for (row, minutes) in [(0, 30), (1, 10), (2, 20)] {
        index.add(&Task { deleted_at: Some(time(minutes)), ..task(row) }, at(row), 1);
    }
    index.add(&task(3), at(3), 1);
    let due = |minutes, most| {
        let found = index.deleted_before(time(minutes).timestamp_millis(), most);
        found.into_iter().map(|it| it.id.0.as_u128() - 1).collect::<Vec<_>>()
    };
    assert_eq!(due(10, 9), [0; 0]);
    assert_eq!(due(20, 9), [1]);
    assert_eq!(due(31, 9), [1, 2, 0]);
    assert_eq!(due(31, 2), [1, 2], "the oldest deletions first");
    let stats = &index.stats()[0];
    assert_eq!((stats.tasks, stats.deleted_tasks, stats.task_bytes), (1, 3, 4));
}
