//! Reads everything in a store in every possible way; the results must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hookmill::model::ids::EventId;
use hookmill::model::ids::TaskId;
use hookmill::model::task::{Priority, Status, Task};
use hookmill::store::embedded::DirHistory;
use hookmill::store::verbs::*;
use hookmill::store::{ChangeFeed, Cursor, Embedded, EventFilter, FeedCursor, PageRequest, StoreError, TaskFilter};
use hookmill::store::{EventHistory as _, StoredItem, Wanted};
use uuid::Uuid;

use super::made::{self, AnswerOf, company, company_number, event_hash, hash, time};
use super::protocol::{Dump, Followed, Reply, Scans, Seen};

/// Everything in a store, read by ids, by lists, by filters, by an export and as a dry run reads it.
pub async fn dump(
    store: &Arc<Embedded>,
    scans: Scans,
    answers: &[AnswerOf],
    now_ms: i64,
    gone: &[(u8, Uuid)],
    feed: &[Option<String>],
) -> Result<Reply, StoreError> {
    let mut dump = Dump::default();
    let mut all_events = Vec::new();
    for of in 0..made::COMPANIES {
        dump.tasks.push(tasks(store, of, &mut dump.problems).await?);
        let events = events(store, of, &mut dump.problems).await?;
        let seen = |it: &hookmill::model::event::Event| Seen {
            id: it.id.0,
            erased: it.erased_at.is_some(),
            hash: event_hash(it),
        };
        dump.events.push(events.iter().map(seen).collect());
        all_events.extend(events);
    }
    for (of, cursor) in (0..made::COMPANIES).zip(feed) {
        dump.feed.push(follow(store, of, cursor.as_deref(), &mut dump.problems).await?);
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

/// Reads the feed from a cursor to its end.
async fn follow(
    store: &Embedded,
    of: u8,
    cursor: Option<&str>,
    problems: &mut Vec<String>,
) -> Result<Followed, StoreError> {
    let name = company(of);
    let (mut changes, mut again) = (Vec::new(), false);
    let mut after = match cursor.map(|it| FeedCursor::parse(&name, it)).transpose() {
        Ok(after) => after,
        Err(error) => {
            problems.push(format!("the feed's own cursor {error}"));
            None
        }
    };
    loop {
        let page = match store.change_feed(&name, after.clone(), 6).await? {
            ChangeFeed::Page(page) => page,
            ChangeFeed::Expired if after.is_some() => {
                (changes, again, after) = (Vec::new(), true, None);
                continue;
            }
            ChangeFeed::Expired => {
                problems.push("the feed's beginning has expired".into());
                return Ok(Followed { again, changes, cursor: String::new() });
            }
        };
        changes.extend(page.tasks.iter().map(|it| (it.id.0, it.deleted_at.is_none().then(|| hash(it)))));
        if !page.has_more {
            return Ok(Followed { again, changes, cursor: page.next.to_text(&name) });
        }
        after = Some(page.next);
    }
}

/// A company's tasks, by cursor; every filter and every other way of reading must agree with that.
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
        let listed = store.list_tasks(&name, TaskFilter::default(), PageRequest::Number { page, limit }).await?;
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
        let page = store.list_tasks(&company(of), filter.clone(), PageRequest::After { cursor, limit }).await?;
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
        TaskFilter { status: vec![Status::Pending], ..of() },
        TaskFilter { priority: vec![Priority::Urgent], ..of() },
        TaskFilter { patient_id: vec![made::patient(1)], ..of() },
        TaskFilter { assigned_user_id: vec!["user-9".into()], ..of() },
        TaskFilter { kind: vec!["kind-1".into()], status: vec![Status::Completed], ..of() },
        TaskFilter { patient_id: vec![made::patient(0)], assigned_user_id: vec!["user-2".into()], ..of() },
        TaskFilter { status: vec![Status::Pending, Status::Completed], ..of() },
        TaskFilter {
            patient_id: vec![made::patient(0), made::patient(1)],
            priority: vec![Priority::Urgent, Priority::Low],
            ..of()
        },
    ]
}

async fn events(
    store: &Embedded,
    of: u8,
    problems: &mut Vec<String>,
) -> Result<Vec<hookmill::model::event::Event>, StoreError> {
    let (name, mut all, mut after) = (company(of), Vec::new(), None);
    loop {
        let page = store.list_events(&name, EventFilter::default(), after, 13).await?;
        all.extend(page.events);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    // Lists have no bodies.
    let mut whole = Vec::with_capacity(all.len());
    for listed in all {
        let event = store.event(&name, listed.id).await?;
        let head = event.as_ref().map(|it| hookmill::model::event::Event { body: bytes::Bytes::new(), ..it.clone() });
        if head.as_ref() != Some(&listed) {
            problems.push(format!("event {} is another by its id than in the list", listed.id));
        }
        whole.push(event.unwrap_or(listed));
    }
    Ok(whole)
}

/// The export has what the lists have.
fn export(store: &Embedded, scans: Scans, dump: &mut Dump) -> Result<(), StoreError> {
    let (mut tasks, mut events) = (vec![Vec::new(); dump.tasks.len()], BTreeMap::<Uuid, (u32, u64)>::new());
    let (mut keys, mut audit) = (Vec::new(), Vec::new());
    store.export(&mut |item| {
        match item {
            StoredItem::Task(it) if it.deleted_at.is_none() => {
                tasks[usize::from(company_number(&it.company_id))].push((it.id.0, hash(&it)));
            }
            StoredItem::Task(_) => {}
            StoredItem::Event(it) => {
                let found = events.entry(it.id.0).or_default();
                *found = (found.0 + 1, event_hash(&it));
            }
            StoredItem::Key(it) => keys.push((it.id.0.clone(), hash(&it))),
            StoredItem::Audit(it) => audit.push((it.id, hash(&it))),
            // Not in lists.
            StoredItem::Answer(_) | StoredItem::Erasure(_) => {}
        }
        Ok(())
    })?;
    tasks.iter_mut().for_each(|it| it.reverse());
    if super::is_left_out("export-twice") {
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
fn history(
    store: &Embedded,
    scans: Scans,
    all: &[hookmill::model::event::Event],
    dump: &mut Dump,
) -> Result<(), StoreError> {
    let history = DirHistory::open(store.dir())?;
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
            let fits =
                |it: &&hookmill::model::event::Event| it.company_id == company(of) && *it.integration.0 == *integration;
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
