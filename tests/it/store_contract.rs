//! The contract of every backend: one suite that each of them runs.

use std::sync::Arc;

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use hookmill::model::audit::{Action, COMMAND_LINE, Entry};
use hookmill::model::ids::TaskId;
use hookmill::model::task::{Priority, Status, TaskPatch};
use hookmill::store::embedded::StoreOptions;
use hookmill::store::{
    ChangeFeed, Commit, Committed, Embedded, Faulty, Idempotency, PageRequest, Store, TaskFilter, Updated,
};

use crate::stored;
use crate::stored::{answer, api_key, company, feed, ingested, list, once};

/// Somebody of this company has made a key.
fn entry(of: &str, at: DateTime<Utc>) -> Entry {
    Entry::new(COMMAND_LINE, Action::KeyCreated, "key_1", at).of(&company(of)).with("tasks:read")
}

async fn a_commit_is_read_back_as_it_was(store: Arc<dyn Store>) {
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

async fn a_list_is_newest_first_and_totals_are_right_for_every_filter(store: Arc<dyn Store>) {
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

/// These names, if the filter is set at all.
fn named(is_set: bool, names: &[&str]) -> Vec<String> {
    names.iter().filter(|_| is_set).map(|it| (*it).to_owned()).collect()
}

async fn a_filter_with_several_values_matches_either(store: Arc<dyn Store>) {
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
    store.commit(Commit { ingested: batch, idempotency: None }).await.unwrap();
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

async fn pages_and_cursors_give_every_task_once(store: Arc<dyn Store>) {
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

async fn a_change_needs_the_present_version_and_moves_the_task_between_filters(store: Arc<dyn Store>) {
    let it = ingested("a", |_| {});
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
    for foreign in [
        store.update_task(&company("b"), id, 2, done.clone(), later).await.unwrap(),
        store.update_task(&a, TaskId(uuid::Uuid::nil()), 2, done, later).await.unwrap(),
        store.delete_task(&company("b"), id, None, later).await.unwrap(),
    ] {
        assert_eq!(foreign, Updated::Missing);
    }
}

async fn of_many_changes_at_once_one_wins(store: Arc<dyn Store>) {
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

async fn a_deleted_task_is_there_for_nobody_and_purged_later(store: Arc<dyn Store>) {
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

/// Clients that cannot receive webhooks read the feed instead. A change that it left out, or showed in another order, would
/// never reach them.
async fn the_feed_shows_each_task_once_at_its_last_change_in_order(store: Arc<dyn Store>) {
    let a = company("a");
    let (empty, start) = feed(&*store, "a", None).await.unwrap();
    assert_eq!(empty, []);
    let first: Vec<_> = (0..3).map(|_| ingested("a", |_| {})).collect();
    let [x, y, z] = [0, 1, 2].map(|it: usize| first[it].tasks[0].id);
    store.commit(Commit { ingested: first, idempotency: None }).await.unwrap();
    store.commit(ingested("b", |_| {}).into()).await.unwrap();
    let (changes, after_creation) = feed(&*store, "a", Some(start.clone())).await.unwrap();
    assert_eq!(changes, [(x, 1), (y, 1), (z, 1)], "the tasks of one commit, in its order");
    // A clock that is set back changes nothing of the order.
    let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
    store.update_task(&a, x, 1, patch, Utc::now() - Duration::days(2)).await.unwrap();
    store.delete_task(&a, y, None, Utc::now() - Duration::days(1)).await.unwrap();
    assert_eq!(feed(&*store, "a", Some(after_creation)).await.unwrap().0, [(x, 2), (y, -2)]);
    let (changes, end) = feed(&*store, "a", Some(start)).await.unwrap();
    assert_eq!(changes, [(z, 1), (x, 2), (y, -2)]);
    assert_eq!(feed(&*store, "a", None).await.unwrap().0, [(z, 1), (x, 2), (y, -2)]);
    // At its end it goes on with the same cursor, however often that is sent.
    for _ in 0..2 {
        assert_eq!(feed(&*store, "a", Some(end.clone())).await.unwrap(), (vec![], end.clone()));
    }
    let page = store.change_feed(&a, None, 10).await.unwrap();
    let ChangeFeed::Page(page) = page else { panic!("{page:?}") };
    assert_eq!(page.tasks[1].title, "new");
    assert!(!page.has_more && page.tasks[2].deleted_at.is_some());
}

/// A client that missed a deletion would show the task forever.
async fn a_feed_cursor_expires_when_a_deletion_after_it_is_purged(store: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now());
    let mut ids = Vec::new();
    for _ in 0..4 {
        let it = ingested("a", |_| {});
        ids.push(it.tasks[0].id);
        store.commit(it.into()).await.unwrap();
    }
    let (_, before) = feed(&*store, "a", None).await.unwrap();
    store.delete_task(&a, ids[1], None, now).await.unwrap();
    let (changes, after) = feed(&*store, "a", Some(before.clone())).await.unwrap();
    assert_eq!(changes, [(ids[1], -2)]);
    // It begins after the deletion: where that is purged, it lacks nothing.
    let first = store.change_feed(&a, None, 1).await.unwrap();
    let ChangeFeed::Page(first) = first else { panic!("{first:?}") };
    assert_eq!(store.expire(now + Duration::days(31)).await.unwrap().tasks, 1);
    assert_eq!(feed(&*store, "a", Some(before)).await, None);
    assert_eq!(feed(&*store, "a", Some(after.clone())).await.unwrap().0, []);
    let rest = [(ids[2], 1), (ids[3], 1)];
    assert_eq!(feed(&*store, "a", Some(first.next)).await.unwrap().0, rest);
    assert_eq!(feed(&*store, "a", None).await.unwrap().0, [(ids[0], 1), rest[0], rest[1]]);
    // A deletion since it began is another matter.
    let first = store.change_feed(&a, None, 1).await.unwrap();
    let ChangeFeed::Page(first) = first else { panic!("{first:?}") };
    store.delete_task(&a, ids[0], None, now).await.unwrap();
    assert_eq!(store.expire(now + Duration::days(31)).await.unwrap().tasks, 1);
    assert_eq!(feed(&*store, "a", Some(first.next)).await, None);
    assert_eq!(feed(&*store, "a", Some(after)).await, None);
}

async fn the_first_answer_is_remembered_for_its_time_and_no_second_is_stored(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let once = |n: u8, at| Some(Idempotency { id: once(n), answer: answer("first", at) });
    let commit = |at| {
        let it = ingested("a", |_| {});
        (it.tasks[0].id, Commit { ingested: vec![it], idempotency: once(1, at) })
    };
    let (first, commit_first) = commit(now);
    assert_eq!(store.commit(commit_first).await.unwrap(), Committed::Stored);
    let (second, commit_second) = commit(now + Duration::hours(23));
    let repeated = store.commit(commit_second).await.unwrap();
    assert_eq!(repeated, Committed::Repeated(answer("first", now)));
    let remembered = |hours| store.first_answer(stored::once(1), now + Duration::hours(hours));
    assert_eq!(remembered(23).await.unwrap(), Some(answer("first", now)));
    assert_eq!(remembered(25).await.unwrap(), None);
    let a = company("a");
    assert!(store.task(&a, first).await.unwrap().is_some() && store.task(&a, second).await.unwrap().is_none());
    // An API key is guarded in the same way.
    let key = api_key("key_1");
    assert!(matches!(store.put_key(key.clone(), entry("a", now), once(1, now)).await.unwrap(), Committed::Repeated(_)));
    assert_eq!(store.put_key(key.clone(), entry("a", now), once(2, now)).await.unwrap(), Committed::Stored);
    assert_eq!(store.keys().await.unwrap(), vec![key]);
    assert_eq!(store.audit(None, None, 9).await.unwrap().len(), 1, "what was not done is not noted");
    assert_eq!(store.expire(now).await.unwrap().idempotency_keys, 0);
    assert_eq!(store.expire(now + Duration::days(3)).await.unwrap().idempotency_keys, 2);
}

async fn fifty_equal_requests_at_once_store_one_task(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let requests = (0..50).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let idempotency = Some(Idempotency { id: once(9), answer: answer(&n.to_string(), now) });
            store.commit(Commit { ingested: vec![ingested("a", |_| {})], idempotency }).await.unwrap()
        })
    });
    let mut answers = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        answers.push(request.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|it| **it == Committed::Stored).count(), 1);
    assert_eq!(list(&*store, "a", TaskFilter::default()).await.1, 1);
    let first = store.first_answer(once(9), now).await.unwrap().unwrap();
    assert!(answers.iter().all(|it| *it == Committed::Stored || *it == Committed::Repeated(first.clone())));
}

