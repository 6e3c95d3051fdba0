//! Fills the index: with what is stored at the start, with what other servers store, and with what is imported.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::tail::{LiveTail, NotedTail};
use super::blocking::blocking;
use super::payload_search::PayloadSearch;
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::{EventId, new_id};
use crate::model::time::now;
use crate::store::{Cluster, Store, StoreError, WholeEvents};

/// How often events that wait are added; a search adds them at once.
const SETTLE: Duration = Duration::from_millis(200);
/// Events that are read at a time, with their bodies.
const READ: usize = 64;
/// How often other servers' events are looked for, and how old they may be when they are stored: usually, and at every look of so
/// many.
const POLL: Duration = Duration::from_secs(1);
const LATE: chrono::Duration = chrono::Duration::seconds(15);
const VERY_LATE: chrono::Duration = chrono::Duration::minutes(10);
const THOROUGH: u64 = 60;
/// At every look of so many, imports are looked for.
const IMPORTS: u64 = 5;
/// Most ids that are read at a time.
const IDS: usize = 10_000;
/// Pause after a failed read.
const PAUSE: Duration = Duration::from_secs(5);

/// Keeps the index complete until `ended`. Events of other servers go to the live tail too.
pub(crate) async fn follow(
    search: Arc<PayloadSearch>,
    tail: Arc<LiveTail>,
    store: Arc<dyn Store>,
    ended: CancellationToken,
) {
    if !search.is_on() {
        return;
    }
    let followed = async {
        // What was imported before is read with everything else that is stored.
        let looks = Looks::new(now(), known_imports(&*store).await);
        let imported = Notify::new();
        tokio::join!(read_stored(&search, &*store, &imported), poll(&search, &tail, &*store, looks, &imported));
    };
    let work = async { tokio::join!(settle(&search), followed) };
    tokio::select! {
        _ = work => {}
        () = ended.cancelled() => {}
    }
}

async fn settle(search: &Arc<PayloadSearch>) {
    loop {
        tokio::time::sleep(SETTLE).await;
        if search.has_waiting() {
            let search = Arc::clone(search);
            let _next_time = blocking(move || search.settle()).await;
        }
    }
}

/// Reads what is stored, and again after each import, which may have stored events of any age.
async fn read_stored(search: &Arc<PayloadSearch>, store: &dyn Store, imported: &Notify) {
    // What integrations decode is known once they are live.
    while search.reader.registry.is_starting() {
        tokio::time::sleep(SETTLE).await;
    }
    loop {
        read_all(search, store).await;
        imported.notified().await;
        search.read_from(new_id(now()).as_u128());
    }
}

