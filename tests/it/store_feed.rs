//! Cursors of the feed of changes, through everything that happens to an embedded store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{Duration, Utc};
use hookmill::model::ids::TaskId;
use hookmill::model::task::TaskPatch;
use hookmill::store::StoredItem;
use hookmill::store::embedded::{StoreOptions, check, restore};
use hookmill::store::verbs::*;
use hookmill::store::{ChangeFeed, Commit, Embedded};
use tempfile::TempDir;

use crate::stored::{company, feed, ingested};

fn open(data: &Path) -> Embedded {
    let options = StoreOptions { segment_bytes: 64 << 10, events: Some(Duration::days(1)), ..StoreOptions::default() };
    Embedded::open(data, &options).unwrap()
}

async fn create(store: &Embedded) -> TaskId {
    let it = ingested("a", |_| {});
    let id = it.tasks[0].id;
    store.commit(it.into()).await.unwrap();
    id
}

fn view(data: &Path) -> PathBuf {
    data.join(std::fs::read_to_string(data.join("view.current")).unwrap())
}

/// A client polls for years with the cursor that it has: none of this may make it skip a change, or see one twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_survives_restarts_rebuilds_compaction_snapshots_and_retention() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut store = open(&data);
    let (old, changed) = (create(&store).await, create(&store).await);
    let (_, mut cursor) = feed(&store, "a", None).await.unwrap();
    for step in ["restart", "rebuild", "rebuild from a snapshot", "compact", "retention"] {
        let patch = TaskPatch { title: Some(step.into()), ..TaskPatch::default() };
        let version = store.task(&company("a"), changed).await.unwrap().unwrap().version;
        store.update_task(&company("a"), changed, version, patch, Utc::now()).await.unwrap();
        let before = create(&store).await;
        match step {
            "restart" => {
                drop(store);
                store = open(&data);
            }
            "rebuild" | "rebuild from a snapshot" => {
                if step != "rebuild" {
                    store.backup(&dir.path().join("backup")).unwrap();
                }
                drop(store);
                std::fs::remove_dir_all(view(&data)).unwrap();
                store = open(&data);
            }
            "compact" => store.compact().unwrap(),
            _ => {
                // So much that segments are closed, and can be removed.
                let many = (0..2000).map(|_| ingested("b", |_| {})).collect();
                store.commit(Commit { ingested: many, idempotency: None, lane: None, audit: None }).await.unwrap();
                store.expire(Utc::now() + Duration::hours(4)).await.unwrap();
                let expired = store.expire(Utc::now() + Duration::days(3)).await.unwrap();
                assert!(expired.event_bytes > 0, "{expired:?}");
                drop(store);
                std::fs::remove_dir_all(view(&data)).unwrap();
                store = open(&data);
            }
        }
        let after = create(&store).await;
        let version = i64::try_from(version).unwrap() + 1;
        let expected = [(changed, version), (before, 1), (after, 1)];
        let (changes, next) = feed(&store, "a", Some(cursor)).await.unwrap();
        assert_eq!(changes, expected, "{step}");
        cursor = next;
    }
    assert_eq!(feed(&store, "a", None).await.unwrap().0[0], (old, 1));
    drop(store);
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
}

/// After a restore, the same sequences are given to other changes: the old cursors would skip them.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_expires_where_the_store_goes_back() {
    let dir = TempDir::new().unwrap();
    let [data, backup, restored] = ["data", "backup", "restored"].map(|it| dir.path().join(it));
    let store = open(&data);
    create(&store).await;
    store.backup(&backup).unwrap();
    create(&store).await;
    let (_, cursor) = feed(&store, "a", None).await.unwrap();
    drop(store);
    restore(&backup, &restored).unwrap();
    for at in [&restored, &backup] {
        let store = open(at);
        // As many changes as the cursor has seen, and one more.
        for _ in 0..2 {
            create(&store).await;
        }
        assert_eq!(feed(&store, "a", Some(cursor.clone())).await, None);
        let (_, own) = feed(&store, "a", None).await.unwrap();
        drop(store);
        assert_eq!(feed(&open(at), "a", Some(own)).await.unwrap().0, [], "its own cursors go on");
    }
    assert_eq!(feed(&open(&data), "a", Some(cursor)).await.unwrap().0, []);
}

