//! The writer thread, with changes that fail and records that cannot be read.

use super::*;
use crate::store::embedded::backend::Embedded;
use crate::store::embedded::change::Guard;
use crate::store::embedded::names::AnswerPlace;
use crate::store::embedded::{StoreOptions, keys};
use crate::store::idempotency::IdempotencyId;
use crate::store::verbs::*;

fn put(bytes: usize) -> Change {
    let audit = Some((b"A123456789abcdefg".to_vec(), vec![0; bytes]));
    let none = (Vec::new(), Vec::new());
    Change::Put { events: none.0, tasks: none.1, api_key: None, audit, guard: None, queue: Vec::new() }
}

/// If the disk is full when responses are removed, they still exist and still count.
#[test]
fn answers_are_forgotten_once_their_removal_is_durable() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
    let (id, at) = (IdempotencyId::of(None, "s", "/r", "key"), chrono::Utc::now());
    let mut answered = put(1);
    if let Change::Put { guard, .. } = &mut answered {
        *guard = Some(Guard::forgotten(id.clone(), at).unwrap());
    }
    store.writer.write_blocking(answered).unwrap();
    let day = keys::answer_day(&id, at);
    let Some(AnswerPlace::Block(number)) = store.shared.names().find(day, &id.name) else { panic!("no block") };
    let removed = || Change::Remove(vec![keys::block(day, number)]);
    let mut stored = Stored::default();
    let mut decider = Decider::new(&store.shared, &mut stored, 1, false);
    decider.decide(removed()).unwrap();
    decider.end(number + 1).unwrap();
    assert_eq!(store.shared.names().count(), 1);
    store.writer.write_blocking(removed()).unwrap();
    assert_eq!(store.shared.names().count(), 0);
}

/// A record with a valid checksum but unreadable content, as an import of an earlier version could leave it,
/// must not prevent the rest from being served.
#[test]
fn a_record_that_cannot_be_read_keeps_no_other_from_being_read() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Embedded::open(&data, &StoreOptions::default()).unwrap();
    let company = crate::model::company::CompanyId::parse("a").unwrap();
    let unreadable = |format| crate::store::embedded::record::encode_as(format, &"x").unwrap();
    let now = crate::system::clock::now();
    let entry = crate::model::audit::Entry::new("test", crate::model::audit::Action::KeyCreated, "t", now);
    runtime.block_on(store.note(entry)).unwrap();
    let task = keys::task(&company, crate::model::ids::TaskId(crate::model::ids::new_id(now)));
    let others = vec![
        (b"Kkey_1".to_vec(), unreadable(1)),
        (keys::audit(crate::model::ids::new_id(now)), unreadable(1)),
        (b"Tno-task".to_vec(), unreadable(2)),
        (task, unreadable(2)),
    ];
    let import = Change::Import { events: Vec::new(), tasks: Vec::new(), others, answers: Vec::new() };
    store.writer.write_blocking(import).unwrap();
    drop(store);
    for view_is_gone in [false, true] {
        if view_is_gone {
            std::fs::remove_dir_all(data.join("sled-1")).unwrap();
        }
        let store = Embedded::open(&data, &StoreOptions::default()).unwrap();
        assert_eq!(runtime.block_on(store.keys()).unwrap(), []);
        assert_eq!(runtime.block_on(store.audit(None, None, 10)).unwrap().len(), 1);
        store.ready().unwrap();
    }
}

/// The sweep's `Roll` may share a group with a request that cannot be written; this must not fail the sweep.
#[test]
fn what_concerns_only_the_journals_files_is_answered_for_itself() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let options = StoreOptions { segment_bytes: 64 << 10, ..StoreOptions::default() };
    let store = Embedded::open(&data, &options).unwrap();
    // Not the first group, because an empty segment would be made larger.
    store.writer.write_blocking(put(1)).unwrap();
    // A segment for a group of this size cannot be created, because a directory has its name.
    std::fs::create_dir(data.join("journal/fresh.tmp")).unwrap();
    let too_large = || put(200 << 10);
    let queue = store.writer.queue.as_ref().unwrap();
    let send = |change| {
        let (done, answer) = oneshot::channel();
        queue.blocking_send(QueuedChange { change, done }).unwrap();
        answer
    };
    // While the first one fails, the others gather in one group.
    for _ in 0..20 {
        let answers: Vec<_> = (0..20)
            .map(|_| {
                (
                    send(too_large()),
                    send(Change::Roll { before_ms: 0 }),
                    send(Change::Prune { covered: 0, before_ms: 0, now_ms: 0 }),
                )
            })
            .collect();
        for (put, roll, prune) in answers {
            assert!(matches!(put.blocking_recv().unwrap(), Err(StoreError::Write(_))));
            assert!(matches!(roll.blocking_recv().unwrap(), Ok(Done::Freed(0))));
            assert!(matches!(prune.blocking_recv().unwrap(), Ok(Done::Freed(0))));
        }
    }
}
