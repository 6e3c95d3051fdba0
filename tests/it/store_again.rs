//! New states of stored events: what the store rejects, and what an erasure or an expiry means for them.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use hookmill::model::event::{Event, EventStatus, Reason};
use hookmill::model::ids::TaskId;
use hookmill::model::ids::{EventId, new_id};
use hookmill::model::task::TaskPatch;
use hookmill::store::embedded::StoreOptions;
use hookmill::store::erasure::Patient;
use hookmill::store::verbs::*;
use hookmill::store::{
    Commit, Committed, Embedded, FirstAnswer, Idempotency, IdempotencyId, Ingested, Replace, Replaced,
};
use tempfile::TempDir;

use crate::stored::{company, ingested};

const SECRET: &str = "has a rash on the left arm";

fn opened() -> (TempDir, Arc<Embedded>) {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    (dir, store)
}

fn open(dir: &TempDir) -> Arc<Embedded> {
    let options = StoreOptions { reserve_bytes: 0, events: Some(Duration::days(1)), ..StoreOptions::default() };
    Arc::new(Embedded::open(&dir.path().join("data"), &options).unwrap())
}

fn reopened(dir: &TempDir, store: Arc<Embedded>) -> Arc<Embedded> {
    drop(Arc::into_inner(store).unwrap());
    open(dir)
}

/// An event without tasks.
fn event(status: EventStatus, body: &str) -> Event {
    let event = ingested("a", |_| {}).event;
    Event { status, task_ids: Vec::new(), body: body.to_owned().into(), body_bytes: body.len() as u64, ..event }
}

fn alone(event: &Event) -> Commit {
    Ingested { event: event.clone(), tasks: Vec::new() }.into()
}

/// The event's next state: stored, with one task more.
async fn with_task(store: &Embedded, event: &Event, patient: Option<&str>) -> Replace {
    let read = store.versioned(&event.company_id, event.id).await.unwrap().unwrap();
    let mut tasks = ingested("a", |task| task.patient_id = patient.map(Into::into)).tasks;
    tasks[0].event_id = event.id;
    let ids = read.event.task_ids.iter().copied().chain([tasks[0].id]).collect();
    let event = Event { status: EventStatus::Stored, task_ids: ids, ..read.event };
    let ingested = Ingested { event, tasks };
    Replace { ingested, read: read.version, idempotency: None, forget: None, audit: None, updates: Vec::new() }
}

fn answer(id: IdempotencyId, event: EventId, at: DateTime<Utc>) -> Idempotency {
    let answer = FirstAnswer {
        fingerprint: [1; 16],
        at,
        refused: false,
        event_id: Some(event),
        head: "201".into(),
        body: "{}".into(),
    };
    Idempotency { id, answer }
}

fn is_in_journal(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir.join("data/journal")).unwrap().map(|it| std::fs::read(it.unwrap().path()));
    files.into_iter().any(|bytes| memchr::memmem::find(&bytes.unwrap(), SECRET.as_bytes()).is_some())
}

/// Only the plugin's result shows whose it is: otherwise the patient has a task again, and the body stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_for_a_patient_who_was_erased_meanwhile_makes_no_task_and_erases_the_body() {
    for status in [EventStatus::Queued, EventStatus::Quarantined] {
        let (dir, store) = opened();
        let event = event(status, SECRET);
        store.commit(alone(&event)).await.unwrap();
        let late = with_task(&store, &event, Some("patient-1")).await;
        let (erasing, at) = (Arc::clone(&store), Utc::now());
        let patient = Patient::new(company("a"), "patient-1").unwrap();
        let erased = tokio::task::spawn_blocking(move || erasing.erase(&patient, at, false)).await.unwrap().unwrap();
        assert_eq!(erased.events, []);
        // What waits is worked on after a restart.
        let store = reopened(&dir, store);
        let (task, replaced) = (late.ingested.tasks[0].id, store.replace(late).await.unwrap());
        assert_eq!(replaced, Replaced::Erased);
        let store = reopened(&dir, store);
        assert_eq!(store.task(&company("a"), task).await.unwrap(), None);
        assert_eq!(store.queued().await.unwrap(), []);
        let now = store.event(&company("a"), event.id).await.unwrap().unwrap();
        assert!(now.erased_at.is_some() && now.body.is_empty() && now.status == EventStatus::Quarantined, "{now:?}");
        assert!(is_in_journal(dir.path()), "the test proves nothing");
        tokio::task::spawn_blocking(move || store.erase_late(Utc::now())).await.unwrap().unwrap();
        assert!(!is_in_journal(dir.path()));
    }
}

