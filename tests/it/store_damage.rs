//! Damaged files: what sled loses is rebuilt from the journal; what the journal loses is named; nothing is lost
//! in silence, and nothing panics or hangs.
//!
//! What damages sled runs in a process of its own: a sled that hangs holds a lock of every sled in its process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use chrono::Utc;
use hookmill::model::ids::EventId;
use hookmill::model::task::{Task, TaskPatch};
use hookmill::store::embedded::{StoreOptions, check, repair};
use hookmill::store::verbs::*;
use hookmill::store::{Embedded, EventFilter, StoreError, Updated};
use tempfile::TempDir;

use crate::harness::until;
use crate::own_process::runs_alone;
use crate::stored::{company, ingested};

/// Places that are damaged, of each kind of file.
const PLACES: usize = 100;

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 256 << 10,
        snapshot_bytes: 300 << 10,
        reserve_bytes: 1 << 20,
        ..StoreOptions::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What was acknowledged.
struct Stored {
    tasks: Vec<Task>,
    events: Vec<EventId>,
}

/// A directory with several segments, a snapshot, changed and deleted tasks. `stop` is false for a killed server.
fn filled(dir: &Path, rt: &tokio::runtime::Runtime) -> Stored {
    let store = Embedded::open(dir, &options()).unwrap();
    let mut tasks: HashMap<_, Task> = HashMap::new();
    let mut events = Vec::new();
    for n in 0..400_usize {
        let batch: Vec<_> = (0..3).map(|_| ingested("a", |task| task.description = "d".repeat(n * 3 + 1))).collect();
        for it in &batch {
            events.push(it.event.id);
            tasks.insert(it.tasks[0].id, it.tasks[0].clone());
        }
        let changed = batch[0].tasks[0].id;
        let deleted = batch[1].tasks[0].id;
        rt.block_on(async {
            for it in batch {
                store.commit(it.into()).await.unwrap();
            }
            let patch = TaskPatch { title: Some(format!("changed {n}")), ..TaskPatch::default() };
            let updated = store.update_task(&company("a"), changed, 1, patch, Utc::now()).await.unwrap();
            let Updated::Done(task) = updated else { panic!("{updated:?}") };
            tasks.insert(changed, *task);
            store.delete_task(&company("a"), deleted, None, Utc::now()).await.unwrap();
            tasks.remove(&deleted);
        });
    }
    drop(store);
    Stored { tasks: tasks.into_values().collect(), events }
}

fn everything_is_there(store: &Embedded, stored: &Stored, rt: &tokio::runtime::Runtime) {
    rt.block_on(async {
        for task in &stored.tasks {
            assert_eq!(store.task(&company("a"), task.id).await.unwrap().as_ref(), Some(task));
        }
        for id in stored.events.iter().step_by(17) {
            assert!(store.event(&company("a"), *id).await.unwrap().is_some());
        }
    });
    let total = rt.block_on(store.stats()).unwrap().companies[0].tasks;
    assert_eq!(total, stored.tasks.len() as u64);
}

/// A store whose closed segments have been verified. Where that finds damage, it is not ready, and is not opened again.
fn opened_and_verified(data: &Path, rt: &tokio::runtime::Runtime) -> Result<Embedded, StoreError> {
    let store = Embedded::open(data, &options())?;
    until("the segments are verified", || rt.block_on(store.stats()).unwrap().unverified_segments == 0);
    if rt.block_on(store.stats()).unwrap().damages.is_empty() {
        store.ready().unwrap();
        return Ok(store);
    }
    assert!(matches!(store.ready(), Err(StoreError::Journal(_))));
    drop(store);
    let again = Embedded::open(data, &options());
    assert!(again.is_err(), "a journal that is known to be damaged was opened");
    again
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if wanted(&path) && path.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The same places in every run (SplitMix64).
struct Places(u64);

impl Places {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Truncates, zeroes or flips; tells what it did.
    fn damage(&mut self, file: &Path) -> String {
        let mut bytes = std::fs::read(file).unwrap();
        let at = usize::try_from(self.below(bytes.len() as u64)).unwrap();
        let what = match self.below(3) {
            0 => {
                bytes.truncate(at);
                "truncated"
            }
            1 => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
                "zeroed"
            }
            _ => {
                bytes[at] ^= 1 << self.below(8);
                "flipped"
            }
        };
        std::fs::write(file, bytes).unwrap();
        format!("{} {what} at {at}", file.display())
    }
}

