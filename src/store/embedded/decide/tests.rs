//! Decisions, with the read view up to date and behind.

use super::*;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::{IntegrationName, new_id};
use crate::model::task::NewTask;
use crate::store::embedded::backend::Embedded;
use crate::store::embedded::check;
use crate::store::embedded::options::StoreOptions;
use crate::store::idempotency::Idempotency;
use crate::store::verbs::*;
use crate::store::write::{Commit, Ingested};
use std::time::Duration;

fn made(company: &str) -> Ingested {
    let now = Utc::now();
    let new: NewTask = serde_json::from_value(serde_json::json!({
        "title": "t", "description": "d", "assigned_user_ids": ["u"], "created_by_id": "u",
        "deadline": "2026-12-01T09:00:00Z",
    }))
    .unwrap();
    let company = CompanyId::parse(company).unwrap();
    let event_id = EventId(new_id(now));
    let task = new.into_task(TaskId(new_id(now)), event_id, company.clone(), now);
    let event = Event {
        id: event_id,
        integration: IntegrationName("tasks".into()),
        company_id: company,
        received_at: now,
        status: EventStatus::Stored,
        reason: None,
        task_ids: vec![task.id],
        provenance: None,
        plugin_log: String::new(),
        content_type: None,
        headers: Vec::new(),
        query: Vec::new(),
        path: String::new(),
        stages: Vec::new(),
        redacted: Vec::new(),
        erased_at: None,
        attempts: 1,
        last_attempt_at: None,
        trace: None,
        origin: None,
        body_bytes: 2,
        body: "{}".into(),
    };
    Ingested { event, tasks: vec![task] }
}

fn keyed(company: &str, key: &str) -> Commit {
    let at = Utc::now();
    let answer = FirstAnswer {
        fingerprint: [1; 16],
        at,
        refused: false,
        event_id: None,
        head: Bytes::new(),
        body: key.to_owned().into(),
    };
    let idempotency = Some(Idempotency { id: IdempotencyId::of(None, "s", "/r", key), answer });
    Commit { ingested: vec![made(company)], idempotency, lane: None, audit: None }
}

fn changes(commit: &Commit) -> Change {
    Change::commit(commit.clone()).unwrap()
}

/// Under load, the read view is always some groups behind. Decisions must be the same as with an up-to-date
/// view, and must not wait for it.
#[test]
fn a_decision_sees_what_is_durable_while_the_view_is_behind() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &StoreOptions::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The applier cannot continue while this lock is held.
    let behind = store.shared.index.read().unwrap();
    let (first, second) = (keyed("a", "k"), keyed("a", "k"));
    let task = first.ingested[0].tasks[0].clone();
    let a = task.company_id.clone();
    let decided = runtime.block_on(async {
        let all = async {
            assert_eq!(store.commit(first.clone()).await.unwrap(), Committed::Stored);
            let repeated = store.commit(second).await.unwrap();
            let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
            let updated = store.update_task(&a, task.id, 1, patch.clone(), Utc::now()).await.unwrap();
            let stale = store.update_task(&a, task.id, 1, patch, Utc::now()).await.unwrap();
            let deleted = store.delete_task(&a, task.id, Some(2), Utc::now()).await.unwrap();
            let missing = store.delete_task(&a, task.id, None, Utc::now()).await.unwrap();
            // Not in memory, so the writer must read the view.
            let never = store.delete_task(&a, TaskId(new_id(Utc::now())), None, Utc::now()).await.unwrap();
            assert_eq!(never, Updated::Missing);
            (repeated, updated, stale, deleted, missing)
        };
        tokio::time::timeout(Duration::from_secs(60), all).await
    });
    assert_eq!(store.shared.applied(), 0, "the read view is still empty");
    drop(behind);
    let (repeated, updated, stale, deleted, missing) = decided.expect("the writer waits for the read view");
    assert_eq!(repeated, Committed::Repeated(first.idempotency.unwrap().answer));
    assert!(matches!(updated, Updated::Done(it) if it.title == "new" && it.version == 2));
    assert_eq!(stale, Updated::Stale { version: 2 });
    assert!(matches!(deleted, Updated::Done(_)));
    assert_eq!(missing, Updated::Missing);
    // If a decision had taken an existing key for a new one, the view's sum would be wrong.
    drop(store);
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
}

