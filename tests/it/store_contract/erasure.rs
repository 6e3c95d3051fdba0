//! Erasure of what was sent of a patient.

use std::sync::Arc;

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::task::TaskPatch;
use hookmill::store::erasure::{Erased, FoundBy, Patient};
use hookmill::store::{
    Commit, Committed, FirstAnswer, Idempotency, IdempotencyId, Ingested, Replaced, Store, TaskFilter,
};

use super::again::{alone, event, next, received, with_task};
use super::strange_texts;
use crate::stored::{answer, company, ingested, list};

const PATIENT: &str = "patient-4711";

async fn erase(store: &Arc<dyn Store>, at: DateTime<Utc>, dry_run: bool) -> Erased {
    let (store, patient) = (Arc::clone(store), Patient::new(company("a"), PATIENT).unwrap());
    tokio::task::spawn_blocking(move || store.erase(&patient, at, dry_run).unwrap()).await.unwrap()
}

fn of_patient(company: &str) -> Ingested {
    ingested(company, |task| task.patient_id = Some(PATIENT.into()))
}

/// What is left of the event.
async fn is_erased(store: &dyn Store, before: &Event) -> bool {
    let now = store.event(&before.company_id, before.id).await.unwrap().unwrap();
    let Some(at) = now.erased_at else {
        assert_eq!(now, *before);
        return false;
    };
    assert!(now.body.is_empty() && now.headers.is_empty() && now.content_type.is_none() && now.plugin_log.is_empty());
    assert_eq!((&now.integration, now.received_at), (&before.integration, before.received_at));
    assert_eq!((now.body_bytes, at), (before.body_bytes, at));
    true
}

pub async fn what_was_sent_of_a_patient_is_erased_and_nothing_else(store: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now().trunc_subsecs(3));
    // By its task, by the task as it was created, by the body, by a header and by the log.
    let by_task = of_patient("a");
    let by_first = of_patient("a");
    let by_body = event(EventStatus::Quarantined, &format!("{{\"who\":[\"{PATIENT}\"]}}"));
    let mut by_header = received(event(EventStatus::Skipped, "{}"), now - Duration::days(3));
    by_header.headers = vec![("x-patient".into(), PATIENT.into())];
    let by_log = Event { plugin_log: format!("looked for {PATIENT}"), ..event(EventStatus::Skipped, "{}") };
    let (other, foreign) = (ingested("a", |_| {}), of_patient("b"));
    let name = |n: u8| IdempotencyId { company: Some(a.clone()), name: [n; 16], window: None };
    let delivery = IdempotencyId::delivery_to(&a, "guest", "d-1", Duration::days(3));
    let stored = |event: &Event, body: &str| FirstAnswer { event_id: Some(event.id), ..answer(body, now) };
    let long = "{\"company_id\":\"a\",\"title\":\"a long response with the task\"}";
    let named = format!("{{\"company_id\":\"a\",\"patient_id\":\"{PATIENT}\",\"title\":\"Call back\"}}");
    for (it, id, answer) in [
        (by_task.clone(), name(1), stored(&by_task.event, long)),
        (by_first.clone(), delivery.clone(), stored(&by_first.event, long)),
        (other.clone(), name(2), stored(&other.event, long)),
        (ingested("a", |_| {}), IdempotencyId { company: None, ..name(3) }, answer(&named, now)),
    ] {
        let commit = Commit { idempotency: Some(Idempotency { id, answer }), ..it.into() };
        assert_eq!(store.commit(commit).await.unwrap(), Committed::Stored);
    }
    for it in [&by_body, &by_header, &by_log] {
        store.commit(alone(it)).await.unwrap();
    }
    store.commit(foreign.clone().into()).await.unwrap();
    let moved = TaskPatch { patient_id: Some(None), ..TaskPatch::default() };
    store.update_task(&a, by_first.tasks[0].id, 1, moved, now).await.unwrap();

    let dry = erase(&store, now, true).await;
    let all = [&by_task.event, &by_first.event, &by_body, &by_header, &by_log];
    let mut expected: Vec<_> = all.iter().map(|it| it.id).collect();
    expected.sort_by_key(|it| it.0);
    assert_eq!(dry.events.iter().map(|it| it.id).collect::<Vec<_>>(), expected);
    let found = |event: &Event| dry.events.iter().find(|it| it.id == event.id).unwrap();
    let how = all.map(|it| (found(it).found_by, found(it).matches[0].place.clone()));
    let places = [
        (FoundBy::Task, "task".to_owned()),
        (FoundBy::Task, "task".to_owned()),
        (FoundBy::Body, "body /who/0".to_owned()),
        (FoundBy::Header, "header x-patient".to_owned()),
        (FoundBy::Log, "log".to_owned()),
    ];
    assert_eq!(how, places);
    assert_eq!(dry.body_bytes, all.iter().map(|it| it.body_bytes).sum::<u64>());
    assert!(dry.remembered_responses >= 3 && dry.damaged == 0, "{dry:?}");
    assert_eq!(dry.tasks.iter().map(|it| it.id).collect::<Vec<_>>(), [by_task.tasks[0].id]);
    assert_eq!(dry.tasks[0].matches[0].place, "patient_id");
    for it in all {
        assert!(!is_erased(&*store, it).await, "a dry run changes nothing");
    }

    let real = erase(&store, now, false).await;
    let without = |it: Erased| Erased { remembered_responses: 0, ..it };
    assert_eq!(without(real), without(dry));
    for it in all {
        assert!(is_erased(&*store, it).await, "{it:?}");
        let now = store.event(&a, it.id).await.unwrap().unwrap();
        assert_eq!((now.status, now.task_ids), (it.status, it.task_ids.clone()));
    }
    assert!(!is_erased(&*store, &other.event).await && !is_erased(&*store, &foreign.event).await);
    assert_eq!(store.task(&a, by_task.tasks[0].id).await.unwrap().as_ref(), Some(&by_task.tasks[0]));
    let body = async |id| store.first_answer(id, now).await.unwrap().unwrap().body;
    for id in [name(1), delivery, IdempotencyId { company: None, ..name(3) }] {
        assert_eq!(body(id).await, "{\"erased\":true}");
    }
    assert_eq!(body(name(2)).await, long);
    let again = erase(&store, now, false).await;
    assert_eq!((again.events, again.remembered_responses), (vec![], 0));
}