/// A directory that an export was read into is another store; one that has its own tasks shows the imported ones as changes.
#[tokio::test(flavor = "multi_thread")]
async fn imported_tasks_are_changes_of_the_store_that_they_are_imported_into() {
    let dir = TempDir::new().unwrap();
    let [from, to] = ["from", "to"].map(|it| open(&dir.path().join(it)));
    let (kept, gone) = (create(&from).await, create(&from).await);
    from.delete_task(&company("a"), gone, None, Utc::now()).await.unwrap();
    let own = create(&to).await;
    let (_, cursor) = feed(&to, "a", None).await.unwrap();
    let mut items = Vec::new();
    from.export(&mut |item| {
        items.extend(matches!(item, StoredItem::Task(_)).then_some(item));
        Ok(())
    })
    .unwrap();
    to.import(items.clone()).await.unwrap();
    let (changes, next) = feed(&to, "a", Some(cursor)).await.unwrap();
    assert_eq!(changes, [(kept, 1), (gone, -2)]);
    assert_eq!(to.import(items).await.unwrap().skipped, 2);
    assert_eq!(feed(&to, "a", Some(next)).await.unwrap().0, [], "what is stored already has not changed");
    let (_, foreign) = feed(&from, "a", None).await.unwrap();
    assert_eq!(feed(&to, "a", Some(foreign)).await, None);
    assert_eq!(feed(&to, "a", None).await.unwrap().0, [(own, 1), (kept, 1), (gone, -2)]);
}

/// Writers race, and so do readers with the thread that brings changes into the view.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_polls_while_others_write_ends_with_what_is_stored() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(open(&dir.path().join("data")));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let a = company("a");
                for n in 0..60 {
                    let id = create(&store).await;
                    if n % 2 == 0 {
                        let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
                        store.update_task(&a, id, 1, patch, Utc::now()).await.unwrap();
                    }
                    if n % 3 == 0 {
                        store.delete_task(&a, id, None, Utc::now()).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let (mut seen, mut cursor) = (std::collections::BTreeMap::new(), None);
    loop {
        let ended = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let ChangeFeed::Page(page) = store.change_feed(&company("a"), cursor, 7).await.unwrap() else { panic!() };
        for task in page.tasks {
            let before = seen.insert(task.id, (task.version, task.deleted_at.is_some()));
            assert!(before.is_none_or(|(version, _)| version < task.version), "{} came again", task.id);
        }
        cursor = Some(page.next);
        if ended && !page.has_more {
            break;
        }
    }
    let mut stored = std::collections::BTreeMap::new();
    store
        .export(&mut |item| {
            if let StoredItem::Task(it) = item {
                stored.insert(it.id, (it.version, it.deleted_at.is_some()));
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, stored);
}

/// Tasks in the format before have no place in the order of changes: they come first, in the order of their creation.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_the_format_before_is_read_to_its_end_and_goes_on() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-4/data");
    for part in ["journal", "snapshots"] {
        std::fs::create_dir_all(data.join(part)).unwrap();
        for entry in std::fs::read_dir(fixture.join(part)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, data.join(part).join(path.file_name().unwrap())).unwrap();
        }
    }
    let store = open(&data);
    let mut tasks = Vec::new();
    store
        .export(&mut |item| {
            if let StoredItem::Task(it) = item {
                tasks.push(*it);
            }
            Ok(())
        })
        .unwrap();
    let of = tasks[0].company_id.clone();
    tasks.retain(|it| it.company_id == of);
    assert!(tasks.len() > 1, "{}", tasks.len());
    let version = |it: &hookmill::model::task::Task| i64::try_from(it.version).unwrap();
    let expected: Vec<_> =
        tasks.iter().map(|it| (it.id, if it.deleted_at.is_some() { -version(it) } else { version(it) })).collect();
    let (changes, cursor) = feed(&store, of.as_str(), None).await.unwrap();
    assert_eq!(changes, expected);
    let live = tasks.iter().find(|it| it.deleted_at.is_none()).unwrap();
    store.delete_task(&of, live.id, None, Utc::now()).await.unwrap();
    drop(store);
    let store = open(&data);
    let (changes, _) = feed(&store, of.as_str(), Some(cursor)).await.unwrap();
    assert_eq!(changes, [(live.id, -version(live) - 1)]);
}
