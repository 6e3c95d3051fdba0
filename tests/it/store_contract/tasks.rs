//! Tasks: what is stored is read, listed, changed and deleted.

use std::sync::Arc;

use chrono::{Duration, SubsecRound as _, Utc};
use hookmill::model::ids::TaskId;
use hookmill::model::task::{Priority, Status, TaskPatch};
use hookmill::store::{Commit, Committed, PageRequest, Store, TaskFilter, Updated};

use super::{named, strange_texts};
use crate::stored::{company, ingested, list};

pub async fn a_commit_is_read_back_as_it_was(store: Arc<dyn Store>) {
    let it = ingested("a", |task| task.tags = vec!["x".into()]);
    assert_eq!(store.commit(it.clone().into()).await.unwrap(), Committed::Stored);
    let task = &it.tasks[0];
    assert_eq!(store.task(&task.company_id, task.id).await.unwrap().as_ref(), Some(task));
    assert_eq!(store.event(&task.company_id, it.event.id).await.unwrap(), Some(it.event.clone()));
    // Another company sees nothing of it.
    assert_eq!(store.task(&company("b"), task.id).await.unwrap(), None);
    assert_eq!(store.event(&company("b"), it.event.id).await.unwrap(), None);
    assert_eq!(list(&*store, "b", TaskFilter::default()).await, (vec![], 0));
}

pub async fn a_list_is_newest_first_and_totals_are_right_for_every_filter(store: Arc<dyn Store>) {
    let (mut all, since) = (Vec::new(), Utc::now().trunc_subsecs(3));
    for n in 0..60_usize {
        let it = ingested("a", |task| {
            task.patient_id = (n % 3 > 0).then(|| format!("p{}", n % 5));
            task.status = [Status::Pending, Status::InProgress, Status::Completed][n % 3];
            task.priority = [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][n % 4];
            task.assigned_user_ids = (0..=n % 2).map(|it| format!("u{}", (n + it) % 7)).collect();
            task.kind = (n % 2 == 0).then(|| format!("k{}", n % 4));
            // Not in the order of creation, and finer than a millisecond.
            task.updated_at = since + Duration::microseconds(if n % 2 == 0 { 30 - n as i64 } else { n as i64 });
        });
        all.insert(0, it.tasks[0].clone());
        store.commit(it.into()).await.unwrap();
    }
    // Every combination of filters, those that fit nothing as well.
    for bits in 0..64_u32 {
        for (patient, user, kind) in [("p1", "u3", "k0"), ("p4", "u0", "k2"), ("nobody", "nobody", "none")] {
            let filter = TaskFilter {
                patient_id: named(bits & 1 > 0, &[patient]),
                status: (bits & 2 > 0).then_some(Status::InProgress).into_iter().collect(),
                priority: (bits & 4 > 0).then_some(Priority::High).into_iter().collect(),
                assigned_user_id: named(bits & 8 > 0, &[user]),
                kind: named(bits & 16 > 0, &[kind]),
                updated_since: (bits & 32 > 0).then(|| since + Duration::nanoseconds(11_500)),
            };
            let expected: Vec<TaskId> = all.iter().filter(|it| filter.fits(it)).map(|it| it.id).collect();
            let total = expected.len() as u64;
            assert_eq!(list(&*store, "a", filter.clone()).await, (expected, total), "{filter:?}");
        }
    }
}

pub async fn a_filter_with_several_values_matches_either(store: Arc<dyn Store>) {
    let mut all = Vec::new();
    let mut batch = Vec::new();
    for n in 0..150_usize {
        let it = ingested("a", |task| {
            task.status = [Status::Pending, Status::InProgress, Status::Completed][n % 3];
            task.priority = [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][n % 4];
            // "often" has more rows than the store keeps in a list, "rare" has fewer; both are on some tasks.
            task.assigned_user_ids = ["often", "rare"].map(Into::into).to_vec();
            task.assigned_user_ids.truncate(if n % 30 == 0 { 2 } else { 1 });
            task.kind = Some(if n % 10 == 0 { "rare".into() } else { format!("often-{}", n % 2) });
            task.patient_id = Some(format!("p{}", n % 50));
        });
        all.insert(0, it.tasks[0].clone());
        batch.push(it);
    }
    store.commit(Commit { ingested: batch, idempotency: None, lane: None, audit: None }).await.unwrap();
    for bits in 1..32_u32 {
        for more in [&[][..], &["p7", "rare", "often-1"], &["nobody", "often"]] {
            let with = |first: &'static str| [&[first], more].concat();
            let filter = TaskFilter {
                patient_id: named(bits & 1 > 0, &with("p3")),
                // A value that is sent twice counts once.
                status: [Status::Completed, Status::Pending, Status::Completed].repeat((bits as usize & 2) / 2),
                priority: [Priority::Urgent, Priority::Low].repeat((bits as usize & 4) / 4),
                assigned_user_id: named(bits & 8 > 0, &with("rare")),
                kind: named(bits & 16 > 0, &with("often-0")),
                updated_since: None,
            };
            let expected: Vec<TaskId> = all.iter().filter(|it| filter.fits(it)).map(|it| it.id).collect();
            let total = expected.len() as u64;
            assert_eq!(list(&*store, "a", filter.clone()).await, (expected, total), "{filter:?}");
        }
    }
}

