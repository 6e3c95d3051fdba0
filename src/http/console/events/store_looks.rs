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
use crate::store::EventPage;

/// Events that are compared: the newest ones.
const MOST: usize = 100;
/// Events whose status is remembered, so that only changes are sent.
const REMEMBERED: usize = 1000;
/// Time between two looks; longer if they take more than one part of so many of the time.
const PAUSE: Duration = Duration::from_secs(2);
const PART: u32 = 50;
/// The tail stands still during a look, so it does not take longer.
const LONGEST: Duration = Duration::from_secs(1);

/// What was sent, and the time of the next look.
pub(super) struct StoreLooks {
    /// Events that began to be stored once the tail had begun come through the tail, and may be left out of it.
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
    /// This was the first look, and there are older events.
    pub(super) more: bool,
}

impl StoreLooks {
    /// For a tail that has just begun.
    pub(super) fn new() -> Self {
        let since = EventId(new_id(now() + chrono::Duration::milliseconds(1)));
        Self { since, sent: BTreeMap::new(), next: Instant::now(), is_first: true }
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
        if Instant::now() < self.next {
            return UnsentEvents::default();
        }
        let began = Instant::now();
        let looked = timeout(LONGEST, async {
            let _one_of_few = app.memory.page().await;
            app.store.list_events(tail.company(), tail.filter().clone(), None, MOST).await
        });
        let looked = looked.await;
        self.next = Instant::now() + PAUSE.max(began.elapsed() * PART);
        match looked {
            Ok(Ok(page)) => self.differing(page),
            Ok(Err(error)) => {
                tracing::debug!(cause = %error, "a live tail cannot be compared with the store");
                UnsentEvents::default()
            }
            Err(_too_slow) => {
                tracing::debug!("a live tail cannot be compared with the store in time");
                UnsentEvents::default()
            }
        }
    }

    fn differing(&mut self, page: EventPage) -> UnsentEvents {
        let EventPage { mut events, next } = page;
        events.retain(|event| match self.sent.get(&event.id) {
            Some(status) => *status != event.status,
            None => event.id < self.since,
        });
        events.reverse();
        UnsentEvents { events, more: std::mem::take(&mut self.is_first) && next.is_some() }
    }
}