/// A replay makes of it what names an erased patient: otherwise nobody finds the event of the tasks that it has made before.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_erased_by_a_replay_keeps_its_tasks() {
    let (_dir, store) = opened();
    let it = ingested("a", |_| {});
    store.commit(it.clone().into()).await.unwrap();
    let late = with_task(&store, &it.event, Some("patient-1")).await;
    let (erasing, patient) = (Arc::clone(&store), Patient::new(company("a"), "patient-1").unwrap());
    let erase = move || erasing.erase(&patient, Utc::now(), false);
    assert_eq!(tokio::task::spawn_blocking(erase).await.unwrap().unwrap().events, []);
    assert_eq!(store.replace(late).await.unwrap(), Replaced::Erased);
    let now = store.event(&company("a"), it.event.id).await.unwrap().unwrap();
    assert_eq!((now.status, now.task_ids), (EventStatus::Stored, it.event.task_ids));
    assert!(now.erased_at.is_some() && now.body.is_empty());
}

/// It came on another day than the event: otherwise a replay of the first copy makes the task a second time.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_remembered_days_later_counts_for_a_replay_of_the_first_copy() {
    let (_dir, store) = opened();
    let (now, id) = (Utc::now(), IdempotencyId::delivery("guest", "d-1", Duration::days(3)));
    let mut first = event(EventStatus::Quarantined, "{}");
    first.received_at = now - Duration::days(2);
    first.id = EventId(new_id(first.received_at));
    store.commit(alone(&first)).await.unwrap();
    let second = ingested("a", |_| {});
    let known = answer(id, second.event.id, now);
    let commit = Commit { idempotency: Some(known.clone()), ..second.into() };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Stored);
    let mine = Some(answer(id, first.id, first.received_at));
    let replay = Replace { idempotency: mine, ..with_task(&store, &first, None).await };
    assert_eq!(store.replace(replay).await.unwrap(), Replaced::Repeated(known.answer));
}

/// The clock was ahead for a while: otherwise nobody works on what is accepted until the next sweep.
#[tokio::test(flavor = "multi_thread")]
async fn a_queued_event_is_never_hidden_by_the_retention() {
    let (_dir, store) = opened();
    store.expire(Utc::now() + Duration::days(10)).await.unwrap();
    let (queued, done) = (event(EventStatus::Queued, "{}"), event(EventStatus::Skipped, "{}"));
    for event in [&queued, &done] {
        store.commit(alone(event)).await.unwrap();
    }
    let a = company("a");
    assert_eq!(store.event(&a, done.id).await.unwrap(), None, "the test proves nothing");
    assert_eq!(store.event(&a, queued.id).await.unwrap(), Some(queued));
}

/// Otherwise tasks change although the replay is rejected.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_and_its_tasks_change_together_or_not_at_all() {
    let (_dir, store) = opened();
    let (a, event) = (company("a"), event(EventStatus::Quarantined, "{}"));
    store.commit(alone(&event)).await.unwrap();
    let first = with_task(&store, &event, None).await;
    let task = first.ingested.tasks[0].id;
    assert_eq!(store.replace(first.clone()).await.unwrap(), Replaced::Stored);
    let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
    let replay = async |id: TaskId| Replace {
        updates: vec![(task, patch.clone()), (id, patch.clone())],
        ..with_task(&store, &event, None).await
    };
    let title = async || store.task(&a, task).await.unwrap().unwrap().title;
    // One that is not there any more, and a state that is not the newest.
    let missing = replay(TaskId(new_id(Utc::now()))).await;
    assert_eq!(store.replace(missing).await.unwrap(), Replaced::Changed);
    let stale = Replace { updates: vec![(task, patch.clone())], ..first };
    assert_eq!(store.replace(stale).await.unwrap(), Replaced::Changed);
    assert_ne!(title().await, "new");
    let replay = Replace { updates: vec![(task, patch.clone())], ..with_task(&store, &event, None).await };
    assert_eq!(store.replace(replay).await.unwrap(), Replaced::Stored);
    assert_eq!((title().await, store.event(&a, event.id).await.unwrap().unwrap().task_ids.len()), ("new".into(), 2));
}

/// The disk could not read it for a moment: otherwise an acknowledged delivery is replaced by an empty one.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_can_be_read_is_not_given_up() {
    let (_dir, store) = opened();
    let (a, event) = (company("a"), event(EventStatus::Queued, "{}"));
    store.commit(alone(&event)).await.unwrap();
    let reason = Reason { stage: "queue".into(), code: "unreadable".into(), message: String::new() };
    assert!(!store.give_up(&a, event.id, &event.integration, reason).await.unwrap());
    assert_eq!(store.event(&a, event.id).await.unwrap().as_ref(), Some(&event));
    assert_eq!(store.queued().await.unwrap(), [(a, event.id)]);
}