pub async fn pages_and_cursors_give_every_task_once(store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for _ in 0..25 {
        let it = ingested("a", |_| {});
        ids.insert(0, it.tasks[0].id);
        store.commit(it.into()).await.unwrap();
    }
    let a = company("a");
    let page = |number| store.list_tasks(&a, TaskFilter::default(), PageRequest::Number { page: number, limit: 10 });
    let numbered = [page(1).await.unwrap(), page(2).await.unwrap(), page(3).await.unwrap(), page(4).await.unwrap()];
    let found: Vec<_> = numbered.iter().flat_map(|it| it.tasks.iter().map(|it| it.id)).collect();
    assert_eq!(found, ids);
    assert_eq!(numbered.map(|it| (it.total, it.next.is_some())), [(25, true), (25, true), (25, false), (25, false)]);
    // A list that is walked does not move when something is stored meanwhile.
    let mut walked = Vec::new();
    let mut page = page(1).await.unwrap();
    loop {
        walked.extend(page.tasks.iter().map(|it| it.id));
        store.commit(ingested("a", |_| {}).into()).await.unwrap();
        let Some(cursor) = page.next else { break };
        page = store.list_tasks(&a, TaskFilter::default(), PageRequest::After { cursor, limit: 10 }).await.unwrap();
    }
    assert_eq!(walked, ids);
}

