//! A new state of a stored event, and the journal: what was sent must not stay there. `store_contract/again.rs` has the rest.

use std::path::Path;
use std::sync::Arc;

use chrono::{Duration, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::store::embedded::StoreOptions;
use hookmill::store::erasure::Patient;
use hookmill::store::verbs::*;
use hookmill::store::{Commit, Embedded, Ingested, Replace, Replaced};
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