#[test]
fn damage_to_sled_s_files_loses_nothing() {
    if !runs_alone(module_path!(), "damage_to_sled_s_files_loses_nothing") {
        return;
    }
    let (rt, dir) = (runtime(), TempDir::new().unwrap());
    let stored = filled(&dir.path().join("data"), &rt);
    let mut places = Places(1);
    for round in 0..PLACES {
        let copy = dir.path().join("copy");
        copy_dir(&dir.path().join("data"), &copy);
        let of_sled =
            files(&copy, &|path| path.components().any(|it| it.as_os_str().to_string_lossy().starts_with("sled-")));
        let chosen = usize::try_from(places.below(of_sled.len() as u64)).unwrap();
        let what = places.damage(&of_sled[chosen]);
        println!("{round}: {what}");
        let store = Embedded::open(&copy, &options()).unwrap_or_else(|e| panic!("{what}: {e}"));
        everything_is_there(&store, &stored, &rt);
        drop(store);
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn what_the_journal_loses_is_named_and_nothing_else_is_lost() {
    let (rt, dir) = (runtime(), TempDir::new().unwrap());
    let stored = filled(&dir.path().join("data"), &rt);
    let (mut places, mut named, mut harmless) = (Places(2), 0, 0);
    for round in 0..PLACES {
        let copy = dir.path().join("copy");
        copy_dir(&dir.path().join("data"), &copy);
        let of_journal = files(&copy.join("journal"), &|path| path.extension().is_none_or(|it| it != "ready"));
        let chosen = usize::try_from(places.below(of_journal.len() as u64)).unwrap();
        let what = places.damage(&of_journal[chosen]);
        println!("{round}: {what}");
        match opened_and_verified(&copy, &rt) {
            // What was damaged held nothing: an index, the mark, preallocated space.
            Ok(store) => {
                harmless += 1;
                everything_is_there(&store, &stored, &rt);
            }
            Err(StoreError::Journal(damages)) => {
                named += 1;
                let segment = of_journal[chosen].file_name().unwrap().to_string_lossy().into_owned();
                assert!(damages.iter().any(|it| it.segment == segment), "{what}: {damages:?}");
                // The admin may go on with all the rest: the view is whole, so no task is missing.
                let accepting = StoreOptions { accept_loss: true, ..options() };
                let store = Embedded::open(&copy, &accepting).unwrap_or_else(|e| panic!("{what}: {e}"));
                let count = rt.block_on(store.stats()).unwrap().companies[0].tasks;
                assert_eq!(count, stored.tasks.len() as u64, "{what}");
                drop(store);
                // It was accepted once and for all. As if that start had been killed before its snapshot: the next one takes
                // it, because only the view has what was lost.
                std::fs::remove_dir_all(copy.join("snapshots")).unwrap();
                drop(Embedded::open(&copy, &options()).unwrap_or_else(|e| panic!("{what}: again: {e}")));
                std::fs::remove_file(copy.join("view.current")).unwrap();
                let store = Embedded::open(&copy, &options()).unwrap_or_else(|e| panic!("{what}: rebuilt: {e}"));
                let count = rt.block_on(store.stats()).unwrap().companies[0].tasks;
                assert_eq!(count, stored.tasks.len() as u64, "{what}: rebuilt");
            }
            Err(other) => panic!("{what}: {other}"),
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    println!("{named} named, {harmless} harmless");
    assert!(named > PLACES / 4, "the places hit no data: {named}");
}

#[test]
fn with_its_view_and_its_snapshots_gone_the_journal_gives_everything_back() {
    let (rt, dir) = (runtime(), TempDir::new().unwrap());
    let data = dir.path().join("data");
    let stored = filled(&data, &rt);
    for part in ["sled-1", "snapshots"] {
        std::fs::remove_dir_all(data.join(part)).unwrap();
    }
    everything_is_there(&Embedded::open(&data, &options()).unwrap(), &stored, &rt);
}

#[test]
fn a_view_that_opens_empty_is_never_served() {
    if !runs_alone(module_path!(), "a_view_that_opens_empty_is_never_served") {
        return;
    }
    let (rt, dir) = (runtime(), TempDir::new().unwrap());
    let data = dir.path().join("data");
    let stored = filled(&data, &rt);
    std::fs::remove_dir_all(data.join("sled-1")).unwrap();
    drop(sled::Config::new().path(data.join("sled-1")).segment_size(4 << 20).open().unwrap());
    everything_is_there(&Embedded::open(&data, &options()).unwrap(), &stored, &rt);
}

#[test]
fn a_torn_last_group_is_cut_and_what_follows_is_written_over_it() {
    let (rt, dir) = (runtime(), TempDir::new().unwrap());
    let data = dir.path().join("data");
    let stored = filled(&data, &rt);
    // A group that had begun to be written when the power went: the start of another one's bytes.
    let last = files(&data.join("journal"), &|path| path.extension().is_some_and(|it| it == "journal")).pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|it| *it != 0).unwrap() + 1;
    let start = bytes[32..200].to_vec();
    bytes.resize(bytes.len().max(end + 400), 0);
    bytes[end + 8..end + 8 + start.len()].copy_from_slice(&start);
    std::fs::write(&last, bytes).unwrap();
    for _ in 0..2 {
        let store = Embedded::open(&data, &options()).unwrap();
        everything_is_there(&store, &stored, &rt);
        rt.block_on(store.commit(ingested("b", |_| {}).into())).unwrap();
    }
    let store = Embedded::open(&data, &options()).unwrap();
    everything_is_there(&store, &stored, &rt);
    assert_eq!(rt.block_on(store.stats()).unwrap().companies[1].tasks, 2);
}

#[test]
fn check_finds_damage_and_repair_fixes_what_it_can() {
    if !runs_alone(module_path!(), "check_finds_damage_and_repair_fixes_what_it_can") {
        return;
    }
    let (rt, dir) = (runtime(), TempDir::new().unwrap());
    let data = dir.path().join("data");
    let stored = filled(&data, &rt);
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
    assert_eq!(report.events, stored.events.len() as u64);
    // An event index that lies, and a view that lost an entry.
    let index = files(&data.join("journal"), &|path| path.extension().is_some_and(|it| it == "events")).remove(0);
    std::fs::write(&index, b"no index").unwrap();
    let config = sled::Config::new().path(data.join("sled-1")).segment_size(4 << 20);
    let tree = config.open().unwrap().open_tree("hookmill").unwrap();
    let key = tree.scan_prefix("T").next().unwrap().unwrap().0;
    tree.remove(key).unwrap();
    tree.flush().unwrap();
    drop(tree);
    let report = check(&data).unwrap();
    assert_eq!((report.damages.len(), report.repairable.len()), (0, 2), "{report:?}");
    repair(&data, &options()).unwrap();
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
    everything_is_there(&Embedded::open(&data, &options()).unwrap(), &stored, &rt);
}

/// A bit of the company's name in an event's key flips: otherwise the event is missing in its company's lists without an
/// error, and another company can read it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_a_damaged_company_is_an_error_for_both_companies() {
    let dir = TempDir::new().unwrap();
    let store = Embedded::open(dir.path(), &options()).unwrap();
    let event = ingested("company-b", |_| {}).event;
    store.commit(hookmill::store::Ingested { event: event.clone(), tasks: Vec::new() }.into()).await.unwrap();
    let journal = dir.path().join("journal/00000000000000000001.journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let at = bytes.windows(9).position(|it| it == b"company-b").unwrap();
    bytes[at + 8] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let other = store.list_events(&company("company-d"), EventFilter::default(), None, 10).await.unwrap();
    assert_eq!(other.events, [], "another company's list does not fail");
    for name in ["company-b", "company-c"] {
        let page = store.list_events(&company(name), EventFilter::default(), None, 10).await;
        assert!(matches!(page, Err(StoreError::Damaged { .. })), "{name}: {page:?}");
        let found = store.event(&company(name), event.id).await;
        assert!(matches!(found, Err(StoreError::Damaged { .. })), "{name}: {found:?}");
    }
}