/// Filters that are read from several places of an index must not repeat or skip a task between pages.
pub async fn pages_of_every_filter_give_every_task_once(store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for n in 0..90_usize {
        let it = ingested("a", |task| {
            task.status = [Status::Pending, Status::InProgress, Status::Completed][n % 3];
            task.priority = [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][n / 2 % 4];
            task.assigned_user_ids = ["u1", "u2", "u3"][..=n % 3].iter().map(|it| (*it).to_owned()).collect();
            task.kind = Some(format!("k{}", n % 2));
        });
        all.insert(0, it.tasks[0].clone());
        store.commit(it.into()).await.unwrap();
    }
    let a = company("a");
    for bits in 0..16_u32 {
        let filter = TaskFilter {
            status: [Status::Completed, Status::InProgress].repeat(bits as usize & 1),
            priority: [Priority::Urgent, Priority::Low].repeat((bits as usize & 2) / 2),
            assigned_user_id: named(bits & 4 > 0, &["u1", "u3"]),
            kind: named(bits & 8 > 0, &["k0", "k1"]),
            ..TaskFilter::default()
        };
        let expected: Vec<TaskId> = all.iter().filter(|it| filter.fits(it)).map(|it| it.id).collect();
        let (mut walked, mut counted, mut cursor) = (Vec::new(), Vec::new(), None);
        for number in 1.. {
            let by_number = PageRequest::Number { page: number, limit: 7 };
            let by_number = store.list_tasks(&a, filter.clone(), by_number).await.unwrap();
            counted.extend(by_number.tasks.iter().map(|it| it.id));
            let next = cursor
                .map_or(PageRequest::Number { page: 1, limit: 7 }, |cursor| PageRequest::After { cursor, limit: 7 });
            let page = store.list_tasks(&a, filter.clone(), next).await.unwrap();
            walked.extend(page.tasks.iter().map(|it| it.id));
            assert_eq!((page.total, page.total_is_exact), (expected.len() as u64, true));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((&walked, &counted), (&expected, &expected), "{filter:?}");
    }
}

pub async fn a_change_needs_the_present_version_and_moves_the_task_between_filters(store: Arc<dyn Store>) {
    let it = ingested("a", |task| task.assigned_user_ids = vec!["u1".into()]);
    let (a, id) = (company("a"), it.tasks[0].id);
    store.commit(it.clone().into()).await.unwrap();
    let done = TaskPatch { status: Some(Status::Completed), patient_id: Some(None), ..TaskPatch::default() };
    let later = it.tasks[0].created_at + Duration::seconds(5);
    let Updated::Done(task) = store.update_task(&a, id, 1, done.clone(), later).await.unwrap() else { panic!() };
    assert_eq!((task.version, task.status, task.updated_at), (2, Status::Completed, later));
    assert_eq!(store.update_task(&a, id, 1, done.clone(), later).await.unwrap(), Updated::Stale { version: 2 });
    assert_eq!(store.task(&a, id).await.unwrap(), Some(*task));
    let by = |status| TaskFilter { status: vec![status], ..TaskFilter::default() };
    assert_eq!(list(&*store, "a", by(Status::Completed)).await, (vec![id], 1));
    assert_eq!(list(&*store, "a", by(Status::Pending)).await, (vec![], 0));
    let of_user = |filter| TaskFilter { assigned_user_id: vec!["u1".into()], ..filter };
    assert_eq!(list(&*store, "a", of_user(by(Status::Completed))).await, (vec![id], 1));
    assert_eq!(list(&*store, "a", of_user(by(Status::Pending))).await, (vec![], 0));
    assert_eq!(list(&*store, "a", of_user(TaskFilter::default())).await, (vec![id], 1));
    for foreign in [
        store.update_task(&company("b"), id, 2, done.clone(), later).await.unwrap(),
        store.update_task(&a, TaskId(uuid::Uuid::nil()), 2, done, later).await.unwrap(),
        store.delete_task(&company("b"), id, None, later).await.unwrap(),
    ] {
        assert_eq!(foreign, Updated::Missing);
    }
}

pub async fn of_many_changes_at_once_one_wins(store: Arc<dyn Store>) {
    let it = ingested("a", |_| {});
    let (a, id) = (company("a"), it.tasks[0].id);
    store.commit(it.into()).await.unwrap();
    let changes = (0..20).map(|n| {
        let (store, a) = (Arc::clone(&store), a.clone());
        tokio::spawn(async move {
            let patch = TaskPatch { title: Some(format!("title {n}")), ..TaskPatch::default() };
            store.update_task(&a, id, 1, patch, Utc::now()).await.unwrap()
        })
    });
    let mut won = 0;
    for change in changes.collect::<Vec<_>>() {
        match change.await.unwrap() {
            Updated::Done(_) => won += 1,
            other => assert_eq!(other, Updated::Stale { version: 2 }),
        }
    }
    assert_eq!((won, store.task(&a, id).await.unwrap().unwrap().version), (1, 2));
}

pub async fn a_deleted_task_is_there_for_nobody_and_purged_later(store: Arc<dyn Store>) {
    let (kept, gone) = (ingested("a", |_| {}), ingested("a", |_| {}));
    let (a, id, now) = (company("a"), gone.tasks[0].id, Utc::now().trunc_subsecs(3));
    for it in [kept.clone(), gone] {
        store.commit(it.into()).await.unwrap();
    }
    assert_eq!(store.delete_task(&a, id, Some(7), now).await.unwrap(), Updated::Stale { version: 1 });
    assert!(matches!(store.delete_task(&a, id, None, now).await.unwrap(), Updated::Done(_)));
    assert_eq!(store.delete_task(&a, id, None, now).await.unwrap(), Updated::Missing);
    assert_eq!(store.task(&a, id).await.unwrap(), None);
    assert_eq!(list(&*store, "a", TaskFilter::default()).await, (vec![kept.tasks[0].id], 1));
    assert_eq!(store.stats().await.unwrap().companies[0].deleted_tasks, 1);
    assert_eq!(store.expire(now).await.unwrap().tasks, 0);
    assert_eq!(store.expire(now + Duration::days(31)).await.unwrap().tasks, 1);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.companies[0].tasks, stats.companies[0].deleted_tasks), (1, 0));
}

