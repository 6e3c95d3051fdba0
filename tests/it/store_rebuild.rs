//! A rebuild that is interrupted leaves no view: the next start builds a complete one.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use hookmill::store::embedded::{StoreOptions, check, restore};
use hookmill::store::{Commit, Embedded, StoreError, TaskFilter};
use tempfile::TempDir;

use crate::harness;
use crate::harness::until;
use crate::own_process::runs_alone;
use crate::stored::{ingested, list};

const TASKS: u64 = 3000;

async fn filled(data: &Path) {
    let store = Embedded::open(data, &StoreOptions { reserve_bytes: 0, ..StoreOptions::default() }).unwrap();
    for _ in 0..TASKS / 100 {
        let batch = (0..100).map(|_| ingested("a", |task| task.description = "d".repeat(4 << 10))).collect();
        hookmill::store::TaskStore::commit(
            &store,
            Commit { ingested: batch, idempotency: None, lane: None, audit: None },
        )
        .await
        .unwrap();
    }
    // A snapshot is what is half-read at the wrong moment.
    store.backup(&data.with_extension("backup")).unwrap();
}

fn views(data: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(data).unwrap().map(|it| it.unwrap().path());
    all.filter(|it| it.file_name().unwrap().to_string_lossy().starts_with("sled-")).collect()
}

/// Kills a process that builds the view, once it has written so much of it; gives false where it was quicker.
fn killed_while_building(data: &Path, bytes: u64) -> bool {
    let mut command = harness::binary();
    command.args(["store", "stats", "--data-dir"]).arg(data).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let written = || views(data).iter().filter_map(|it| it.join("db").metadata().ok()).map(|it| it.len()).max();
    until("it is building", || written().unwrap_or(0) > bytes || child.try_wait().unwrap().is_some());
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_is_begun_again_and_never_taken_for_whole() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    filled(&data).await;
    let mut killed = 0;
    for round in 0..4 {
        for view in views(&data) {
            std::fs::remove_dir_all(view).unwrap();
        }
        killed += u32::from(killed_while_building(&data, round * (2 << 20)));
        let store = Embedded::open(&data, &StoreOptions::default()).unwrap();
        let (_, total) = list(&store, "a", TaskFilter::default()).await;
        assert_eq!(total, TASKS, "round {round}");
        drop(store);
        let report = check(&data).unwrap();
        assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
        assert_eq!(views(&data).len(), 1, "what was half built is still there");
    }
    assert!(killed > 0, "every rebuild was quicker than its end");
}

/// Its view's directory deleted while it runs: compacting makes another, and keeps that one.
#[tokio::test(flavor = "multi_thread")]
async fn compacting_a_store_whose_view_was_deleted_leaves_a_view() {
    if !runs_alone(module_path!(), "compacting_a_store_whose_view_was_deleted_leaves_a_view") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    filled(&data).await;
    let store = Embedded::open(&data, &StoreOptions { reserve_bytes: 0, ..StoreOptions::default() }).unwrap();
    std::fs::remove_dir_all(&views(&data)[0]).unwrap();
    store.compact().unwrap();
    assert_eq!(views(&data).len(), 1);
    assert_eq!(list(&store, "a", TaskFilter::default()).await.1, TASKS);
    drop(store);
    assert!(check(&data).unwrap().repairable.is_empty());
}

/// Half a backup has no say on what there was.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_interrupted_is_neither_checked_nor_restored_nor_served() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    filled(&data).await;
    let backup = data.with_extension("backup");
    assert!(check(&backup).unwrap().damages.is_empty());
    std::fs::write(backup.join("backup.unfinished"), b"").unwrap();
    let to = dir.path().join("restored");
    let refusals =
        [check(&backup).err(), restore(&backup, &to).err(), Embedded::open(&backup, &StoreOptions::default()).err()];
    for refused in refusals {
        let Some(StoreError::Open { cause, .. }) = &refused else { panic!("{refused:?}") };
        assert!(cause.contains("interrupted"), "{cause}");
    }
}
