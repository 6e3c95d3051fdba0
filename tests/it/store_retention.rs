//! Retention: expired data is removed, its space is freed, and nothing else changes.

use std::path::Path;
use std::sync::Arc;

use chrono::{Duration, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::{EventId, IntegrationName};
use hookmill::store::embedded::{StoreOptions, check};
use hookmill::store::erasure::{Keep, Patient};
use hookmill::store::verbs::*;
use hookmill::store::{Commit, Embedded, EventFilter, Idempotency, Ingested, Replace, Replaced, TaskFilter};
use tempfile::TempDir;

use crate::harness::until;
use crate::stored;
use crate::stored::{company, ingested, list};

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 64 << 10,
        reserve_bytes: 0,
        events: Some(Duration::days(1)),
        ..StoreOptions::default()
    }
}

fn segments(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("journal")).unwrap().map(|it| it.unwrap().path());
    names.filter(|it| it.extension().is_some_and(|it| it == "journal")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_events_free_whole_segments_and_the_tasks_stay() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &options()).unwrap();
    let mut all = Vec::new();
    for _ in 0..300 {
        let it = ingested("a", |task| task.description = "d".repeat(400));
        all.push(it.clone());
        store.commit(it.into()).await.unwrap();
    }
    let before = segments(&data);
    assert!(before > 3, "{before}");
    // Not yet: the newest events are younger than a day.
    assert_eq!(store.expire(Utc::now() + Duration::hours(20)).await.unwrap().event_bytes, 0);
    let expired = store.expire(Utc::now() + Duration::days(2)).await.unwrap();
    assert!(expired.event_bytes > 100_000, "{expired:?}");
    assert_eq!(segments(&data), 1);
    let a = company("a");
    for it in &all {
        assert_eq!(store.event(&a, it.event.id).await.unwrap(), None);
        assert_eq!(store.task(&a, it.tasks[0].id).await.unwrap().as_ref(), Some(&it.tasks[0]));
    }
    // The clock is right again.
    store.expire(Utc::now()).await.unwrap();
    let late = ingested("a", |_| {});
    store.commit(late.clone().into()).await.unwrap();
    let ids: Vec<_> = std::iter::once(&late).chain(all.iter().rev()).map(|it| it.tasks[0].id).collect();
    // Without the view, the snapshot and the rest of the journal still come to everything.
    drop(store);
    for view_is_gone in [false, true] {
        if view_is_gone {
            std::fs::remove_dir_all(data.join("sled-1")).unwrap();
        }
        let store = Embedded::open(&data, &options()).unwrap();
        assert_eq!(list(&store, "a", TaskFilter::default()).await, (ids.clone(), 301));
        assert!(store.event(&a, late.event.id).await.unwrap().is_some());
    }
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
}

/// Segments that wait to be used are taken or left, and never forgotten: space would go at every large request.
#[tokio::test(flavor = "multi_thread")]
async fn groups_larger_than_a_segment_leave_no_prepared_segment_behind() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &options()).unwrap();
    for n in 0..40_usize {
        // In turn larger than a segment, and small.
        let bytes = if n % 2 == 0 { 100 << 10 } else { 20 << 10 };
        store.commit(ingested("a", |task| task.description = "d".repeat(bytes)).into()).await.unwrap();
    }
    let names = std::fs::read_dir(data.join("journal")).unwrap().map(|it| it.unwrap().path());
    let waiting = names.filter(|it| it.extension().is_some_and(|it| it == "ready")).count();
    assert!(waiting <= 2, "{waiting} segments wait");
}

