//! The process with the store: it does what its standard input says, line by line, until it is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Duration as Days;
use hookmill::event::EventId;
use hookmill::store::embedded::{History, Item, Keep, Options, Patient, Wanted, check, restore};
use hookmill::store::{
    Committed, Cursor, Embedded, EventFilter, Page, Replace, Replaced, Store as _, StoreError, TaskFilter, Updated,
};
use hookmill::task::{Priority, Status, Task, TaskId};
use uuid::Uuid;

use crate::made::{self, AnswerOf, company, company_number, event_hash, hash, time};
use crate::protocol::{Dump, Reply, Request, Scans, Seen, Settings, Write};

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

fn options(settings: &Settings) -> Options {
    Options {
        segment_bytes: settings.segment_bytes,
        snapshot_bytes: settings.snapshot_bytes,
        reserve_bytes: 0,
        events: settings.events.map(Days::days),
        deleted_tasks: settings.deleted_tasks.map(Days::days),
        ..Options::default()
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
                    let page = Page::Number { page: 1, limit: 20 };
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
        Request::Dump { scans, answers, now_ms, gone, patience_ms } => {
            patiently(patience_ms, async || dump(store, scans, &answers, now_ms, &gone).await).await
        }
        other => unreachable!("{other:?}"),
    }
}

fn report(damages: Vec<String>, repairable: Vec<String>) -> Reply {
    Reply::Report { damages, repairable }
}

/// A view that is being built anew is waited for.
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
    let replace = Replace { ingested, read, idempotency: None, forget: None, audit: None };
    Ok(match store.replace(replace).await? {
        Replaced::Stored => Reply::Stored,
        Replaced::Repeated(first) => Reply::Repeated(hash(&first)),
        Replaced::Changed => Reply::Missing,
        Replaced::Erased => Reply::Erased,
    })
}

async fn dump(
    store: &Arc<Embedded>,
    scans: Scans,
    answers: &[AnswerOf],
    now_ms: i64,
    gone: &[(u8, Uuid)],
) -> Result<Reply, StoreError> {
    let mut dump = Dump::default();
    let mut all_events = Vec::new();
    for of in 0..made::COMPANIES {
        dump.tasks.push(tasks(store, of, &mut dump.problems).await?);
        let events = events(store, of, &mut dump.problems).await?;
        let seen =
            |it: &hookmill::event::Event| Seen { id: it.id.0, erased: it.erased_at.is_some(), hash: event_hash(it) };
        dump.events.push(events.iter().map(seen).collect());
        all_events.extend(events);
    }
    for (of, id) in store.queued().await? {
        dump.queue.push((company_number(&of), id.0));
    }
    for answer in answers {
        let first = store.first_answer(answer.id(), time(now_ms)).await?;
        dump.answers.push(first.map(|it| hash(&it)));
    }
    dump.keys = store.keys().await?.iter().map(|it| (it.id.0.clone(), hash(it))).collect();
    dump.audit = store.audit(None, None, usize::MAX).await?.iter().map(|it| (it.id, hash(it))).collect();
    for (of, id) in gone {
        if store.task(&company(*of), TaskId(*id)).await?.is_some() {
            dump.problems.push(format!("task {id} was deleted, and can be read by its id"));
        }
        if store.event(&company(*of), EventId(*id)).await?.is_some() {
            dump.problems.push(format!("event {id} has expired, and can be read by its id"));
        }
    }
    let (store, kept) = (Arc::clone(store), std::mem::take(&mut dump));
    let all = move || {
        let mut dump = kept;
        if scans != Scans::Neither {
            export(&store, scans, &mut dump)?;
        }
        if matches!(scans, Scans::Exact | Scans::More) {
            history(&store, scans, &all_events, &mut dump)?;
        }
        Ok(Reply::Dump(Box::new(dump)))
    };
    tokio::task::spawn_blocking(all).await.unwrap()
}

/// A company's tasks, by cursor; every filter and every other way of reading has to agree with that.
async fn tasks(store: &Embedded, of: u8, problems: &mut Vec<String>) -> Result<Vec<(Uuid, u64)>, StoreError> {
    let name = company(of);
    let all = walk(store, of, &TaskFilter::default(), 7, problems).await?;
    for task in &all {
        if store.task(&name, task.id).await?.as_ref() != Some(task) {
            problems.push(format!("task {} is another by its id than in the list", task.id));
        }
    }
    let limit = 5;
    for page in 1..=(all.len() as u64).div_ceil(limit as u64).max(1) {
        let listed = store.list_tasks(&name, TaskFilter::default(), Page::Number { page, limit }).await?;
        if listed.tasks[..] != all[(page as usize - 1) * limit..all.len().min(page as usize * limit)] {
            problems.push(format!("page {page} of company {of} is not what the cursors give"));
        }
    }
    for filter in filters() {
        let fitting: Vec<&Task> = all.iter().filter(|it| filter.fits(it)).collect();
        let found = walk(store, of, &filter, 11, problems).await?;
        if !found.iter().eq(fitting.iter().copied()) {
            problems.push(format!("{filter:?} gives {} tasks of {}", found.len(), fitting.len()));
        }
    }
    Ok(all.iter().map(|it| (it.id.0, hash(it))).collect())
}

