//! The process with the store: it does what its standard input says, line by line, until it is killed.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Duration as Days;
use hookmill::model::ids::TaskId;
use hookmill::store::embedded::{StoreOptions, check, restore};
use hookmill::store::erasure::{Keep, Patient};
use hookmill::store::verbs::*;
use hookmill::store::{
    Committed, Embedded, EventFilter, PageRequest, Replace, Replaced, StoreError, TaskFilter, Updated,
};

use super::dump::dump;
use super::made::{self, company, hash, time};
use super::protocol::{Reply, Request, Settings, Write};

/// Lines for the fuzzer begin with this; the test harness prints lines as well.
pub const MARK: &str = "@store ";

pub fn run() {
    let filter = tracing_subscriber::EnvFilter::new("info");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut store = None;
    say(&Reply::Done);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let request: Request = serde_json::from_str(&line).unwrap();
        say(&runtime.block_on(handle(&mut store, request)).unwrap_or_else(|e| Reply::Failed(format!("{e:?}"))));
    }
}

fn say(reply: &Reply) {
    let mut line = format!("\n{MARK}{}\n", serde_json::to_string(reply).unwrap()).into_bytes();
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).unwrap();
    line.clear();
}

fn options(settings: &Settings) -> StoreOptions {
    StoreOptions {
        segment_bytes: settings.segment_bytes,
        snapshot_bytes: settings.snapshot_bytes,
        reserve_bytes: 0,
        events: settings.events.map(Days::days),
        deleted_tasks: settings.deleted_tasks.map(Days::days),
        ..StoreOptions::default()
    }
}

/// Blocking work off the runtime's threads, as the server does it.
async fn blocking<T: Send + 'static>(
    store: &Arc<Embedded>,
    work: impl FnOnce(&Embedded) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || work(&store)).await.unwrap()
}

async fn handle(open: &mut Option<Arc<Embedded>>, request: Request) -> Result<Reply, StoreError> {
    if let Request::Open { dir, settings } = request {
        assert!(open.is_none());
        *open = Some(Arc::new(Embedded::open(&dir, &options(&settings))?));
        return Ok(Reply::Done);
    }
    match request {
        Request::Check { dir } => return check(&dir).map(|it| report(it.damages, it.repairable)),
        Request::Restore { from, to } => return restore(&from, &to).map(|it| report(it.damages, it.repairable)),
        Request::Close => {
            let store = Arc::into_inner(open.take().unwrap()).unwrap();
            tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
            return Ok(Reply::Done);
        }
        _ => {}
    }
    let store = open.as_ref().unwrap();
    match request {
        Request::Writes(writes) => Ok(all_at_once(store, writes).await),
        Request::Busy { upkeep, writes } => Ok(busy(store, *upkeep, writes).await),
        other => do_upkeep(store, other).await,
    }
}

fn or_failed(result: Result<Reply, StoreError>) -> Reply {
    result.unwrap_or_else(|e| Reply::Failed(format!("{e:?}")))
}

async fn all_at_once(store: &Arc<Embedded>, writes: Vec<Write>) -> Reply {
    let spawn = |it| {
        let store = Arc::clone(store);
        tokio::spawn(async move { write(&store, it).await })
    };
    let each: Vec<_> = writes.into_iter().map(spawn).collect();
    let mut replies = Vec::new();
    for it in each {
        replies.push(or_failed(it.await.unwrap()));
    }
    Reply::Each(replies)
}

/// Writes go on, a few at a time, and reads do not fail while something is done that takes long.
async fn busy(store: &Arc<Embedded>, upkeep: Request, mut writes: Vec<Write>) -> Reply {
    let ended = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, ended) = (Arc::clone(store), Arc::clone(&ended));
        async move {
            while !ended.load(Ordering::Relaxed) {
                for of in 0..made::COMPANIES {
                    let page = PageRequest::Number { page: 1, limit: 20 };
                    store.list_tasks(&company(of), TaskFilter::default(), page).await?;
                    store.list_events(&company(of), EventFilter::default(), None, 20).await?;
                }
            }
            Ok(Reply::Done)
        }
    });
    let writer = async {
        let mut replies = Vec::new();
        while !writes.is_empty() {
            let some = writes.drain(..writes.len().min(3)).collect();
            if let Reply::Each(each) = all_at_once(store, some).await {
                replies.extend(each);
            }
        }
        Reply::Each(replies)
    };
    let (done, written) = tokio::join!(do_upkeep(store, upkeep), writer);
    ended.store(true, Ordering::Relaxed);
    Reply::Each(vec![or_failed(done), written, or_failed(reader.await.unwrap())])
}

