//! New states of stored events.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::{EventId, TaskId, new_id};
use hookmill::model::task::TaskPatch;
use hookmill::store::{Commit, Committed, FirstAnswer, Idempotency, IdempotencyId, Ingested, Replace, Replaced, Store};

use crate::stored::{company, ingested};

/// An event without tasks.
pub fn event(status: EventStatus, body: &str) -> Event {
    let event = ingested("a", |_| {}).event;
    Event { status, task_ids: Vec::new(), body: body.to_owned().into(), body_bytes: body.len() as u64, ..event }
}

/// The event as it is if it was received then.
pub fn received(event: Event, at: DateTime<Utc>) -> Event {
    Event { id: EventId(new_id(at)), received_at: at, ..event }
}

pub fn alone(event: &Event) -> Commit {
    Ingested { event: event.clone(), tasks: Vec::new() }.into()
}

/// The event's next state.
pub async fn next(store: &dyn Store, event: &Event, status: EventStatus) -> Replace {
    let read = store.versioned(&event.company_id, event.id).await.unwrap().unwrap();
    let ingested = Ingested { event: Event { status, ..read.event }, tasks: Vec::new() };
    Replace { ingested, read: read.version, idempotency: None, forget: None, audit: None, updates: Vec::new() }
}

/// The event's next state: stored, with one task more.
pub async fn with_task(store: &dyn Store, event: &Event, patient: Option<&str>) -> Replace {
    let mut next = next(store, event, EventStatus::Stored).await;
    let mut tasks = ingested("a", |task| task.patient_id = patient.map(Into::into)).tasks;
    tasks[0].event_id = event.id;
    next.ingested.event.task_ids.push(tasks[0].id);
    next.ingested.tasks = tasks;
    next
}

/// Otherwise the result of a replay is lost, or its tasks are created a second time.
pub async fn a_state_that_is_not_the_newest_is_not_replaced(store: Arc<dyn Store>) {
    let (a, event) = (company("a"), event(EventStatus::Quarantined, "{\"n\":1}"));
    store.commit(alone(&event)).await.unwrap();
    let (first, second) = (with_task(&*store, &event, None).await, with_task(&*store, &event, None).await);
    let tasks = [first.ingested.tasks[0].clone(), second.ingested.tasks[0].clone()];
    assert_eq!(store.replace(first.clone()).await.unwrap(), Replaced::Stored);
    for stale in [second, first.clone()] {
        assert_eq!(store.replace(stale).await.unwrap(), Replaced::Changed);
    }
    // What was sent is stored once, and is there in every state.
    assert_eq!(store.event(&a, event.id).await.unwrap(), Some(first.ingested.event));
    assert_eq!(store.task(&a, tasks[0].id).await.unwrap().as_ref(), Some(&tasks[0]));
    assert_eq!(store.task(&a, tasks[1].id).await.unwrap(), None);
    // An event that is not there.
    let mut unknown = next(&*store, &event, EventStatus::Skipped).await;
    unknown.ingested.event.id = EventId(new_id(Utc::now()));
    assert_eq!(store.replace(unknown).await.unwrap(), Replaced::Changed);
}

pub async fn of_many_results_at_once_one_wins(store: Arc<dyn Store>) {
    for status in [EventStatus::Quarantined, EventStatus::Queued] {
        let (a, event) = (company("a"), event(status, "{}"));
        store.commit(alone(&event)).await.unwrap();
        let mut replaces = Vec::new();
        for _ in 0..20 {
            replaces.push(with_task(&*store, &event, None).await);
        }
        let tasks: Vec<TaskId> = replaces.iter().map(|it| it.ingested.tasks[0].id).collect();
        let done = futures_util::future::join_all(replaces.into_iter().map(|it| store.replace(it))).await;
        let done: Vec<Replaced> = done.into_iter().map(Result::unwrap).collect();
        let won: Vec<usize> = (0..20).filter(|n| done[*n] == Replaced::Stored).collect();
        assert_eq!(won.len(), 1, "{done:?}");
        assert!(done.iter().all(|it| matches!(it, Replaced::Stored | Replaced::Changed)), "{done:?}");
        assert_eq!(store.event(&a, event.id).await.unwrap().unwrap().task_ids, [tasks[won[0]]]);
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(store.task(&a, task).await.unwrap().is_some(), n == won[0]);
        }
        assert_eq!(store.queued().await.unwrap(), []);
    }
}

/// Otherwise tasks change although the replay is rejected.
pub async fn an_event_and_its_tasks_change_together_or_not_at_all(store: Arc<dyn Store>) {
    let (a, event) = (company("a"), event(EventStatus::Quarantined, "{}"));
    store.commit(alone(&event)).await.unwrap();
    let first = with_task(&*store, &event, None).await;
    let task = first.ingested.tasks[0].id;
    assert_eq!(store.replace(first.clone()).await.unwrap(), Replaced::Stored);
    let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
    let replay = async |id: TaskId| Replace {
        updates: vec![(task, patch.clone()), (id, patch.clone())],
        ..with_task(&*store, &event, None).await
    };
    let title = async || store.task(&a, task).await.unwrap().unwrap().title;
    // One that is not there any more, and a state that is not the newest.
    let missing = replay(TaskId(new_id(Utc::now()))).await;
    assert_eq!(store.replace(missing).await.unwrap(), Replaced::Changed);
    let stale = Replace { updates: vec![(task, patch.clone())], ..first };
    assert_eq!(store.replace(stale).await.unwrap(), Replaced::Changed);
    assert_ne!(title().await, "new");
    let replay = Replace { updates: vec![(task, patch.clone())], ..with_task(&*store, &event, None).await };
    assert_eq!(store.replace(replay).await.unwrap(), Replaced::Stored);
    assert_eq!((title().await, store.event(&a, event.id).await.unwrap().unwrap().task_ids.len()), ("new".into(), 2));
}

fn answer(id: IdempotencyId, event: EventId, at: DateTime<Utc>) -> Idempotency {
    Idempotency { id, answer: FirstAnswer { event_id: Some(event), ..crate::stored::answer("{}", at) } }
}

/// It came on another day than the event: otherwise a replay of the first copy makes the task a second time.
pub async fn an_answer_that_was_remembered_days_later_counts_for_a_replay_of_the_first_copy(store: Arc<dyn Store>) {
    let (now, id) = (Utc::now(), IdempotencyId::delivery(&company("a"), "guest", "d-1", Duration::days(3)));
    let first = received(event(EventStatus::Quarantined, "{}"), now - Duration::days(2));
    store.commit(alone(&first)).await.unwrap();
    let second = ingested("a", |_| {});
    let known = answer(id.clone(), second.event.id, second.event.received_at);
    let commit = Commit { idempotency: Some(known.clone()), ..second.into() };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Stored);
    let mine = Some(answer(id, first.id, first.received_at));
    let replay = Replace { idempotency: mine, ..with_task(&*store, &first, None).await };
    assert_eq!(store.replace(replay).await.unwrap(), Replaced::Repeated(known.answer));
}