/// An integration's own time is shorter than that of events: what it was sent goes, and what others were sent stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_integration_was_sent_is_erased_when_its_time_is_over() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Arc::new(Embedded::open(&data, &StoreOptions { events: None, ..options() }).unwrap());
    let (mut its, mut others) = (Vec::new(), Vec::new());
    for n in 0..200 {
        let mut it = ingested("a", |task| task.description = "d".repeat(400));
        if n % 2 == 0 {
            it.event.integration = IntegrationName("short".into());
            if n == 0 {
                (it.event.status, it.event.task_ids, it.tasks) = (EventStatus::Queued, Vec::new(), Vec::new());
            }
            its.push(it.event.clone());
        } else {
            others.push(it.event.clone());
        }
        store.commit(it.into()).await.unwrap();
    }
    let a = company("a");
    let forget = |hours| {
        let store = Arc::clone(&store);
        let keep = Keep { integration: "short".into(), age: Duration::days(1) };
        let forget = move || store.forget(&[keep], Utc::now() + Duration::hours(hours)).unwrap();
        let erased = tokio::task::spawn_blocking(forget);
        async move { erased.await.unwrap().into_iter().map(|(_, events)| events).sum::<u64>() }
    };
    assert_eq!(forget(20).await, 0);
    assert_eq!(store.event(&a, its[1].id).await.unwrap().unwrap(), its[1]);
    // What waits is not lost.
    assert_eq!(forget(48).await, 99);
    assert_eq!(store.event(&a, its[0].id).await.unwrap().unwrap(), its[0]);
    for it in &its[1..] {
        let now = store.event(&a, it.id).await.unwrap().unwrap();
        assert!(now.erased_at.is_some() && now.body.is_empty(), "{now:?}");
        assert_eq!((now.task_ids, now.body_bytes), (it.task_ids.clone(), it.body_bytes));
    }
    for it in &others {
        assert_eq!(store.event(&a, it.id).await.unwrap().unwrap(), *it);
    }
    let read = store.versioned(&a, its[0].id).await.unwrap().unwrap();
    let attempts = read.event.attempts + 1;
    let event = Event { status: EventStatus::Skipped, attempts, last_attempt_at: Some(Utc::now()), ..read.event };
    let ingested = Ingested { event, tasks: Vec::new() };
    let replace =
        Replace { ingested, read: read.version, idempotency: None, forget: None, audit: None, updates: Vec::new() };
    assert_eq!(store.replace(replace).await.unwrap(), Replaced::Stored);
    // A read waits until the view has the change: until then the sweep takes the event for a queued one, and leaves it.
    assert_eq!(store.event(&a, its[0].id).await.unwrap().unwrap().status, EventStatus::Skipped);
    assert_eq!(forget(96).await, 1);
    assert_eq!(forget(97).await, 0);
    drop(store);
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
}

/// Otherwise the file of a segment is replaced by another of the same name: backups fail, and expiry removes the live file.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_larger_than_a_segment_makes_an_empty_one_larger() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &options()).unwrap();
    let (a, mut all) = (company("a"), Vec::new());
    let mut commit = async |bytes: usize| {
        let it = ingested("a", |task| task.description = "d".repeat(bytes));
        all.push(it.clone());
        store.commit(it.into()).await.unwrap();
    };
    // Into the very first segment, into one that was begun because its predecessor was old, and between others.
    commit(200 << 10).await;
    commit(100).await;
    for hours in [4, 8] {
        store.expire(Utc::now() + Duration::hours(hours)).await.unwrap();
        commit(300 << 10).await;
        commit(100).await;
    }
    for it in &all {
        assert_eq!(store.event(&a, it.event.id).await.unwrap().as_ref(), Some(&it.event));
    }
    let page = store.list_events(&a, EventFilter::default(), None, 100).await.unwrap();
    assert_eq!(
        page.events.iter().rev().map(|it| it.id).collect::<Vec<_>>(),
        all.iter().map(|it| it.event.id).collect::<Vec<_>>()
    );
    let store = Arc::new(store);
    let (backed_up, to) = (Arc::clone(&store), dir.path().join("backup"));
    let report = tokio::task::spawn_blocking(move || backed_up.backup(&to)).await.unwrap().unwrap();
    assert_eq!((report.events, report.damages.len()), (all.len() as u64, 0));
    // What has expired goes, and the segment that is written to stays.
    store.expire(Utc::now() + Duration::days(2)).await.unwrap();
    store.expire(Utc::now()).await.unwrap();
    let late = ingested("a", |_| {});
    store.commit(late.clone().into()).await.unwrap();
    drop(store);
    let store = Embedded::open(&data, &options()).unwrap();
    assert_eq!(store.event(&a, late.event.id).await.unwrap(), Some(late.event));
    assert_eq!(list(&store, "a", TaskFilter::default()).await.1, all.len() as u64 + 1);
}

