//! A view that breaks while it is served: whoever meets it is told to come again, and finds everything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stored;

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hookmill::store::embedded::Options;
use hookmill::store::{Commit, Embedded, Page, Store as _, StoreError, TaskFilter};
use hookmill::task::Task;
use stored::{company, ingested};
use tempfile::TempDir;

/// More than sled keeps in memory.
const TASKS: usize = 6000;
const BYTES: usize = 16 << 10;
const DEADLINE: Duration = Duration::from_secs(120);

async fn filled(data: &Path) -> (Embedded, Vec<Task>) {
    let store = Embedded::open(data, &Options { reserve_bytes: 0, ..Options::default() }).unwrap();
    let mut tasks = Vec::new();
    for _ in 0..TASKS / 50 {
        let batch: Vec<_> = (0..50).map(|_| ingested("a", |task| task.description = "d".repeat(BYTES))).collect();
        tasks.extend(batch.iter().flat_map(|it| it.tasks.clone()));
        store.commit(Commit { ingested: batch, idempotency: None }).await.unwrap();
    }
    // A read waits for the view: nothing is left to be applied.
    store.task(&company("a"), tasks[0].id).await.unwrap();
    (store, tasks)
}

/// Overwrites sled's file, as a disk does that loses what it had.
fn ruin(data: &Path) {
    let file = std::fs::File::options().write(true).open(data.join("sled-1/db")).unwrap();
    let length = file.metadata().unwrap().len();
    for at in (0..length).step_by(1 << 16) {
        let size = usize::try_from((length - at).min(1 << 16)).unwrap();
        file.write_all_at(&vec![0xa5; size], at).unwrap();
    }
}

/// Reads until all is there; any other error than that of a view which is made anew fails the test.
async fn everything_comes_back(store: &Embedded, tasks: &[Task]) -> usize {
    let (started, mut told) = (Instant::now(), 0);
    for task in tasks {
        loop {
            match store.task(&company("a"), task.id).await {
                Ok(found) => break assert_eq!(found.as_ref(), Some(task)),
                Err(StoreError::Rebuilding(_)) => told += 1,
                Err(other) => panic!("{other}"),
            }
            assert!(started.elapsed() < DEADLINE, "the view is not made anew");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_finds_the_view_broken_has_it_made_anew() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let (store, tasks) = filled(&data).await;
    ruin(&data);
    let told = everything_comes_back(&store, &tasks).await;
    assert!(told > 0, "no reader met the damage");
    assert!(!data.join("sled-1").exists(), "the broken view is still there");
    store.ready().unwrap();
    let late = ingested("a", |_| {});
    store.commit(late.into()).await.unwrap();
    let page = store.list_tasks(&company("a"), TaskFilter::default(), Page::Number { page: 1, limit: 100 });
    assert_eq!(page.await.unwrap().total, TASKS as u64 + 1);
}

/// While nobody may rely on the view, writers are told at once; what they were told before stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_makes_its_view_anew_is_not_ready_and_loses_no_write() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let (store, mut tasks) = filled(&data).await;
    ruin(&data);
    let started = Instant::now();
    let broken = loop {
        let read = store.task(&company("a"), tasks[started.elapsed().as_micros() as usize % TASKS].id).await;
        if let Err(error) = read {
            break error;
        }
        assert!(started.elapsed() < DEADLINE, "no reader met the damage");
    };
    assert!(matches!(broken, StoreError::Rebuilding(_)), "{broken}");
    assert!(matches!(store.ready(), Err(StoreError::Rebuilding(_))));
    let mut refused = 0;
    loop {
        let it = ingested("a", |_| {});
        let task = it.tasks[0].clone();
        match store.commit(it.into()).await {
            Ok(_) => break tasks.push(task),
            Err(StoreError::Rebuilding(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(started.elapsed() < DEADLINE, "writing is not taken up again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused > 0, "no writer was told");
    everything_comes_back(&store, &tasks).await;
}

/// Otherwise tasks that were acknowledged are missing from every list, and the server says that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_whole_again_is_not_served_and_the_damage_is_named() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let (store, tasks) = filled(&data).await;
    // A record of the first segment, which no snapshot has: the view is its only copy.
    let segment = data.join("journal/00000000000000000001.journal");
    let file = std::fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[0xa5; 64], 20_000).unwrap();
    ruin(&data);
    let started = Instant::now();
    let refused = loop {
        let read = store.task(&company("a"), tasks[started.elapsed().as_micros() as usize % TASKS].id).await;
        match read {
            Err(error @ StoreError::Journal(_)) => break error,
            Err(StoreError::Rebuilding(_)) | Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(other) => panic!("{other}"),
        }
        assert!(started.elapsed() < DEADLINE, "the damage is not found");
    };
    assert!(refused.to_string().contains("00000000000000000001.journal at byte"), "{refused}");
    assert!(matches!(store.ready(), Err(StoreError::Journal(_))));
    // Nothing is answered from half a view, and nothing is written over it.
    let page = store.list_tasks(&company("a"), TaskFilter::default(), Page::Number { page: 1, limit: 100 });
    assert!(matches!(page.await, Err(StoreError::Journal(_))));
    assert!(matches!(store.commit(ingested("a", |_| {}).into()).await, Err(StoreError::Journal(_))));
    drop(store);
    // The same at the next start; with the damage accepted, all the rest is there.
    let options = Options { reserve_bytes: 0, ..Options::default() };
    assert!(matches!(Embedded::open(&data, &options), Err(StoreError::Journal(_))));
    let store = Embedded::open(&data, &Options { accept_loss: true, ..options }).unwrap();
    let found = store.list_tasks(&company("a"), TaskFilter::default(), Page::Number { page: 1, limit: 100 });
    let total = found.await.unwrap().total;
    assert!((TASKS as u64 - 100..TASKS as u64).contains(&total), "{total}");
}