/// A text that is too long for an index must neither make its task impossible to store, nor fail its neighbours.
pub async fn long_and_strange_texts_are_stored_listed_and_do_not_disturb_others(store: Arc<dyn Store>) {
    for text in strange_texts() {
        let strange = ingested("a", |task| {
            task.patient_id = Some(text.clone());
            task.kind = Some(text.clone());
            task.assigned_user_ids = vec![text.clone(), "u1".into()];
        });
        // The neighbours differ at the end only.
        let near = ingested("a", |task| {
            task.patient_id = Some(format!("{text}."));
            task.assigned_user_ids = vec![format!("{text}.")];
        });
        let id = strange.tasks[0].id;
        let all = [strange, near, ingested("b", |_| {})].map(|it| store.commit(it.into()));
        let stored = futures_util::future::join_all(all).await;
        assert!(stored.into_iter().all(|it| it.unwrap() == Committed::Stored));
        let filters = [
            TaskFilter { patient_id: vec![text.clone()], ..TaskFilter::default() },
            TaskFilter { kind: vec![text.clone()], ..TaskFilter::default() },
            TaskFilter { assigned_user_id: vec![text.clone()], ..TaskFilter::default() },
        ];
        for filter in filters {
            assert_eq!(list(&*store, "a", filter).await, (vec![id], 1));
        }
        let patch = TaskPatch { assigned_user_ids: Some(vec!["u2".into()]), ..TaskPatch::default() };
        let changed = store.update_task(&company("a"), id, 1, patch, Utc::now()).await.unwrap();
        assert!(matches!(changed, Updated::Done(_)));
        let before = TaskFilter { assigned_user_id: vec![text.clone()], ..TaskFilter::default() };
        assert_eq!(list(&*store, "a", before).await, (vec![], 0));
    }
}

pub async fn a_request_s_events_are_stored_whole(store: Arc<dyn Store>) {
    let batch: Vec<_> = (0..300).map(|_| ingested("a", |_| {})).collect();
    let ids: Vec<_> = batch.iter().rev().map(|it| it.tasks[0].id).collect();
    store.commit(Commit { ingested: batch, idempotency: None, lane: None, audit: None }).await.unwrap();
    assert_eq!(list(&*store, "a", TaskFilter::default()).await, (ids, 300));
}

/// Changes that are written at the same time must not mix: a task would be listed for a user who no longer has it.
pub async fn changes_at_the_same_time_leave_one_state(store: Arc<dyn Store>) {
    let a = company("a");
    let users = |n: usize| TaskPatch { assigned_user_ids: Some(vec![format!("user-{n}")]), ..TaskPatch::default() };
    let by = |n: usize| TaskFilter { assigned_user_id: vec![format!("user-{n}")], ..TaskFilter::default() };
    for _ in 0..10 {
        let it = ingested("a", |_| {});
        let id = it.tasks[0].id;
        store.commit(it.into()).await.unwrap();
        // None of them names a version, so that each may follow any other.
        let deletion = store.delete_task(&a, id, None, Utc::now());
        let changes = (0..4).map(|n| store.update_task(&a, id, n + 1, users(n as usize), Utc::now()));
        let (changed, deleted) = tokio::join!(futures_util::future::join_all(changes), deletion);
        assert!(matches!(deleted.unwrap(), Updated::Done(_)));
        for change in changed {
            assert!(!matches!(change.unwrap(), Updated::Done(it) if it.deleted_at.is_some()));
        }
        assert_eq!(store.task(&a, id).await.unwrap(), None);
        for n in 0..4 {
            assert_eq!(list(&*store, "a", by(n)).await, (vec![], 0));
        }
    }
    // One after another, in as few writes as the store makes of them.
    let it = ingested("a", |_| {});
    let id = it.tasks[0].id;
    store.commit(it.into()).await.unwrap();
    let changes = (0..4).map(|n| store.update_task(&a, id, n + 1, users(n as usize), Utc::now()));
    let done = futures_util::future::join_all(changes).await;
    let done = done.into_iter().filter(|it| matches!(it, Ok(Updated::Done(_)))).count();
    let task = store.task(&a, id).await.unwrap().unwrap();
    assert_eq!(task.version, done as u64 + 1);
    let first = TaskFilter { assigned_user_id: vec!["u1".into()], ..TaskFilter::default() };
    let has = task.assigned_user_ids == ["u1"];
    assert_eq!(list(&*store, "a", first).await.1, u64::from(has), "{task:?}");
    for n in 0..4 {
        let has = task.assigned_user_ids == [format!("user-{n}")];
        assert_eq!(list(&*store, "a", by(n)).await.1, u64::from(has), "{n}: {task:?}");
    }
}