/// Otherwise a replay would keep an event for another ninety days.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_stored_again_expires_when_its_time_since_receipt_is_over() {
    let dir = TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &options()).unwrap();
    let a = company("a");
    // Received 20 hours ago, and stored again now.
    let mut old = ingested("a", |_| {});
    old.event.id = EventId(hookmill::model::ids::new_id(Utc::now() - Duration::hours(20)));
    store.commit(old.clone().into()).await.unwrap();
    let read = store.versioned(&a, old.event.id).await.unwrap().unwrap();
    let again = Event { status: EventStatus::Skipped, ..read.event };
    let ingested_again = Ingested { event: again, tasks: Vec::new() };
    let replace = Replace {
        ingested: ingested_again,
        read: read.version,
        idempotency: None,
        forget: None,
        audit: None,
        updates: Vec::new(),
    };
    assert_eq!(store.replace(replace.clone()).await.unwrap(), Replaced::Stored);
    // The version that was read is not the newest any more.
    assert_eq!(store.replace(replace).await.unwrap(), Replaced::Changed);
    let now = store.event(&a, old.event.id).await.unwrap().unwrap();
    assert_eq!((now.status, &now.body, now.headers), (EventStatus::Skipped, &old.event.body, old.event.headers));
    let young = ingested("a", |_| {});
    store.commit(young.clone().into()).await.unwrap();
    store.expire(Utc::now() + Duration::hours(5)).await.unwrap();
    assert_eq!(store.event(&a, old.event.id).await.unwrap(), None);
    assert!(store.event(&a, young.event.id).await.unwrap().is_some());
    let page = store.list_events(&a, EventFilter::default(), None, 100).await.unwrap();
    assert_eq!(page.events.len(), 1);
}

/// The clock was set back between the last events of a segment and the next one: otherwise these events are passed over, and
/// never looked at again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_before_the_clock_was_set_back_is_erased_as_well() {
    let dir = TempDir::new().unwrap();
    let store =
        Arc::new(Embedded::open(&dir.path().join("data"), &StoreOptions { events: None, ..options() }).unwrap());
    let mut ahead = ingested("a", |_| {});
    ahead.event.id = EventId(hookmill::model::ids::new_id(Utc::now() + Duration::hours(2)));
    store.commit(ahead.clone().into()).await.unwrap();
    for hours in [25, 28] {
        let store = Arc::clone(&store);
        let keep = Keep { integration: ahead.event.integration.0.to_string(), age: Duration::days(1) };
        let forget = move || store.forget(&[keep], Utc::now() + Duration::hours(hours)).unwrap();
        let erased = tokio::task::spawn_blocking(forget).await.unwrap();
        assert_eq!(erased.is_empty(), hours == 25, "{erased:?}");
    }
    let now = store.event(&company("a"), ahead.event.id).await.unwrap().unwrap();
    assert!(now.erased_at.is_some() && now.body.is_empty(), "{now:?}");
}

/// Stores an event once more, as skipped.
async fn skip(store: &Embedded, id: EventId) {
    let read = store.versioned(&company("a"), id).await.unwrap().unwrap();
    let attempts = read.event.attempts + 1;
    let event = Event { status: EventStatus::Skipped, attempts, last_attempt_at: Some(Utc::now()), ..read.event };
    let ingested = Ingested { event, tasks: Vec::new() };
    let replace =
        Replace { ingested, read: read.version, idempotency: None, forget: None, audit: None, updates: Vec::new() };
    assert_eq!(store.replace(replace).await.unwrap(), Replaced::Stored);
}