async fn do_upkeep(store: &Arc<Embedded>, request: Request) -> Result<Reply, StoreError> {
    match request {
        Request::Expire { now_ms } => store.expire(time(now_ms)).await.map(|_| Reply::Done),
        Request::Forget { integration, days, now_ms } => {
            blocking(store, move |store| {
                let keep = Keep { integration: made::integration(integration), age: Days::days(days) };
                store.forget(&[keep], time(now_ms)).map(|_| Reply::Done)
            })
            .await
        }
        Request::Erase { company: of, patient, now_ms } => {
            blocking(store, move |store| {
                let patient = Patient::new(company(of), &made::patient(patient)).unwrap();
                let erased = store.erase(&patient, time(now_ms), false)?;
                Ok(Reply::ErasedEvents(erased.events.iter().map(|it| it.id.0).collect()))
            })
            .await
        }
        Request::Compact => blocking(store, Embedded::compact).await.map(|()| Reply::Done),
        Request::Backup { to } => {
            blocking(store, move |store| store.backup(&to).map(|it| report(it.damages, it.repairable))).await
        }
        Request::Ready { patience_ms } => patiently(patience_ms, async || store.ready()).await.map(|()| Reply::Done),
        Request::Verify => loop {
            let stats = store.stats().await?;
            if stats.unverified_segments == 0 {
                return Ok(report(stats.damages, Vec::new()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        },
        Request::Dump { scans, answers, now_ms, gone, feed, patience_ms } => {
            patiently(patience_ms, async || dump(store, scans, &answers, now_ms, &gone, &feed).await).await
        }
        other => unreachable!("{other:?}"),
    }
}

fn report(damages: Vec<String>, repairable: Vec<String>) -> Reply {
    Reply::Report { damages, repairable }
}

/// Waits for a view that is being rebuilt.
async fn patiently<T>(
    patience_ms: u64,
    mut attempt: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let started = Instant::now();
    loop {
        match attempt().await {
            Err(StoreError::Rebuilding(_) | StoreError::NoSpace(_))
                if started.elapsed() < Duration::from_millis(patience_ms) =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return other,
        }
    }
}

async fn write(store: &Embedded, write: Write) -> Result<Reply, StoreError> {
    let committed = |it: Committed| match it {
        Committed::Stored => Reply::Stored,
        Committed::Repeated(first) => Reply::Repeated(hash(&first)),
        Committed::Erased => Reply::Erased,
    };
    match write {
        Write::Commit { deliveries, answer } => {
            store.commit(made::commit(&deliveries, answer.as_ref())).await.map(committed)
        }
        Write::Again { delivery } => again(store, &delivery).await,
        Write::Update { company: of, task, version, patch, at_ms } => {
            let (of, task) = (company(of), TaskId(task));
            let updated = match patch {
                Some(patch) => store.update_task(&of, task, version, patch.patch(), time(at_ms)).await?,
                None => store.delete_task(&of, task, Some(version), time(at_ms)).await?,
            };
            Ok(match updated {
                Updated::Done(task) => Reply::Updated(hash(&task)),
                Updated::Missing => Reply::Missing,
                Updated::Stale { version } => Reply::Stale(version),
            })
        }
        Write::Key { key, entry } => store.put_key(key.key(), entry.entry(), None).await.map(committed),
        Write::Note { entry } => store.note(entry.entry()).await.map(|()| Reply::Stored),
    }
}

/// Stores an event again, as a worker of the queue or a replay does: if it is still as it was read.
async fn again(store: &Embedded, delivery: &made::Delivery) -> Result<Reply, StoreError> {
    let Some(read) = store.versioned(&company(delivery.company), delivery.event_id()).await? else {
        return Ok(Reply::Missing);
    };
    let (ingested, read) = (delivery.ingested(), read.version);
    let replace = Replace { ingested, read, idempotency: None, forget: None, audit: None, updates: Vec::new() };
    Ok(match store.replace(replace).await? {
        Replaced::Stored => Reply::Stored,
        Replaced::Repeated(first) => Reply::Repeated(hash(&first)),
        Replaced::Changed => Reply::Missing,
        Replaced::Erased => Reply::Erased,
    })
}

/// Where the fuzzer stores the output of a child other than its responses.
pub fn log_file(dir: &std::path::Path) -> PathBuf {
    dir.join("log")
}
