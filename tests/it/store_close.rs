//! Closing a store and opening it again in the same process. In a process of its own, because it looks at all threads.

use std::path::{Path, PathBuf};

use hookmill::store::embedded::{StoreOptions, check};
use hookmill::store::verbs::*;
use hookmill::store::{Embedded, TaskFilter};
use tempfile::TempDir;

use crate::own_process::runs_alone;
use crate::stored::{ingested, list};

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|it| std::fs::read_to_string(it.ok()?.path().join("comm")).ok());
    let of_the_store = |it: &String| ["store-", "journal-"].iter().any(|prefix| it.starts_with(prefix));
    // It ends by itself as soon as it has said that the others have ended.
    names.filter(of_the_store).filter(|it| it.trim() != "store-close").collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let all = ["", "journal", "snapshots"].iter().flat_map(|it| std::fs::read_dir(dir.join(it)).unwrap());
    all.map(|it| it.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == extension)).collect()
}

/// A command that opens the store after another, or a service that reopens it, must not meet the threads of before: they
/// write `next.tmp`, `rewrite.tmp` and `snapshot.tmp`, and hold sled's lock.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_closed_store_goes_on() {
    if !runs_alone(module_path!(), "nothing_of_a_closed_store_goes_on") {
        return;
    }
    let dir = TempDir::new().unwrap();
    // Tiny segments and snapshots all the time: every thread has something to do when the store is closed.
    let data = dir.path().join("tiny");
    let tiny = StoreOptions { segment_bytes: 16 << 10, snapshot_bytes: 8 << 10, ..StoreOptions::default() };
    let mut count = 0;
    for round in 0..15 {
        let store = Embedded::open(&data, &tiny).unwrap();
        assert_eq!(list(&store, "a", TaskFilter::default()).await.1, count, "round {round}");
        for _ in 0..20 {
            store.commit(ingested("a", |task| task.description = "d".repeat(2000)).into()).await.unwrap();
            count += 1;
        }
        drop(store);
        assert_eq!(threads(), [] as [String; 0], "round {round}");
        assert_eq!(files(&data, "tmp"), [] as [PathBuf; 0], "round {round}");
    }
    assert!(!data.join("sled-2").exists(), "a view was rebuilt");
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");

    // Making a large segment takes longer than anybody wants to wait: it is given up.
    let data = dir.path().join("large");
    let large = StoreOptions { segment_bytes: 1 << 30, ..StoreOptions::default() };
    let store = Embedded::open(&data, &large).unwrap();
    store.commit(ingested("a", |_| {}).into()).await.unwrap();
    drop(store);
    assert_eq!(threads(), [] as [String; 0]);
    assert_eq!(files(&data, "tmp"), [] as [PathBuf; 0]);
    assert_eq!(files(&data, "ready"), [] as [PathBuf; 0], "closing did not wait for it");
    let store = Embedded::open(&data, &large).unwrap();
    assert_eq!(list(&store, "a", TaskFilter::default()).await.1, 1);
}