/// Otherwise somebody who tidies up makes an event go back to what it was before.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_index_that_is_gone_hides_no_newer_state() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &StoreOptions { events: None, ..options() }).unwrap();
    let it = ingested("a", |_| {});
    store.commit(it.clone().into()).await.unwrap();
    let roll = async |hours| {
        let store = &store;
        let keep = Keep { integration: "none".into(), age: Duration::days(1) };
        tokio::task::block_in_place(|| store.forget(&[keep], Utc::now() + Duration::hours(hours)).unwrap());
    };
    roll(4).await;
    skip(&store, it.event.id).await;
    roll(8).await;
    let indexes = || {
        let names = std::fs::read_dir(data.join("journal")).unwrap().map(|it| it.unwrap().path());
        names.filter(|it| it.extension().is_some_and(|it| it == "events")).collect::<Vec<_>>()
    };
    until("both segments have an index", || indexes().len() >= 2);
    indexes().iter().for_each(|it| std::fs::remove_file(it).unwrap());
    let a = company("a");
    assert_eq!(store.event(&a, it.event.id).await.unwrap().unwrap().status, EventStatus::Skipped);
    let page = store.list_events(&a, EventFilter::default(), None, 100).await.unwrap();
    assert_eq!(page.events.iter().map(|it| it.status).collect::<Vec<_>>(), [EventStatus::Skipped]);
}

/// Otherwise a page of replayed events takes a hundred times the largest body, in memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_counts_towards_the_bytes_of_a_page_wherever_it_is_stored() {
    let dir = TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions { events: None, ..options() }).unwrap();
    for _ in 0..5 {
        let mut it = ingested("a", |_| {});
        it.event.body = vec![b'x'; 17 << 20].into();
        store.commit(it.clone().into()).await.unwrap();
        skip(&store, it.event.id).await;
    }
    let a = company("a");
    let page = store.list_events(&a, EventFilter::default(), None, 100).await.unwrap();
    assert_eq!(page.events.len(), 4);
    let rest = store.list_events(&a, EventFilter::default(), page.next, 100).await.unwrap();
    assert_eq!((rest.events.len(), rest.next), (1, None));
}

/// Answers hold what tasks say. They are removed by days, and their texts must not stay for the rest of the day.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_gone_when_its_time_is_over() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &options()).unwrap();
    let now = Utc::now();
    let text = "a text that only the answer has";
    let commit = |n, at| Commit {
        ingested: vec![ingested("a", |_| {})],
        idempotency: Some(Idempotency { id: stored::once(n), answer: stored::answer(text, at) }),
        lane: None,
        audit: None,
    };
    store.commit(commit(1, now)).await.unwrap();
    store.commit(commit(2, now + Duration::hours(2))).await.unwrap();
    let texts = |name: &str, store: &Embedded| {
        let backup = dir.path().join(name);
        store.backup(&backup).unwrap();
        let files =
            std::fs::read_dir(backup.join("snapshots")).unwrap().map(|it| std::fs::read(it.unwrap().path()).unwrap());
        files.map(|it| memchr::memmem::find_iter(&it, text).count()).sum::<usize>()
    };
    store.expire(now + Duration::hours(23)).await.unwrap();
    assert_eq!(texts("before", &store), 2);
    for _ in 0..2 {
        store.expire(now + Duration::hours(25)).await.unwrap();
    }
    // A new snapshot is taken only where something has changed.
    store.commit(ingested("a", |_| {}).into()).await.unwrap();
    assert_eq!(texts("after", &store), 1);
    let second = store.first_answer(stored::once(2), now + Duration::hours(25)).await.unwrap();
    assert!(second.is_some());
    drop(store);
    assert!(check(&data).unwrap().repairable.is_empty());
}

