//! What a live tail compares with the store.
//!
//! Nobody tells it of events that were stored while it began, of those whose status another server changes, and of those that a
//! server gives up. And the page on which it is shown may have been loaded long ago.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::tail_row::TailRow;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::{EventId, new_id};
use crate::model::time::now;
use crate::service::app::App;
use crate::service::tail::Tail;
use crate::store::StoreError;

/// Events that are compared: the newest ones.
const MOST: usize = 100;
/// Events whose status is remembered, so that only changes are sent.
const REMEMBERED: usize = 1000;
/// Time between two looks, or longer: they take at most one part of so many of a tail's time, and of the time of all tails.
const PAUSE: Duration = Duration::from_secs(2);
const PART: usize = 50;
const PART_OF_ALL: usize = 10;
/// The tail waits for a look, so it does not take longer.
const LONGEST: Duration = Duration::from_secs(1);
/// How long the events from before the tail are looked at, however many come after them: storing one takes a while.
const BEGINNING: Duration = Duration::from_secs(10);
/// An event that is received so long after the beginning may still be among them: clocks differ.
const SKEW: chrono::Duration = chrono::Duration::seconds(1);

/// What was sent, and the time of the next look.
pub(super) struct StoreLooks {
    began: Instant,
    /// Events from this id on come through the tail, or are counted there as left out.
    since: EventId,
    sent: BTreeMap<EventId, EventStatus>,
    next: Instant,
    is_first: bool,
}

/// What the page may not show, or not as it is stored.
#[derive(Default)]
pub(super) struct UnsentEvents {
    /// Oldest first.
    pub(super) events: Vec<Event>,
    /// After the first look: the next older event.
    pub(super) older: Option<EventId>,
}

impl StoreLooks {
    /// For a tail that has just begun.
    pub(super) fn new() -> Self {
        let since = EventId(new_id(now() + SKEW));
        Self { began: Instant::now(), since, sent: BTreeMap::new(), next: Instant::now(), is_first: true }
    }

    /// Notes what the page shows now.
    pub(super) fn sent(&mut self, rows: &[TailRow]) {
        self.sent.extend(rows.iter().map(|it| (it.id, it.status)));
        while self.sent.len() > REMEMBERED {
            self.sent.pop_first();
        }
    }

    /// If it is time, returns what differs from what was sent: at first, all of the newest events.
    pub(super) async fn unsent(&mut self, app: &App, tail: &Tail) -> UnsentEvents {
        let started = Instant::now();
        if started < self.next {
            return UnsentEvents::default();
        }
        let looked = timeout(LONGEST, self.look(app, tail)).await;
        let part = u32::try_from(PART.max(PART_OF_ALL * tail.open_tails())).unwrap_or(u32::MAX);
        self.next = Instant::now() + PAUSE.max(started.elapsed().saturating_mul(part));
        match looked {
            Ok(Ok(unsent)) => return unsent,
            Ok(Err(error)) => tracing::debug!(cause = %error, "a live tail cannot be compared with the store"),
            Err(_too_slow) => tracing::debug!("a live tail cannot be compared with the store in time"),
        }
        UnsentEvents::default()
    }

    async fn look(&mut self, app: &App, tail: &Tail) -> Result<UnsentEvents, StoreError> {
        let _one_of_few = app.memory.page().await;
        let list = |after| app.store.list_events(tail.company(), tail.filter().clone(), after, MOST + 1);
        let mut unsent = UnsentEvents::default();
        if self.began.elapsed() < BEGINNING || self.is_first {
            unsent.events = list(Some(self.since)).await?.events;
            let older = unsent.events.get(MOST).map(|it| it.id);
            unsent.events.truncate(MOST);
            unsent.older = older.filter(|_| self.is_first);
        }
        if !self.is_first {
            unsent.events.extend(list(None).await?.events.into_iter().filter(|it| self.sent.contains_key(&it.id)));
        }
        self.is_first = false;
        unsent.events.retain(|it| self.sent.get(&it.id) != Some(&it.status));
        unsent.events.sort_unstable_by_key(|it| it.id);
        unsent.events.dedup_by_key(|it| it.id);
        Ok(unsent)
    }
}
