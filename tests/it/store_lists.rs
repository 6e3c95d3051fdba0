//! Lists and cursors of the embedded store while its view changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{Duration, Utc};
use hookmill::model::ids::TaskId;
use hookmill::model::task::{Status, TaskPatch};
use hookmill::store::embedded::{StoreOptions, check};
use hookmill::store::verbs::*;
use hookmill::store::{Cursor, Embedded, PageRequest, TaskFilter, Updated};
use tempfile::TempDir;

use crate::stored::{company, ingested, list};

const FIRST: PageRequest = PageRequest::Number { page: 1, limit: 50 };

/// Sweeps and admins compact at any time: nobody who lists meanwhile may get an error or half a change.
#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_through_compactions_and_show_one_moment() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Arc::new(Embedded::open(&data, &StoreOptions::default()).unwrap());
    for _ in 0..40 {
        store.commit(ingested("a", |_| {}).into()).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    // More than there are cores, so that one is interrupted at any place.
    for status in [None, Some(Status::Pending)].repeat(6) {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        readers.push(tokio::spawn(async move {
            let (a, filter) =
                (company("a"), TaskFilter { status: status.into_iter().collect(), ..TaskFilter::default() });
            let mut lists = 0;
            while !done.load(Ordering::Relaxed) {
                let page = store.list_tasks(&a, filter.clone(), FIRST).await.unwrap();
                assert!(
                    page.tasks.iter().all(|it| status.is_none_or(|status| it.status == status)),
                    "what is listed fits"
                );
                assert_eq!(page.tasks.len() as u64, page.total.min(50));
                lists += 1;
            }
            lists
        }));
    }
    let writer = {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        tokio::spawn(async move {
            let a = company("a");
            while !done.load(Ordering::Relaxed) {
                let made = ingested("a", |_| {});
                let task = made.tasks[0].clone();
                store.commit(made.into()).await.unwrap();
                let patch = TaskPatch { status: Some(Status::Completed), ..TaskPatch::default() };
                let updated = store.update_task(&a, task.id, task.version, patch, Utc::now()).await.unwrap();
                assert!(matches!(updated, Updated::Done(_)));
                let deleted = store.delete_task(&a, task.id, None, Utc::now()).await.unwrap();
                assert!(matches!(deleted, Updated::Done(_)));
            }
        })
    };
    for _ in 0..10 {
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || store.compact()).await.unwrap().unwrap();
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    drop(store);
    assert!(check(&data).unwrap().damages.is_empty());
}

/// A client that walks a list keeps its cursor for as long as it likes. It must never lead to tasks that came later.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_cursor_never_leads_to_newer_tasks() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let options = StoreOptions { deleted_tasks: Some(Duration::zero()), ..StoreOptions::default() };
    let a = company("a");
    let mut store = Embedded::open(&data, &options).unwrap();
    let mut made: Vec<TaskId> = Vec::new();
    for _ in 0..10 {
        let it = ingested("a", |_| {});
        made.push(it.tasks[0].id);
        store.commit(it.into()).await.unwrap();
    }
    let page = PageRequest::After { cursor: Cursor(u64::MAX), limit: 2 };
    let cursor = store.list_tasks(&a, TaskFilter::default(), page).await.unwrap().next.unwrap();
    for id in &made[3..] {
        store.delete_task(&a, *id, None, Utc::now()).await.unwrap();
    }
    assert_eq!(store.expire(Utc::now() + Duration::seconds(1)).await.unwrap().tasks, 7);
    for round in ["reopened", "view rebuilt from the journal", "restored from a backup"] {
        match round {
            "view rebuilt from the journal" => {
                drop(store);
                std::fs::remove_file(data.join("view.current")).unwrap();
                store = Embedded::open(&data, &options).unwrap();
            }
            "restored from a backup" => {
                let (backup, restored) = (dir.path().join("backup"), dir.path().join("restored"));
                store.backup(&backup).unwrap();
                hookmill::store::embedded::restore(&backup, &restored).unwrap();
                store = Embedded::open(&restored, &options).unwrap();
            }
            _ => {
                drop(store);
                store = Embedded::open(&data, &options).unwrap();
            }
        }
        let it = ingested("a", |_| {});
        let newer = it.tasks[0].id;
        store.commit(it.into()).await.unwrap();
        let page = PageRequest::After { cursor, limit: 50 };
        let behind = store.list_tasks(&a, TaskFilter::default(), page).await.unwrap();
        let ids: Vec<_> = behind.tasks.iter().map(|it| it.id).collect();
        assert_eq!(ids, [made[2], made[1], made[0]], "{round}");
        store.delete_task(&a, newer, None, Utc::now()).await.unwrap();
        assert_eq!(store.expire(Utc::now() + Duration::seconds(1)).await.unwrap().tasks, 1);
        assert_eq!(list(&store, "a", TaskFilter::default()).await.1, 3);
    }
}