/// What is received is older than its segment's end, unless the clock is set back: then the next segment was begun before
/// these events were received, and they went with their segment, even one that was still queued.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_before_the_clock_was_set_back_is_kept_as_long_as_the_rest() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(Embedded::open(&dir.path().join("data"), &options()).unwrap());
    let a = company("a");
    let mut queued = ingested("a", |_| {});
    queued.event.id = EventId(hookmill::model::ids::new_id(Utc::now() + Duration::minutes(30)));
    (queued.event.status, queued.event.task_ids, queued.tasks) = (EventStatus::Queued, Vec::new(), Vec::new());
    store.commit(queued.clone().into()).await.unwrap();
    roll(&store).await;
    store.commit(ingested("a", |_| {}).into()).await.unwrap();
    for hours in [26, 60] {
        store.expire(Utc::now() + Duration::hours(hours)).await.unwrap();
        assert_eq!(store.event(&a, queued.event.id).await.unwrap().as_ref(), Some(&queued.event), "{hours} hours");
    }
    skip(&store, queued.event.id).await;
    store.expire(Utc::now() + Duration::hours(60)).await.unwrap();
    assert_eq!(store.event(&a, queued.event.id).await.unwrap(), None);
}

/// The clock was a month ahead for a moment: the queued event's own time says nothing about its segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_queued_event_of_the_future_keeps_its_segment() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(Embedded::open(&dir.path().join("data"), &options()).unwrap());
    let mut queued = ingested("a", |_| {});
    queued.event.id = EventId(hookmill::model::ids::new_id(Utc::now() + Duration::days(30)));
    (queued.event.status, queued.event.task_ids, queued.tasks) = (EventStatus::Queued, Vec::new(), Vec::new());
    store.commit(queued.clone().into()).await.unwrap();
    roll(&store).await;
    store.commit(ingested("a", |_| {}).into()).await.unwrap();
    store.expire(Utc::now() + Duration::hours(60)).await.unwrap();
    assert_eq!(store.event(&company("a"), queued.event.id).await.unwrap().as_ref(), Some(&queued.event));
}

/// The time up to which events have expired may be lost with the power. An event whose body has gone with its segment must not
/// be found again because an erasure overwrites what is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_does_not_bring_an_expired_event_back() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let a = company("a");
    let mut old = ingested("a", |_| {});
    old.event.id = EventId(hookmill::model::ids::new_id(Utc::now() - Duration::hours(30)));
    let store = Arc::new(Embedded::open(&data, &StoreOptions { events: None, ..options() }).unwrap());
    store.commit(old.clone().into()).await.unwrap();
    roll(&store).await;
    skip(&store, old.event.id).await;
    roll(&store).await;
    store.commit(ingested("a", |_| {}).into()).await.unwrap();
    // Its first segment is gone, as expiry leaves it, and the horizon was not synced.
    let journal = data.join("journal");
    let mut files: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "journal"));
    files.sort();
    std::fs::remove_file(&files[0]).unwrap();
    assert_eq!(store.event(&a, old.event.id).await.unwrap(), None);
    let keep = Keep { integration: old.event.integration.0.to_string(), age: Duration::days(1) };
    let erased = tokio::task::block_in_place(|| store.forget(&[keep], Utc::now()).unwrap());
    assert_eq!(erased.first().map(|it| it.1), Some(1), "{erased:?}");
    assert_eq!(store.event(&a, old.event.id).await.unwrap(), None);
    let page = store.list_events(&a, EventFilter::default(), None, 100).await.unwrap();
    assert_eq!(page.events.len(), 1);
}

/// Ends the segment that is written to, as every erasure does.
async fn roll(store: &Arc<Embedded>) {
    let store = Arc::clone(store);
    let nobody = move || store.erase(&Patient::new(company("nobody"), "nobody").unwrap(), Utc::now(), false).unwrap();
    tokio::task::spawn_blocking(nobody).await.unwrap();
}