async fn walk(
    store: &Embedded,
    of: u8,
    filter: &TaskFilter,
    limit: usize,
    problems: &mut Vec<String>,
) -> Result<Vec<Task>, StoreError> {
    let (mut tasks, mut cursor) = (Vec::new(), Cursor(u64::MAX));
    loop {
        let page = store.list_tasks(&company(of), filter.clone(), Page::After { cursor, limit }).await?;
        let (total, next) = (page.total, page.next);
        tasks.extend(page.tasks);
        match next {
            Some(next) => cursor = next,
            None => {
                if total != tasks.len() as u64 {
                    problems.push(format!("{filter:?} has a total of {total}, and {} tasks", tasks.len()));
                }
                return Ok(tasks);
            }
        }
    }
}

fn filters() -> Vec<TaskFilter> {
    let of = TaskFilter::default;
    vec![
        TaskFilter { status: Some(Status::Pending), ..of() },
        TaskFilter { priority: Some(Priority::Urgent), ..of() },
        TaskFilter { patient_id: Some(made::patient(1)), ..of() },
        TaskFilter { assigned_user_id: Some("user-9".into()), ..of() },
        TaskFilter { kind: Some("kind-1".into()), status: Some(Status::Completed), ..of() },
        TaskFilter { patient_id: Some(made::patient(0)), assigned_user_id: Some("user-2".into()), ..of() },
    ]
}

async fn events(
    store: &Embedded,
    of: u8,
    problems: &mut Vec<String>,
) -> Result<Vec<hookmill::event::Event>, StoreError> {
    let (name, mut all, mut after) = (company(of), Vec::new(), None);
    loop {
        let page = store.list_events(&name, EventFilter::default(), after, 13).await?;
        all.extend(page.events);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    for event in &all {
        if store.event(&name, event.id).await?.as_ref() != Some(event) {
            problems.push(format!("event {} is another by its id than in the list", event.id));
        }
    }
    Ok(all)
}

/// The export has what the lists have.
fn export(store: &Embedded, scans: Scans, dump: &mut Dump) -> Result<(), StoreError> {
    let (mut tasks, mut events) = (vec![Vec::new(); dump.tasks.len()], BTreeMap::<Uuid, (u32, u64)>::new());
    let (mut keys, mut audit) = (Vec::new(), Vec::new());
    store.export(&mut |item| {
        match item {
            Item::Task(it) if it.deleted_at.is_none() => {
                tasks[usize::from(company_number(&it.company_id))].push((it.id.0, hash(&it)));
            }
            Item::Task(_) => {}
            Item::Event(it) => {
                let found = events.entry(it.id.0).or_default();
                *found = (found.0 + 1, event_hash(&it));
            }
            Item::Key(it) => keys.push((it.id.0.clone(), hash(&it))),
            Item::Audit(it) => audit.push((it.id, hash(&it))),
        }
        Ok(())
    })?;
    tasks.iter_mut().for_each(|it| it.reverse());
    if crate::without().iter().any(|it| it == "export-twice") {
        events.values_mut().for_each(|it| it.0 = 1);
    }
    let listed: BTreeMap<_, _> = dump.events.iter().flatten().map(|it| (it.id, (1, it.hash))).collect();
    if scans == Scans::More {
        events.retain(|id, _| listed.contains_key(id));
    }
    if tasks != dump.tasks {
        dump.problems.push("the export has other tasks than the lists".into());
    }
    if events != listed {
        let missing = listed.keys().filter(|it| !events.contains_key(it)).count();
        let twice = events.values().filter(|it| it.0 > 1).count();
        dump.problems.push(format!("the export lacks {missing} events of the lists, and has {twice} twice"));
    }
    if keys != dump.keys || audit != dump.audit {
        dump.problems.push("the export has other keys or another audit log".into());
    }
    Ok(())
}

/// A dry run meets every event that is there.
fn history(store: &Embedded, scans: Scans, all: &[hookmill::event::Event], dump: &mut Dump) -> Result<(), StoreError> {
    let history = History::open(store.dir())?;
    for of in 0..made::COMPANIES {
        for integration in (0..made::INTEGRATIONS).map(made::integration) {
            let wanted = Wanted { company: company(of), integration: integration.clone(), since: None, until: None };
            let (mut met, mut failed) = (BTreeSet::new(), None);
            history.read(&wanted, &mut |_, packed| {
                match packed.unpack() {
                    Ok(past) => met.extend(past.iter().map(|it| it.event.id)),
                    Err(error) => failed = Some(error),
                }
                true
            })?;
            failed.map_or(Ok(()), Err)?;
            let fits = |it: &&hookmill::event::Event| it.company_id == company(of) && *it.integration.0 == *integration;
            let listed: BTreeSet<EventId> = all.iter().filter(fits).map(|it| it.id).collect();
            let agrees = if scans == Scans::More { listed.is_subset(&met) } else { met == listed };
            if !agrees {
                let missing = listed.difference(&met).count();
                dump.problems.push(format!("a dry run meets {} events, and misses {missing} of the list", met.len()));
            }
        }
    }
    Ok(())
}

/// Where the fuzzer keeps what a child says beside its answers.
pub fn log_file(dir: &std::path::Path) -> PathBuf {
    dir.join("log")
}