/// It was received before, and its plugin was still running: otherwise what was erased is back.
pub async fn what_is_stored_after_the_erasure_of_its_patient_is_erased(store: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now());
    let (late, foreign) = (of_patient("a"), of_patient("b"));
    let batch: Vec<_> = vec![of_patient("a"), ingested("a", |_| {})];
    let by_body = event(EventStatus::Skipped, &format!("{{\"who\":\"{PATIENT}\"}}"));
    erase(&store, now + Duration::seconds(1), false).await;
    assert_eq!(store.commit(late.clone().into()).await.unwrap(), Committed::Erased);
    assert_eq!(store.commit(alone(&by_body)).await.unwrap(), Committed::Erased);
    assert!(is_erased(&*store, &late.event).await && is_erased(&*store, &by_body).await);
    assert_eq!(store.event(&a, late.event.id).await.unwrap().unwrap().status, EventStatus::Quarantined);
    let ids = [batch[0].event.id, batch[1].event.id];
    let commit = Commit { ingested: batch, idempotency: None, lane: None, audit: None };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Erased);
    for id in ids {
        assert_eq!(store.event(&a, id).await.unwrap(), None, "a batch is stored whole or not at all");
    }
    assert_eq!(list(&*store, "a", TaskFilter::default()).await, (vec![], 0));
    assert_eq!(store.commit(foreign.into()).await.unwrap(), Committed::Stored);
    // What is received later is not meant.
    let mut new = of_patient("a");
    new.event = received(new.event, now + Duration::seconds(5));
    new.tasks[0].event_id = new.event.id;
    assert_eq!(store.commit(new.into()).await.unwrap(), Committed::Stored);
}

/// Writes and the erasure run at the same time: each of the events is found, or knows that it is erased.
pub async fn what_is_stored_during_the_erasure_of_its_patient_is_erased(store: Arc<dyn Store>) {
    let all: Vec<Ingested> = (0..120).map(|_| of_patient("a")).collect();
    let at = Utc::now() + Duration::seconds(1);
    let writes = all.chunks(30).map(|part| {
        let (store, part) = (Arc::clone(&store), part.to_vec());
        tokio::spawn(async move {
            let mut stored = 0;
            for it in part {
                stored += usize::from(store.commit(it.into()).await.unwrap() == Committed::Stored);
            }
            stored
        })
    });
    let writes: Vec<_> = writes.collect();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let erased = erase(&store, at, false).await;
    let mut stored = 0;
    for write in writes {
        stored += write.await.unwrap();
    }
    assert_eq!(erased.events.len(), stored);
    for it in &all {
        assert!(is_erased(&*store, &it.event).await);
    }
    assert_eq!(list(&*store, "a", TaskFilter::default()).await.1, stored as u64);
}