/// A row that is used twice would make an old cursor lead to a newer task. The 4,294,967,296th task is an error
/// instead.
#[test]
fn rows_run_out_with_an_error_and_nothing_of_the_change_is_kept() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
    let a = CompanyId::parse("a").unwrap();
    let mut stored = Stored::default();
    stored.rows.insert(a.clone(), u32::MAX - 1);
    let mut decider = Decider::new(&store.shared, &mut stored, 1);
    decider.decide(changes(&keyed("a", "last"))).unwrap();
    let refused = keyed("a", "none left");
    let error = decider.decide(changes(&refused)).unwrap_err();
    assert!(matches!(&error, StoreError::OutOfRows { company } if company == "a"), "{error}");
    // The same key for another company's task: the refused request has left no trace.
    let other = Commit { ingested: vec![made("b")], ..refused };
    let decided = decider.decide(changes(&other)).unwrap().1;
    assert!(matches!(decided, Done::Committed(Committed::Stored)), "{decided:?}");
}

/// A store, and what its writer would know of it at its start.
fn empty() -> (tempfile::TempDir, Embedded, Stored) {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
    (dir, store, Stored::default())
}

fn kinds(written: &[OwnedOp]) -> Vec<OpKind> {
    written.iter().map(|it| it.kind).collect()
}

/// Requests that arrive together are one group. Otherwise two of them could both change the same version.
#[test]
fn of_changes_in_one_group_each_sees_those_before_it() {
    let (_dir, store, mut stored) = empty();
    let mut decider = Decider::new(&store.shared, &mut stored, 1);
    let commit = Commit { ingested: vec![made("a")], idempotency: None, lane: None, audit: None };
    let (written, _) = decider.decide(changes(&commit)).unwrap();
    assert_eq!(kinds(&written), [OpKind::Event, OpKind::Insert]);
    let task = &commit.ingested[0].tasks[0];
    let update = |version, patch| Change::Update {
        company: task.company_id.clone(),
        id: task.id,
        version,
        patch,
        now: Utc::now(),
    };
    let mut decided = |version, patch| {
        let (written, done) = decider.decide(update(version, patch)).unwrap();
        let Done::Updated(updated) = done else { panic!("{done:?}") };
        (kinds(&written), updated)
    };
    let patch = || Some(TaskPatch { title: Some("new".into()), ..TaskPatch::default() });
    let (written, updated) = decided(Some(1), patch());
    assert!(matches!(&updated, Updated::Done(it) if it.version == 2 && it.title == "new"), "{updated:?}");
    assert_eq!(written, [OpKind::Replace]);
    assert_eq!(decided(Some(1), patch()), (vec![], Updated::Stale { version: 2 }));
    let (written, deleted) = decided(None, None);
    assert!(matches!(&deleted, Updated::Done(it) if it.deleted_at.is_some()), "{deleted:?}");
    assert_eq!(written, [OpKind::Replace], "it is kept until it is purged");
    assert_eq!(decided(None, patch()), (vec![], Updated::Missing));
}

/// Otherwise a client whose retry arrives together with its request has two tasks.
#[test]
fn a_repetition_in_the_same_group_gets_the_first_response_and_writes_nothing() {
    let (_dir, store, mut stored) = empty();
    let mut decider = Decider::new(&store.shared, &mut stored, 1);
    let (first, second) = (keyed("a", "k"), keyed("a", "k"));
    decider.decide(changes(&first)).unwrap();
    let (written, done) = decider.decide(changes(&second)).unwrap();
    let expected = first.idempotency.unwrap().answer;
    assert!(matches!(&done, Done::Committed(Committed::Repeated(it)) if *it == expected), "{done:?}");
    assert_eq!(kinds(&written), []);
    let (written, _) = decider.decide(changes(&keyed("a", "another"))).unwrap();
    assert_eq!(kinds(&written), [OpKind::Event, OpKind::Insert]);
    let (blocks, decisions) = decider.end(1).unwrap();
    assert_eq!(blocks.len(), 1, "both responses are in one block");
    assert!(decisions.late.is_empty() && decisions.expired.is_empty());
}