/// Reads what is stored, newest first, until everything is in the index or it is full. It pauses as long as it works.
async fn read_all(search: &Arc<PayloadSearch>, store: &dyn Store) {
    let (mut before, began) = (EventId(Uuid::max()), Instant::now());
    loop {
        let started = Instant::now();
        let next = match store.events_before(before, READ).await {
            Ok(page) => {
                let next = page.next;
                let own = Arc::clone(search);
                let noted = move || own.insert_all(&page.events);
                if blocking(noted).await.is_err() {
                    tracing::error!("reading events for the search panicked");
                    return;
                }
                next
            }
            Err(error) => {
                tracing::warn!(cause = %error, "stored events cannot be read for the search");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (events, bytes) = search.size();
        search.read_from(next.map_or(0, |it| it.0.as_u128()));
        match next {
            Some(next) if next >= search.first_kept() => before = next,
            _ => {
                let millis = began.elapsed().as_millis();
                tracing::info!(events, bytes, millis, "payloads of stored events can be searched");
                return;
            }
        }
        tokio::time::sleep(started.elapsed()).await;
    }
}

/// The looks for events that other servers have stored, one after another.
#[derive(Debug)]
struct Looks {
    /// When the last complete look began.
    complete: DateTime<Utc>,
    /// The last one was not complete.
    failed: bool,
    /// How many there were.
    count: u64,
    /// Imports whose events have been looked for.
    imports: BTreeSet<Uuid>,
}

impl Looks {
    fn new(now: DateTime<Utc>, imports: BTreeSet<Uuid>) -> Self {
        Self { complete: now, failed: false, count: 0, imports }
    }

    /// Returns from which time of receipt on the next look is for events: after an outage, from where the last one was complete.
    fn since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let is_thorough = self.failed || self.count % THOROUGH == THOROUGH - 1;
        self.complete.min(now) - if is_thorough { VERY_LATE } else { LATE }
    }

    /// Whether the next look is for imports too.
    fn asks_for_imports(&self) -> bool {
        self.failed || self.count.is_multiple_of(IMPORTS)
    }

    /// Notes that a look, which began at this time, has ended.
    fn ended(&mut self, began: DateTime<Utc>, is_complete: bool) {
        self.count += 1;
        self.failed = !is_complete;
        if is_complete {
            self.complete = began;
        }
    }
}

/// Returns the imports whose entries were stored by now.
async fn known_imports(store: &dyn Store) -> BTreeSet<Uuid> {
    loop {
        let Some(cluster) = store.cluster() else { return BTreeSet::new() };
        match cluster.audited(Action::StoreImported, now() - VERY_LATE * 2).await {
            Ok(entries) => return entries.into_iter().collect(),
            Err(error) => tracing::warn!(cause = %error, "stored events cannot be read for the search"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Adds the events that other servers store, and notices imports.
async fn poll(search: &Arc<PayloadSearch>, tail: &LiveTail, store: &dyn Store, mut looks: Looks, imported: &Notify) {
    loop {
        tokio::time::sleep(POLL).await;
        let Some(cluster) = store.cluster() else { return };
        let began = now();
        let looked = look(search, tail, (store, cluster), &mut looks, began, imported).await;
        match looked.as_ref().err() {
            Some(error) if looks.failed => {
                tracing::debug!(cause = %error, "other servers' events cannot be read for the search");
            }
            Some(error) => tracing::warn!(cause = %error, "other servers' events cannot be read for the search"),
            None => {}
        }
        looks.ended(began, looked.is_ok());
    }
}

async fn look(
    search: &Arc<PayloadSearch>,
    tail: &LiveTail,
    (store, cluster): (&dyn Store, &dyn Cluster),
    looks: &mut Looks,
    now: DateTime<Utc>,
    imported: &Notify,
) -> Result<(), StoreError> {
    if looks.asks_for_imports() {
        let since = looks.complete.min(now) - VERY_LATE * 2;
        let imports = cluster.audited(Action::StoreImported, since).await?.into_iter().collect();
        if !looks.imports.is_superset(&imports) {
            imported.notify_one();
        }
        looks.imports = imports;
    }
    let since = EventId(new_id(looks.since(now)));
    add_since(search, tail, (store, cluster), since).await
}

/// Adds what is missing from this id on. Counts tell where that is: most of the newest events are this server's own.
async fn add_since(
    search: &Arc<PayloadSearch>,
    tail: &LiveTail,
    (store, cluster): (&dyn Store, &dyn Cluster),
    since: EventId,
) -> Result<(), StoreError> {
    for count in cluster.event_counts(search.first_kept().max(since)).await? {
        let (own, of) = (Arc::clone(search), count.clone());
        if blocking(move || own.count(&of.company, &of.ids)).await? as u64 == count.count {
            continue;
        }
        let mut range = count.ids;
        loop {
            let ids = cluster.event_ids(&count.company, range.clone(), IDS).await?;
            let last = ids.last().copied().filter(|_| ids.len() == IDS);
            add_missing(search, tail, store, &count.company, ids).await?;
            match last {
                Some(last) if last != range.start => range.start = last,
                _ => break,
            }
        }
    }
    Ok(())
}

async fn add_missing(
    search: &Arc<PayloadSearch>,
    tail: &LiveTail,
    store: &dyn Store,
    company: &CompanyId,
    ids: Vec<EventId>,
) -> Result<(), StoreError> {
    let (own, of) = (Arc::clone(search), company.clone());
    for part in blocking(move || own.missing(&of, ids)).await?.chunks(READ) {
        let mut rest = part.to_vec();
        while !rest.is_empty() {
            let mut asked = rest.clone();
            let WholeEvents { events, unread } = store.events_of(company, rest).await?;
            asked.retain(|it| !unread.contains(it) && events.iter().all(|event| event.id != *it));
            rest = unread;
            let is_there = |it: &&Event| it.erased_at.is_none();
            events.iter().filter(is_there).filter_map(|it| tail.note(it)).for_each(NotedTail::send);
            let (own, of) = (Arc::clone(search), company.clone());
            blocking(move || {
                own.insert_all(&events);
                // What cannot be read is not asked for again.
                own.insert_empty(&of, &asked);
            })
            .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise what others store during an outage is never found: those events are older than usual looks go back.
    #[test]
    fn after_an_outage_a_look_begins_where_the_last_one_was_complete() {
        let start = DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000);
        let at = |seconds: i64| start + chrono::Duration::seconds(seconds);
        let mut looks = Looks::new(start, BTreeSet::new());
        assert_eq!(looks.since(at(1)), start - LATE);
        looks.ended(at(1), true);
        assert_eq!(looks.since(at(2)), at(1) - LATE);
        // The database is gone for 25 minutes.
        for second in 2..1500 {
            looks.ended(at(second), false);
        }
        assert_eq!(looks.since(at(1500)), at(1) - VERY_LATE);
        looks.ended(at(1500), true);
        assert_eq!(looks.since(at(1501)), at(1500) - LATE);
        // A clock that was set back.
        assert_eq!(looks.since(at(0)), start - LATE);
    }

    #[test]
    fn every_minute_a_look_is_for_events_that_were_stored_late() {
        let start = DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000);
        let mut looks = Looks::new(start, BTreeSet::new());
        let mut thorough = 0;
        for second in 1..=180 {
            let now = start + chrono::Duration::seconds(second);
            thorough += u32::from(looks.since(now) <= now - VERY_LATE);
            looks.ended(now, true);
        }
        assert_eq!(thorough, 3);
    }
}