/// Only the plugin's result shows whose it is: otherwise the patient has a task again, and the body stays.
pub async fn a_result_for_a_patient_who_was_erased_meanwhile_makes_no_task(store: Arc<dyn Store>) {
    for status in [EventStatus::Queued, EventStatus::Quarantined] {
        let event = event(status, "{\"rash\":true}");
        store.commit(alone(&event)).await.unwrap();
        let late = with_task(&*store, &event, Some(PATIENT)).await;
        assert_eq!(erase(&store, Utc::now(), false).await.events, []);
        let task = late.ingested.tasks[0].id;
        assert_eq!(store.replace(late).await.unwrap(), Replaced::Erased);
        assert_eq!(store.task(&company("a"), task).await.unwrap(), None);
        assert_eq!(store.queued().await.unwrap(), []);
        assert!(is_erased(&*store, &event).await);
        let now = store.event(&company("a"), event.id).await.unwrap().unwrap();
        assert_eq!(now.status, EventStatus::Quarantined);
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || store.erase_late(Utc::now()).unwrap()).await.unwrap();
    }
}

/// A replay makes of it what names an erased patient: otherwise nobody finds the event of the tasks that it has made before.
pub async fn an_event_that_is_erased_by_a_replay_keeps_its_tasks(store: Arc<dyn Store>) {
    let it = ingested("a", |_| {});
    store.commit(it.clone().into()).await.unwrap();
    let late = with_task(&*store, &it.event, Some(PATIENT)).await;
    assert_eq!(erase(&store, Utc::now(), false).await.events, []);
    assert_eq!(store.replace(late).await.unwrap(), Replaced::Erased);
    assert!(is_erased(&*store, &it.event).await);
    let now = store.event(&company("a"), it.event.id).await.unwrap().unwrap();
    assert_eq!((now.status, now.task_ids), (EventStatus::Stored, it.event.task_ids));
}

/// Work on it goes on, and finds nothing: otherwise it is in the queue forever, or makes a task without its content.
pub async fn a_queued_event_is_erased_and_still_gets_its_result(store: Arc<dyn Store>) {
    let (a, queued) = (company("a"), event(EventStatus::Queued, &format!("{{\"who\":\"{PATIENT}\"}}")));
    store.commit(alone(&queued)).await.unwrap();
    let before = with_task(&*store, &queued, None).await;
    assert_eq!(erase(&store, Utc::now(), false).await.events.len(), 1);
    assert!(is_erased(&*store, &queued).await);
    assert_eq!(store.queued().await.unwrap(), [(a.clone(), queued.id)]);
    let task = before.ingested.tasks[0].id;
    let after = next(&*store, &queued, EventStatus::Skipped).await;
    assert_eq!(store.replace(before).await.unwrap(), Replaced::Erased);
    assert_eq!(store.replace(after).await.unwrap(), Replaced::Erased);
    assert_eq!((store.queued().await.unwrap(), store.task(&a, task).await.unwrap()), (vec![], None));
    assert_eq!(store.event(&a, queued.id).await.unwrap().unwrap().status, EventStatus::Quarantined);
}

pub async fn patients_with_long_and_strange_ids_are_erased(store: Arc<dyn Store>) {
    for id in strange_texts() {
        let of = |id: String| ingested("a", |task| task.patient_id = Some(id));
        let (theirs, other) = (of(id.clone()), of(format!("{id}1")));
        for it in [&theirs, &other] {
            assert_eq!(store.commit(it.clone().into()).await.unwrap(), Committed::Stored);
        }
        let (of_all, patient) = (Arc::clone(&store), Patient::new(company("a"), &id).unwrap());
        let erased = tokio::task::spawn_blocking(move || of_all.erase(&patient, Utc::now(), false)).await.unwrap();
        assert_eq!(erased.unwrap().events.len(), 1);
        assert!(is_erased(&*store, &theirs.event).await && !is_erased(&*store, &other.event).await);
        // What was received before and is stored now is erased too.
        let late = of(id);
        let late = Ingested { event: received(late.event, Utc::now() - Duration::minutes(1)), tasks: late.tasks };
        assert_eq!(store.commit(late.into()).await.unwrap(), Committed::Erased);
    }
}