/// After a restart, only the stored entries show that rows above the remaining tasks were used, and that a feed lacks
/// deletions.
#[test]
fn purging_tasks_stores_the_next_row_and_the_last_purged_change() {
    let (_dir, store, mut stored) = empty();
    let mut decider = Decider::new(&store.shared, &mut stored, 1);
    let commit = Commit { ingested: vec![made("a"), made("a")], idempotency: None, lane: None, audit: None };
    decider.decide(changes(&commit)).unwrap();
    let a = commit.ingested[0].tasks[0].company_id.clone();
    let mut purge = |row: u32, sequence| {
        let id = commit.ingested[row as usize].tasks[0].id;
        let last_change = LastChange { sequence, row };
        decider.decide(Change::Purge(vec![Purged { company: a.clone(), id, last_change }])).unwrap().0
    };
    let written = purge(0, 5);
    assert_eq!(kinds(&written), [OpKind::Delete, OpKind::Insert, OpKind::Insert]);
    let purged = record::decode_purged(&written[1].value).unwrap();
    assert_eq!((&written[1].key, purged), (&keys::purged(&a), LastChange { sequence: 5, row: 0 }));
    assert_eq!((&written[2].key, record::decode_rows(&written[2].value).unwrap()), (&keys::rows(&a), 2));
    assert_eq!(kinds(&purge(1, 3)), [OpKind::Delete], "later changes were purged before");
    assert_eq!(kinds(&purge(1, 9)), [OpKind::Delete, OpKind::Replace]);
}

/// A task's place in the feed is the record that has its value. Decided with another number, it would move at a rebuild.
#[test]
fn tasks_carry_the_sequence_of_the_record_that_is_written() {
    let (_dir, store, mut stored) = empty();
    let mut decider = Decider::new(&store.shared, &mut stored, 7);
    let last_change = |written: &[OwnedOp], id| {
        let op = written.iter().find(|it| it.kind != OpKind::Event && keys::parse_task(&it.key).is_some()).unwrap();
        task_record::decode(&op.value, id, CompanyId::parse("a").unwrap()).unwrap().1
    };
    let first = Commit { ingested: vec![made("a")], idempotency: None, lane: None, audit: None };
    let id = first.ingested[0].tasks[0].id;
    let (written, _) = decider.decide(changes(&first)).unwrap();
    assert_eq!(last_change(&written, id), LastChange { sequence: 7, row: 0 });
    // Nothing is written, so no sequence is used.
    let update = |version| Change::Update {
        company: CompanyId::parse("a").unwrap(),
        id,
        version: Some(version),
        patch: Some(TaskPatch::default()),
        now: Utc::now(),
    };
    assert!(decider.decide(update(5)).unwrap().0.is_empty());
    let (written, _) = decider.decide(update(1)).unwrap();
    assert_eq!(last_change(&written, id), LastChange { sequence: 8, row: 0 });
}

/// An import can be repeated: what is there stays, and what differs is named for the admin.
#[test]
fn an_import_skips_what_exists_and_names_what_differs() {
    let (_dir, store, mut stored) = empty();
    let mut decider = Decider::new(&store.shared, &mut stored, 1);
    let key = keys::audit(Uuid::from_u128(1));
    let mut import = |value: &[u8]| {
        let others = vec![(key.clone(), value.to_vec())];
        let change = Change::Import { events: Vec::new(), tasks: Vec::new(), others, answers: Vec::new() };
        let (written, done) = decider.decide(change).unwrap();
        let Done::Imported(imported) = done else { panic!("{done:?}") };
        (kinds(&written), imported.skipped, imported.differing)
    };
    assert_eq!(import(b"one"), (vec![OpKind::Insert], 0, vec![]));
    assert_eq!(import(b"one"), (vec![], 1, vec![]));
    assert_eq!(import(b"two"), (vec![], 1, vec![keys::name_of(&keys::audit(Uuid::from_u128(1)))]));
}

/// An erasure overwrites stored responses. One that has expired meanwhile must not come back.
#[test]
fn overwriting_changes_existing_entries_only() {
    let (_dir, store, mut stored) = empty();
    let mut decider = Decider::new(&store.shared, &mut stored, 1);
    let (there, gone) = (keys::audit(Uuid::from_u128(1)), keys::audit(Uuid::from_u128(2)));
    let others = vec![(there.clone(), b"before".to_vec())];
    decider.decide(Change::Import { events: Vec::new(), tasks: Vec::new(), others, answers: Vec::new() }).unwrap();
    let entries = [there.clone(), gone].map(|key| (key, b"after".to_vec())).into();
    let (written, _) = decider.decide(Change::Overwrite(entries)).unwrap();
    assert_eq!(
        (kinds(&written), &written[0].key, &written[0].value[..]),
        (vec![OpKind::Replace], &there, &b"after"[..])
    );
}
