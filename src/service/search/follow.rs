//! Fills the index: with what is stored at the start, and with what other servers store.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::tail::LiveTail;
use super::{PayloadSearch, blocking};
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, new_id};
use crate::model::time::now;
use crate::store::{Cluster, Store, StoreError, WholeEvents};

/// How often events that wait are added; a search adds them at once.
const SETTLE: Duration = Duration::from_millis(200);
/// Events that are read at a time, with their bodies.
const READ: usize = 64;
/// How often other servers' events are looked for, and how old they may be when they are stored: usually, and every minute.
const POLL: Duration = Duration::from_secs(1);
const LATE: chrono::Duration = chrono::Duration::seconds(15);
const VERY_LATE: chrono::Duration = chrono::Duration::minutes(10);
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
    let work = async {
        tokio::join!(settle(&search), read_stored(&search, &*store), poll(&search, &tail, &*store));
    };
    tokio::select! {
        () = work => {}
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

/// Reads what is stored, newest first, until everything is in the index or it is full. It pauses as long as it works.
async fn read_stored(search: &Arc<PayloadSearch>, store: &dyn Store) {
    // What integrations decode is known once they are live.
    while search.reader.registry.is_starting() {
        tokio::time::sleep(SETTLE).await;
    }
    let (mut before, began) = (EventId(uuid::Uuid::max()), Instant::now());
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
        let is_full = search.has_dropped();
        let read_from = next.map_or(0, |it| it.0.as_u128());
        *search.read_from.lock().unwrap_or_else(PoisonError::into_inner) = read_from;
        match next {
            Some(next) if !is_full => before = next,
            _ => {
                let millis = began.elapsed().as_millis();
                tracing::info!(events, bytes, millis, "payloads of stored events can be searched");
                return;
            }
        }
        tokio::time::sleep(started.elapsed()).await;
    }
}

/// Adds the events that other servers store.
async fn poll(search: &Arc<PayloadSearch>, tail: &LiveTail, store: &dyn Store) {
    let (mut complete, mut failed) = (now(), false);
    for round in 0_u64.. {
        tokio::time::sleep(POLL).await;
        let Some(cluster) = store.cluster() else { return };
        let (age, began) = (if failed || round % 60 == 59 { VERY_LATE } else { LATE }, now());
        // After an outage, from where the last look was complete.
        let since = EventId(new_id(complete.min(began) - age));
        let added = add_since(search, tail, store, cluster, since);
        let added = added.await;
        failed = added.is_err();
        match added {
            Ok(()) => complete = began,
            Err(error) => tracing::debug!(cause = %error, "other servers' events cannot be read for the search"),
        }
    }
}

/// Adds what is missing from this id on. Counts tell where that is: most of the newest events are this server's own.
async fn add_since(
    search: &Arc<PayloadSearch>,
    tail: &LiveTail,
    store: &dyn Store,
    cluster: &dyn Cluster,
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
            let WholeEvents { events, unread } = store.events_of(company, rest).await?;
            rest = unread;
            events.iter().filter_map(|it| tail.note(it)).for_each(|it| tail.send(it));
            let own = Arc::clone(search);
            blocking(move || own.insert_all(&events)).await?;
        }
    }
    Ok(())
}
