//! A view that fails while the server runs: affected requests get an error, can be tried again, and find everything.
//!
//! Each test in a process of its own: a sled that hangs over its damage holds a lock of every sled in its process.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hookmill::model::task::Task;
use hookmill::store::embedded::StoreOptions;
use hookmill::store::verbs::*;
use hookmill::store::{Commit, Embedded, PageRequest, StoreError, TaskFilter};
use tempfile::TempDir;

use crate::harness::DEADLINE;
use crate::own_process::runs_alone;
use crate::stored::{company, ingested};

/// More than sled keeps in memory.
const TASKS: usize = 6000;
const BYTES: usize = 16 << 10;

/// Tries of something until it succeeds, with a pause after each.
struct Attempts {
    what: &'static str,
    count: usize,
    started: Instant,
}

impl Attempts {
    fn begin(what: &'static str) -> Self {
        Self { what, count: 0, started: Instant::now() }
    }

    /// A task's place, another one for each try.
    fn place(&self) -> usize {
        self.count * 2711 % TASKS
    }

    async fn pause(&mut self) {
        assert!(self.started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {}", self.what);
        self.count += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn filled(data: &Path) -> (Embedded, Vec<Task>) {
    let store = Embedded::open(data, &StoreOptions { reserve_bytes: 0, ..StoreOptions::default() }).unwrap();
    let mut tasks = Vec::new();
    for _ in 0..TASKS / 50 {
        let batch: Vec<_> = (0..50).map(|_| ingested("a", |task| task.description = "d".repeat(BYTES))).collect();
        tasks.extend(batch.iter().flat_map(|it| it.tasks.clone()));
        store.commit(Commit { ingested: batch, idempotency: None, lane: None, audit: None }).await.unwrap();
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

/// Reads until everything is there; any error except that of a view that is being rebuilt fails the test.
async fn everything_comes_back(store: &Embedded, tasks: &[Task]) -> usize {
    let (mut attempts, mut told) = (Attempts::begin("the view is whole again"), 0);
    for task in tasks {
        loop {
            match store.task(&company("a"), task.id).await {
                Ok(found) => break assert_eq!(found.as_ref(), Some(task)),
                Err(StoreError::Rebuilding(_)) => told += 1,
                Err(other) => panic!("{other}"),
            }
            attempts.pause().await;
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_finds_the_view_broken_starts_its_rebuild() {
    if !runs_alone(module_path!(), "a_read_that_finds_the_view_broken_starts_its_rebuild") {
        return;
    }
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
    let page = store.list_tasks(&company("a"), TaskFilter::default(), PageRequest::Number { page: 1, limit: 100 });
    assert_eq!(page.await.unwrap().total, TASKS as u64 + 1);
}

/// While the view is unusable, writes fail at once; everything acknowledged before stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_rebuilds_its_view_is_not_ready_and_loses_no_write() {
    if !runs_alone(module_path!(), "a_store_that_rebuilds_its_view_is_not_ready_and_loses_no_write") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let (store, mut tasks) = filled(&data).await;
    ruin(&data);
    let mut attempts = Attempts::begin("a reader meets the damage");
    let broken = loop {
        if let Err(error) = store.task(&company("a"), tasks[attempts.place()].id).await {
            break error;
        }
        attempts.pause().await;
    };
    let mut attempts = Attempts::begin("writing is taken up again");
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
        attempts.pause().await;
    }
    assert!(refused > 0, "no write was refused");
    everything_comes_back(&store, &tasks).await;
}

/// Otherwise tasks that were acknowledged are missing from every list, and the server says that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_whole_again_is_not_served_and_the_damage_is_named() {
    if !runs_alone(module_path!(), "a_view_that_cannot_be_whole_again_is_not_served_and_the_damage_is_named") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let (store, tasks) = filled(&data).await;
    // A record of the first segment, which no snapshot has: the view is its only copy.
    let segment = data.join("journal/00000000000000000001.journal");
    let file = std::fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[0xa5; 64], 20_000).unwrap();
    ruin(&data);
    let mut attempts = Attempts::begin("the damage is found");
    let refused = loop {
        match store.task(&company("a"), tasks[attempts.place()].id).await {
            Err(error @ StoreError::Journal(_)) => break error,
            Err(StoreError::Rebuilding(_)) | Ok(_) => attempts.pause().await,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(refused.to_string().contains("00000000000000000001.journal at byte"), "{refused}");
    assert!(matches!(store.ready(), Err(StoreError::Journal(_))));
    // Nothing is answered from half a view, and nothing is written over it.
    let page = store.list_tasks(&company("a"), TaskFilter::default(), PageRequest::Number { page: 1, limit: 100 });
    assert!(matches!(page.await, Err(StoreError::Journal(_))));
    assert!(matches!(store.commit(ingested("a", |_| {}).into()).await, Err(StoreError::Journal(_))));
    drop(store);
    // The same at the next start; with the damage accepted, all the rest is there.
    let options = StoreOptions { reserve_bytes: 0, ..StoreOptions::default() };
    assert!(matches!(Embedded::open(&data, &options), Err(StoreError::Journal(_))));
    let store = Embedded::open(&data, &StoreOptions { accept_loss: true, ..options }).unwrap();
    let found = store.list_tasks(&company("a"), TaskFilter::default(), PageRequest::Number { page: 1, limit: 100 });
    let total = found.await.unwrap().total;
    assert!((TASKS as u64 - 100..TASKS as u64).contains(&total), "{total}");
}