async fn a_request_s_events_are_stored_whole(store: Arc<dyn Store>) {
    let batch: Vec<_> = (0..300).map(|_| ingested("a", |_| {})).collect();
    let ids: Vec<_> = batch.iter().rev().map(|it| it.tasks[0].id).collect();
    store.commit(Commit { ingested: batch, idempotency: None }).await.unwrap();
    assert_eq!(list(&*store, "a", TaskFilter::default()).await, (ids, 300));
}

async fn what_was_done_is_listed_newest_first_and_by_company(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let mut all = Vec::new();
    for n in 0..6 {
        let it = entry(if n % 2 == 0 { "a" } else { "b" }, now + Duration::milliseconds(n));
        store.note(it.clone()).await.unwrap();
        all.insert(0, it);
    }
    assert_eq!(store.audit(None, None, 100).await.unwrap(), all);
    assert_eq!(store.audit(None, Some(all[1].id), 3).await.unwrap(), all[2..5]);
    let of_b: Vec<Entry> = all.iter().step_by(2).cloned().collect();
    assert_eq!(store.audit(Some(&company("b")), None, 100).await.unwrap(), of_b);
    assert_eq!(store.audit(Some(&company("c")), None, 100).await.unwrap(), []);
}

macro_rules! contract {
    ($backend:ident, $open:expr, $($promise:ident),+ $(,)?) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    let dir = tempfile::TempDir::new().unwrap();
                    let store: Arc<dyn Store> = Arc::new($open(dir.path()));
                    super::$promise(store).await;
                }
            )+
        }
    };
}

macro_rules! every_backend {
    ($($promise:ident),+ $(,)?) => {
        contract!(embedded, |dir: &std::path::Path| Embedded::open(dir, &StoreOptions::default()).unwrap(), $($promise),+);
        contract!(
            faulty_without_a_fault,
            |dir: &std::path::Path| Faulty::new(Embedded::open(dir, &StoreOptions::default()).unwrap()),
            $($promise),+
        );
    };
}

every_backend!(
    a_commit_is_read_back_as_it_was,
    a_list_is_newest_first_and_totals_are_right_for_every_filter,
    a_filter_with_several_values_matches_either,
    pages_and_cursors_give_every_task_once,
    a_change_needs_the_present_version_and_moves_the_task_between_filters,
    of_many_changes_at_once_one_wins,
    a_deleted_task_is_there_for_nobody_and_purged_later,
    the_feed_shows_each_task_once_at_its_last_change_in_order,
    a_feed_cursor_expires_when_a_deletion_after_it_is_purged,
    the_first_answer_is_remembered_for_its_time_and_no_second_is_stored,
    fifty_equal_requests_at_once_store_one_task,
    a_request_s_events_are_stored_whole,
    what_was_done_is_listed_newest_first_and_by_company,
);
